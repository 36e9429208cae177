//! Memory and events that processes share.
//!
//! A handle is 64 bytes that name an allocation, or an event, of the process that made it. Opening one takes milliseconds and
//! a range of addresses, so each is opened once, however often it comes, and closed with the last that uses it. A process
//! cannot open its own handles: the driver refuses that, or worse, with an error that says nothing of it.

#![expect(unsafe_code, reason = "calls the driver")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};

use cudarc::driver::{result, sys};

use super::context::lock;
use super::error::{checked, within};
use super::{Context, CudaError, DeviceBuffer, Event, EventKind, PinnedBlock, Stream};

/// Names a [`DeviceBuffer`] of this process to others of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpcMemoryHandle(pub [u8; 64]);

/// Names an [`Event`] of this process to others of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpcEventHandle(pub [u8; 64]);

/// Memory of another process, mapped here.
#[derive(Debug)]
pub struct IpcMemory {
    context: Arc<Context>,
    handle: IpcMemoryHandle,
    address: u64,
    length: usize,
}

/// An event of another process.
#[derive(Debug)]
pub struct IpcEvent {
    context: Arc<Context>,
    handle: IpcEventHandle,
    raw: sys::CUevent,
}

// SAFETY: an event is used from any thread; the driver has its own locks. It is destroyed once, by its only owner.
unsafe impl Send for IpcEvent {}
// SAFETY: as above.
unsafe impl Sync for IpcEvent {}

/// What this process has given out and still has, and what it has open.
#[derive(Default)]
struct Known {
    own: BTreeSet<[u8; 64]>,
    memory: BTreeMap<(u16, IpcMemoryHandle), Weak<IpcMemory>>,
    events: BTreeMap<(u16, IpcEventHandle), Weak<IpcEvent>>,
}

static KNOWN: Mutex<Known> = Mutex::new(Known {
    own: BTreeSet::new(),
    memory: BTreeMap::new(),
    events: BTreeMap::new(),
});

impl DeviceBuffer {
    /// Returns a handle with which another process maps this memory. It is of no use once the buffer is dropped, which is to
    /// happen after the others have let go of it.
    pub fn ipc_handle(&self) -> Result<IpcMemoryHandle, CudaError> {
        if let Some(shown) = self.shown.get() {
            return Ok(*shown);
        }
        let _current = self.context().enter()?;
        let mut raw = sys::CUipcMemHandle { reserved: [0; 64] };
        // SAFETY: a place to write to and an allocation of this process.
        let named = unsafe { sys::cuIpcGetMemHandle(&raw mut raw, self.address()) };
        checked("cuIpcGetMemHandle", named.result())?;
        let handle = raw.reserved.map(|byte| byte as u8);
        lock(&KNOWN).own.insert(handle);
        Ok(*self.shown.get_or_init(|| IpcMemoryHandle(handle)))
    }
}

impl Event {
    /// Returns a handle with which another process waits for this event, which must be [`EventKind::Interprocess`].
    pub fn ipc_handle(&self) -> Result<IpcEventHandle, CudaError> {
        debug_assert_eq!(self.kind(), EventKind::Interprocess);
        if let Some(shown) = self.shown.get() {
            return Ok(*shown);
        }
        let _current = self.context().enter()?;
        let mut raw = sys::CUipcEventHandle { reserved: [0; 64] };
        // SAFETY: a place to write to and an event of this process.
        let named = unsafe { sys::cuIpcGetEventHandle(&raw mut raw, self.raw()) };
        checked("cuIpcGetEventHandle", named.result())?;
        let handle = raw.reserved.map(|byte| byte as u8);
        lock(&KNOWN).own.insert(handle);
        Ok(*self.shown.get_or_init(|| IpcEventHandle(handle)))
    }
}

/// What this process gave out under a handle is about to go.
pub(super) fn forget(handle: &[u8; 64]) {
    lock(&KNOWN).own.remove(handle);
}

impl IpcMemory {
    /// Maps memory of another process, which says that it has so many bytes; what is mapped already is returned again.
    pub fn open(
        context: &Arc<Context>,
        handle: IpcMemoryHandle,
        length: usize,
    ) -> Result<Arc<Self>, CudaError> {
        let open = Self::mapped(context, handle)?;
        // Not what the other process claims, but what there is.
        within(open.length, 0, length)?;
        Ok(open)
    }

