//! The caching allocator of libtorch, and switches of its CUDA half.

#![expect(unsafe_code, reason = "calls the C++ shim")]

use crate::engine::cuda::{Stream, sweep};

use super::super::super::cause::Cause;
use super::super::bindings::{
    blockflow_cuda_give_back, blockflow_cuda_memory, blockflow_record_stream,
};
use super::super::has_begun;
use super::call::{ordinal, shim};

/// What the caching allocator has of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocatorMemory {
    /// By tensors.
    pub used: u64,
    /// Of the device, with what is kept for the next tensors.
    pub taken: u64,
}

/// Tells the allocator that a stream uses the memory of a tensor.
pub(super) fn record(tensor: &tch::Tensor, stream: &Stream) -> Result<(), Cause> {
    let device = ordinal(stream);
    // SAFETY: a live tensor and a stream of its device that is never destroyed.
    shim(|error| unsafe {
        blockflow_record_stream(tensor.as_ptr(), device, stream.address(), error)
    })
}

/// Asks the caching allocator what it has of a device. `None`: nothing was computed on it in this process.
pub fn allocator_memory(ordinal: u16) -> Option<AllocatorMemory> {
    has_begun().then_some(())?;
    let (mut used, mut taken) = (0, 0);
    // SAFETY: two places to write to.
    let asked = shim(|error| unsafe {
        blockflow_cuda_memory(ordinal.into(), &raw mut used, &raw mut taken, error)
    });
    asked.ok()?;
    let bytes = |signed: i64| u64::try_from(signed).unwrap_or(0);
    Some(AllocatorMemory {
        used: bytes(used),
        taken: bytes(taken),
    })
}

/// Gives memory that no tensor uses back to all devices, as after the blocks of a configuration have gone. Waits for the
/// devices.
pub(crate) fn give_back_device_memory() {
    if !has_begun() {
        return;
    }
    sweep();
    // SAFETY: no preconditions.
    let done = shim(|error| unsafe { blockflow_cuda_give_back(error) });
    if let Err(cause) = done {
        tracing::warn!(%cause, "device memory not given back");
    }
}
