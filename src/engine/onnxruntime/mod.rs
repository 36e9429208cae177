//! The `onnxruntime` engine: a graph handed to ONNX Runtime, whose library is loaded when the first block asks for it.
//!
//! The library is not part of this program: a machine without it runs everything else, and a block that wants it says
//! so. Invariants: tensors go in and come out without a copy of their elements (memory aligned to less than an element
//! is copied, and strings are); every session has one thread of its own unless configured, and none that spins.

mod library;
mod prepared;
mod session;
mod tensor;

pub use library::{available, version};
pub use prepared::OnnxRuntimePrepared;