    fn mapped(context: &Arc<Context>, handle: IpcMemoryHandle) -> Result<Arc<Self>, CudaError> {
        // Held while the driver opens it: of two threads one must come second.
        let mut known = lock(&KNOWN);
        if known.own.contains(&handle.0) {
            return Err(CudaError::OwnHandle);
        }
        let key = (context.ordinal(), handle);
        if let Some(open) = known.memory.get(&key).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let (address, length) = map(context, handle)?;
        let open = Arc::new(Self {
            context: context.clone(),
            handle,
            address,
            length,
        });
        known.memory.retain(|_, weak| weak.strong_count() > 0);
        known.memory.insert(key, Arc::downgrade(&open));
        Ok(open)
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies the bytes from `start` on to memory of this process, in a stream.
    ///
    /// # Safety
    /// `to` is the first of `bytes` bytes of memory of the stream's device, which nobody else touches and which stay, as this
    /// does, until what the stream has been given so far is done.
    pub(in crate::engine) unsafe fn take(
        &self,
        start: usize,
        to: u64,
        bytes: usize,
        stream: &Stream,
    ) -> Result<(), CudaError> {
        within(self.length, start, bytes)?;
        // SAFETY: the bytes lie in what is mapped; that the owner does not write to them meanwhile is what its event is for,
        // and where it does, the bytes are wrong and nothing else. All else is the caller's promise.
        unsafe { stream.copy_within(to, self.address + start as u64, bytes) }
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
        // SAFETY: the bytes lie in what is mapped; that the owner does not write to them meanwhile is what its event is for,
        // and where it does, the bytes are wrong and nothing else. Both sides are borrowed until the copy is done.
        unsafe { stream.copy_out(block.as_mut_slice(), self.address + start as u64)? };
        done.record(stream)?;
        done.wait()
    }
}

/// Returns the first address of what a handle names, and the bytes from there on.
fn map(context: &Context, handle: IpcMemoryHandle) -> Result<(u64, usize), CudaError> {
    let _current = context.enter()?;
    let raw = sys::CUipcMemHandle {
        reserved: handle.0.map(|byte| byte as std::ffi::c_char),
    };
    let flags = sys::CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
    let mut address = 0;
    // SAFETY: a place to write to. A handle that names nothing is refused by the driver.
    let opened = unsafe { sys::cuIpcOpenMemHandle_v2(&raw mut address, raw, flags) };
    checked("cuIpcOpenMemHandle", opened.result())?;
    let (mut start, mut size) = (0, 0);
    // SAFETY: two places to write to, and an address that was just mapped.
    let range = unsafe { sys::cuMemGetAddressRange_v2(&raw mut start, &raw mut size, address) };
    let range = checked("cuMemGetAddressRange", range.result());
    if range.is_err() {
        // SAFETY: what was just mapped, and nobody else has.
        let _ = unsafe { sys::cuIpcCloseMemHandle(address) };
    }
    range?;
    let before = usize::try_from(address - start).unwrap_or(usize::MAX);
    Ok((address, size.saturating_sub(before)))
}

impl IpcEvent {
    /// Opens an event of another process; what is open already is returned again.
    pub fn open(context: &Arc<Context>, handle: IpcEventHandle) -> Result<Arc<Self>, CudaError> {
        let mut known = lock(&KNOWN);
        if known.own.contains(&handle.0) {
            return Err(CudaError::OwnHandle);
        }
        let key = (context.ordinal(), handle);
        if let Some(open) = known.events.get(&key).and_then(Weak::upgrade) {
            return Ok(open);
        }
        let _current = context.enter()?;
        let raw = sys::CUipcEventHandle {
            reserved: handle.0.map(|byte| byte as std::ffi::c_char),
        };
        let mut event = std::ptr::null_mut();
        // SAFETY: a place to write to. A handle that names nothing is refused by the driver.
        let opened = unsafe { sys::cuIpcOpenEventHandle(&raw mut event, raw) };
        checked("cuIpcOpenEventHandle", opened.result())?;
        let open = Arc::new(Self {
            context: context.clone(),
            handle,
            raw: event,
        });
        known.events.retain(|_, weak| weak.strong_count() > 0);
        known.events.insert(key, Arc::downgrade(&open));
        Ok(open)
    }

    /// Has what is put into a stream from now on begin after the event as its process recorded it last.
    pub fn hold_up(&self, stream: &Stream) -> Result<(), CudaError> {
        stream.wait_raw(self.raw)
    }
}

impl Drop for IpcMemory {
    fn drop(&mut self) {
        let mut known = lock(&KNOWN);
        let key = (self.context.ordinal(), self.handle);
        if known
            .memory
            .get(&key)
            .is_some_and(|weak| weak.strong_count() == 0)
        {
            known.memory.remove(&key);
        }
        if let Ok(_current) = self.context.enter() {
            // SAFETY: closed once, by its only owner; the driver waits for copies that use it.
            let _ = unsafe { sys::cuIpcCloseMemHandle(self.address) };
        }
    }
}

impl Drop for IpcEvent {
    fn drop(&mut self) {
        let mut known = lock(&KNOWN);
        let key = (self.context.ordinal(), self.handle);
        if known
            .events
            .get(&key)
            .is_some_and(|weak| weak.strong_count() == 0)
        {
            known.events.remove(&key);
        }
        if let Ok(_current) = self.context.enter() {
            // SAFETY: destroyed once, by its only owner.
            let _ = unsafe { result::event::destroy(self.raw) };
        }
    }
}
