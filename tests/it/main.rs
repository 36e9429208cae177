//! Integration tests, one module per hazard.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics has failed, and says where"
)]

mod graph_cut;
mod graph_file;
mod graph_hostile;
mod graph_reader;
mod graph_refusals;
mod graph_shapes;
mod graph_weights;
