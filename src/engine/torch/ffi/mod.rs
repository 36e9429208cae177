//! The only unsafe code around libtorch: memory that crosses the border, of the host and of CUDA devices, operators called by
//! name, TorchScript modules, per-thread state, the version.
//!
//! Nothing but safe types leaves this module. Invariants: a tensor that views foreign memory owns a reference to its
//! owner; memory that left as a [`types::Tensor`](crate::types::Tensor) is never written again.

mod bindings;
pub(crate) mod boxed;
pub(crate) mod cuda;
mod first;
mod lent;
mod memory;
mod module;
pub(crate) mod scalar;
mod threads;
mod version;

pub use cuda::{AllocatorMemory, allocator_memory, device_pool, pool_opener};
pub use first::NoTorchCuda;
pub(crate) use first::{begin, has_begun};
pub(crate) use lent::with_rooms;
pub(crate) use memory::{
    SharedTensor, export, is_channels_last, is_sole_owner, view, view_as_left,
};
pub(crate) use module::Module;
pub(crate) use threads::InferenceMode;
pub use threads::{give_back_memory, prefer_long_slices, set_threads, threads, tune_allocator};
pub use version::version;
