//! From the operators of ONNX opsets 1 to 27 to the canonical ones.
//!
//! One function per group of operators that are written alike, found by name in an explicit registry. A form that is
//! not understood is an error with node, attribute and value; nothing is dropped silently.

mod attention;
mod call;
mod cast;
mod constant;
mod container;
mod control;
mod convolution;
mod elementwise;
mod extent;
mod fill;
mod flex_attention;
mod index;
mod labels;
mod linear;
mod linear_attention;
mod loss;
mod normalisation;
mod order;
mod pooling;
mod quantised;
mod recurrent;
mod reduce;
mod registry;
mod sampling;
mod scores;
mod selection;
mod shape;
mod signal;
mod text;
mod training;
mod trees;

pub(super) use call::{Call, Form};
pub(super) use registry::find;
