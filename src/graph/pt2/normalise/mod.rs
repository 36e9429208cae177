//! From the operators of ATen to the canonical ones.
//!
//! One function per group of operators that are alike, found by name and overload in an explicit registry. Defaults are
//! those of `native_functions.yaml`, since a file leaves them out. A rule that meets a form it has no counterpart for
//! says so ([`Form::Aten`](super::call::Form)), and the operator stays what it is; a form that no block can run is an
//! error.

mod arithmetic;
mod attention;
mod convolution;
mod elementwise;
mod fill;
mod index;
mod layout;
mod normalisation;
mod operands;
mod pad;
mod pooling;
mod product;
mod reduce;
mod registry;
mod resize;
mod split;

pub(super) use registry::find;
