//! What readers of model files share: files mapped into memory, literals, and the graph under construction.
//!
//! Nothing here knows a file format. A reader adds inputs, weights and nodes in topological order; each is inferred as it
//! comes, weighed against what the file declares of it, and known at once where that is possible.

mod builder;
mod combine;
mod frame;
pub(super) mod literal;
mod map;
mod rewrite;
mod slice;

pub(super) use builder::Builder;
pub(super) use frame::Frame;
pub(super) use map::map;
pub(super) use slice::{check_truth_values, in_file};
