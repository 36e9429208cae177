//! Device memory that is not libtorch's: the pools that other processes map.

#![expect(unsafe_code, reason = "calls the driver")]

use std::sync::{Arc, OnceLock};

use cudarc::driver::result;

use super::error::{checked, within};
use super::ipc::forget;
use super::{Context, CudaError, Event, IpcMemoryHandle, PinnedBlock, Stream};

/// What the driver takes of a device at a time. It makes smaller allocations parts of one such.
const PAGE_BYTES: usize = 2 << 20;

/// Memory of a device, in pages of its own: a handle for another process names whole pages, so memory of the caching
/// allocator, or less than a page, would show that process its neighbours.
#[derive(Debug)]
pub struct DeviceBuffer {
    context: Arc<Context>,
    address: u64,
    length: usize,
    /// By which other processes know it, if they do.
    pub(super) shown: OnceLock<IpcMemoryHandle>,
}

impl DeviceBuffer {
    /// Takes so many bytes, at least one, which hold anything. May wait for the device: not for the data path.
    pub fn new(context: &Arc<Context>, length: usize) -> Result<Self, CudaError> {
        let _current = context.enter()?;
        // SAFETY: a context is current.
        let address = unsafe { result::malloc_sync(pages(length)) };
        Ok(Self {
            context: context.clone(),
            address: checked("cuMemAlloc", address)?,
            length,
            shown: OnceLock::new(),
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
        within(self.length, start, block.len())?;
        let [done, free] = [stream.event()?, stream.event()?];
        // SAFETY: the bytes lie in this buffer, which outlives the copy: dropping it waits for the device. `&mut` denies it
        // to others, and the block is not given out again before the event.
        unsafe { stream.copy_in(self.address + start as u64, block.as_slice())? };
        let recorded = free.record(stream);
        block.hold_until(free);
        recorded.and_then(|()| done.record(stream))?;
        Ok(done)
    }

    /// Copies memory of the device to the bytes from `start` on, in a stream.
    ///
    /// # Safety
    /// `from` is the first of `bytes` bytes of memory of this buffer's device. Until what the stream has been given so far is
    /// done, they and the buffer stay, nobody writes to them, and nobody else touches those bytes of the buffer.
    pub(in crate::engine) unsafe fn put(
        &self,
        start: usize,
        from: u64,
        bytes: usize,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        within(self.length, start, bytes)?;
        // SAFETY: the bytes lie in this buffer; all else is the caller's promise.
        unsafe { stream.copy_within(self.address + start as u64, from, bytes) }
    }

    /// Copies the bytes from `start` on into a block of the host, in a stream, and waits for them.
    pub fn read(
        &self,
        start: usize,
        block: &mut PinnedBlock,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        within(self.length, start, block.len())?;
        let done = stream.event()?;
        // SAFETY: the bytes lie in this buffer, and nobody writes to it meanwhile, as that takes `&mut`. Both sides are
        // borrowed until the copy is done.
        unsafe { stream.copy_out(block.as_mut_slice(), self.address + start as u64)? };
        done.record(stream)?;
        done.wait()
    }

    pub(super) const fn address(&self) -> u64 {
        self.address
    }
}

/// Returns the bytes of the pages that hold so many. More than there can be are left to the driver to refuse.
fn pages(length: usize) -> usize {
    let length = length.max(1);
    length
        .checked_next_multiple_of(PAGE_BYTES)
        .unwrap_or(length)
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        if let Some(shown) = self.shown.get() {
            // First: the next one may have the same.
            forget(&shown.0);
        }
        if let Ok(_current) = self.context.enter() {
            // SAFETY: freed once, by its only owner; the driver waits for copies that use it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_has_part_of_a_page() {
        for (length, taken) in [
            (0, PAGE_BYTES),
            (1, PAGE_BYTES),
            (PAGE_BYTES, PAGE_BYTES),
            (PAGE_BYTES + 1, 2 * PAGE_BYTES),
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(pages(length), taken, "{length}");
        }
    }
}
