//! The `onnxruntime` engine: a graph handed to ONNX Runtime, whose library is loaded when the first block asks for it.
//!
//! The library is not part of this program: a machine without it runs everything else, and a block that wants it says
//! so. Invariants: tensors go in and come out without a copy of their elements (memory aligned to less than an element
//! is copied, and strings are); every session has one thread of its own unless configured, and none that spins.
//!
//! Sessions share no weights, with each other or with other blocks. ONNX Runtime takes initialisers that a host owns, and
//! a container for what its kernels pack, but its rewriting rearranges the filters of convolutions into copies of the
//! session's own, and with both in use a further session took as much memory as without, for products as for
//! convolutions. So weights go in with the model, and each session counts them once.

mod library;
mod prepared;
mod session;
mod tensor;

pub use library::{available, version};
pub use prepared::OnnxRuntimePrepared;
