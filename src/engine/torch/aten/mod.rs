//! The `aten` engine: a graph run operator by operator with libtorch.
//!
//! Preparation looks up a kernel for each node, copies the weights and reads parameters that are constant; a run only
//! calls kernels. Invariants: an activation is freed at its last use; a kernel writes only to memory that it made, or
//! that nobody else sees and nobody needs any more.

mod args;
mod context;
mod convolution;
mod datum;
mod elementwise;
mod index;
mod linear;
mod normalisation;
mod pad;
mod pooling;
mod prepared;
mod reduce;
mod registry;
mod session;
mod shape;
mod storage;
mod window;

pub use prepared::AtenPrepared;
