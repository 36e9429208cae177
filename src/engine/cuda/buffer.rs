//! Device memory that is not libtorch's: the pools that other processes map.

#![expect(unsafe_code, reason = "calls the driver")]

use std::sync::Arc;

use cudarc::driver::result;

use super::error::checked;
use super::{Context, CudaError, Event, PinnedBlock, Stream};

/// Memory of a device, in an allocation of its own: a handle for another process names a whole allocation, so memory of
/// the caching allocator would show that process its neighbours.
#[derive(Debug)]
pub struct DeviceBuffer {
    context: Arc<Context>,
    address: u64,
    length: usize,
}

impl DeviceBuffer {
    /// Takes so many bytes, at least one, which hold anything. May wait for the device: not for the data path.
    pub fn new(context: &Arc<Context>, length: usize) -> Result<Self, CudaError> {
        let _current = context.enter()?;
        // SAFETY: a context is current.
        let address = unsafe { result::malloc_sync(length.max(1)) };
        Ok(Self {
            context: context.clone(),
            address: checked("cuMemAlloc", address)?,
            length,
        })
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Copies a block of the host to the bytes from `start` on, in a stream. Returns the event after which it is done; the
    /// block is free again after it.
    pub fn fill(
        &mut self,
        start: usize,
        block: PinnedBlock,
        stream: &Stream,
    ) -> Result<Event, CudaError> {
        self.check(start, block.len())?;
        // SAFETY: the bytes lie in this buffer, which outlives the copy: dropping it waits for the device. `&mut` denies it
        // to others, and the block is not given out again before the event.
        unsafe { stream.copy_in(self.address + start as u64, block.as_slice())? };
        let done = stream.record()?;
        block.hold_until(stream.record()?);
        Ok(done)
    }

    /// Copies the bytes from `start` on into a block of the host, in a stream, and waits for them.
    pub fn read(
        &self,
        start: usize,
        block: &mut PinnedBlock,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        self.check(start, block.len())?;
        // SAFETY: the bytes lie in this buffer, and nobody writes to it meanwhile, as that takes `&mut`. Both sides are
        // borrowed until the copy is done.
        unsafe { stream.copy_out(block.as_mut_slice(), self.address + start as u64)? };
        stream.record()?.wait()
    }

    fn check(&self, start: usize, wanted: usize) -> Result<(), CudaError> {
        let end = start.checked_add(wanted);
        match end.is_some_and(|end| end <= self.length) {
            true => Ok(()),
            false => Err(CudaError::OutOfRange {
                start,
                wanted,
                length: self.length,
            }),
        }
    }

    pub(super) const fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Ok(_current) = self.context.enter() {
            // SAFETY: freed once, by its only owner; the driver waits for copies that use it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}
