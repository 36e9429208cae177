//! Engines over libtorch, on the CPU: `aten`, which runs our graph operator by operator, and `torchscript`, which runs
//! a file as a whole.
//!
//! Invariants: torch errors become [`EngineError`](super::EngineError)s and never panics; inputs are never written to;
//! tensors enter and leave without a copy where they are aligned.

mod aten;
mod cause;
mod dtype;
mod ffi;
mod torchscript;

pub use aten::{AtenPrepared, unsupported};
pub use ffi::{
    give_back_memory, prefer_long_slices, set_threads, threads, tune_allocator, version,
};
pub use torchscript::TorchScriptPrepared;
