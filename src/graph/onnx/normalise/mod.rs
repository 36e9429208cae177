//! From the operators of ONNX opsets 6 to 25 to the canonical ones.
//!
//! One function per group of operators that are written alike, found by name in an explicit registry. A form that is
//! not understood is an error with node, attribute and value; nothing is dropped silently.

mod call;
mod constant;
mod convolution;
mod elementwise;
mod linear;
mod reduce;
mod registry;
mod selection;
mod shape;

pub(super) use call::{Call, Form};
pub(super) use registry::find;
