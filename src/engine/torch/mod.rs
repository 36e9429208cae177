//! Engines over libtorch, on the CPU.
//!
//! Invariants: torch errors become [`EngineError`](super::EngineError)s and never panics; inputs are never written to;
//! tensors enter and leave without a copy where they are aligned.

mod cause;
mod dtype;
mod ffi;

pub use ffi::{set_threads, threads, tune_allocator};
