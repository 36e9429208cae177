//! Engines over libtorch: `aten`, which runs our graph operator by operator, on the CPU and on CUDA devices, and
//! `torchscript`, which runs a file as a whole, on the CPU.
//!
//! Invariants: torch errors become [`EngineError`](super::EngineError)s and never panics; inputs are never written to;
//! tensors enter and leave without a copy where they are aligned.

mod aten;
mod cause;
mod cuda;
mod dtype;
mod ffi;
mod torchscript;

pub use aten::{AtenCudaPrepared, AtenPrepared, misplaced, on_devices, unsupported};
pub use cuda::{cuda_available, to_host, to_room};
pub use ffi::{
    AllocatorMemory, NoTorchCuda, allocator_memory, device_pool, give_back_memory, pool_opener,
    prefer_long_slices, set_threads, threads, tune_allocator, version,
};
pub use torchscript::TorchScriptPrepared;
