//! Events: points in streams that others wait for.

#![expect(unsafe_code, reason = "calls the driver")]

use std::ffi::c_uint;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cudarc::driver::{result, sys};

use super::error::checked;
use super::ipc::forget;
use super::{Context, CudaError, IpcEventHandle, Stream};

/// What an event can do besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Plain,
    /// Knows when it was done.
    Timed,
    /// Can be waited for by another process.
    Interprocess,
}

/// An event of a device.
#[derive(Debug)]
pub struct Event {
    context: Arc<Context>,
    kind: EventKind,
    raw: sys::CUevent,
    /// By which other processes know it, if they do.
    pub(super) shown: OnceLock<IpcEventHandle>,
}

// SAFETY: an event is used from any thread; the driver has its own locks. It is destroyed once, by its only owner.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event, which is done for as long as it has not been recorded.
    pub fn new(context: &Arc<Context>, kind: EventKind) -> Result<Self, CudaError> {
        use sys::CUevent_flags_enum as Flags;
        let _current = context.enter()?;
        // A host that waits sleeps meanwhile: blocks are many and cores are few.
        let flags = Flags::CU_EVENT_BLOCKING_SYNC as c_uint
            | match kind {
                EventKind::Plain => Flags::CU_EVENT_DISABLE_TIMING as c_uint,
                EventKind::Timed => 0,
                EventKind::Interprocess => {
                    Flags::CU_EVENT_DISABLE_TIMING as c_uint
                        | Flags::CU_EVENT_INTERPROCESS as c_uint
                }
            };
        let mut raw = std::ptr::null_mut();
        // SAFETY: a place to write to, and flags that go together.
        let made = unsafe { sys::cuEventCreate(&raw mut raw, flags) };
        checked("cuEventCreate", made.result())?;
        Ok(Self {
            context: context.clone(),
            kind,
            raw,
            shown: OnceLock::new(),
        })
    }

    /// Puts the event into a stream of its device; what was recorded before is forgotten.
    pub fn record(&self, stream: &Stream) -> Result<(), CudaError> {
        let _current = self.context.enter()?;
        // SAFETY: an event that is not destroyed before `self` is, and a stream that never is.
        let recorded = unsafe { result::event::record(self.raw, stream.raw()) };
        checked("cuEventRecord", recorded)
    }

    /// Tells whether all that it was recorded after is done.
    pub fn is_done(&self) -> Result<bool, CudaError> {
        // SAFETY: an event that is not destroyed before `self` is.
        let state = unsafe { sys::cuEventQuery(self.raw) };
        match state {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            state => checked("cuEventQuery", state.result()).map(|()| true),
        }
    }

    /// Has this thread sleep until the event is done. Takes as long as the device does: whoever may not wait for a device
    /// that hangs asks [`Event::is_done`].
    pub fn wait(&self) -> Result<(), CudaError> {
        let _current = self.context.enter()?;
        // SAFETY: an event that is not destroyed before `self` is.
        let waited = unsafe { result::event::synchronize(self.raw) };
        checked("cuEventSynchronize", waited)
    }

    /// Returns the time from another event to this one. `None` unless both are [`EventKind::Timed`] and done.
    pub fn since(&self, start: &Self) -> Result<Option<Duration>, CudaError> {
        if self.kind != EventKind::Timed || start.kind != EventKind::Timed {
            return Ok(None);
        }
        if !(self.is_done()? && start.is_done()?) {
            return Ok(None);
        }
        // SAFETY: two events with times that are not destroyed before `self` and `start` are.
        let elapsed = unsafe { result::event::elapsed(start.raw, self.raw) };
        let milliseconds = checked("cuEventElapsedTime", elapsed)?;
        Ok(Some(Duration::from_secs_f32(
            milliseconds.max(0.0) / 1000.0,
        )))
    }

    pub fn kind(&self) -> EventKind {
        self.kind
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) const fn raw(&self) -> sys::CUevent {
        self.raw
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Some(shown) = self.shown.get() {
            forget(&shown.0);
        }
        // Does not wait for the event; fails only where every call does.
        if let Ok(_current) = self.context.enter() {
            // SAFETY: destroyed once, by its only owner. Waits that streams were given stay valid.
            let _ = unsafe { result::event::destroy(self.raw) };
        }
    }
}
