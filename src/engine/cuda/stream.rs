//! Streams: queues of work of a device, each in order, and beside the others.

#![expect(unsafe_code, reason = "calls the driver")]

use std::ffi::c_uint;
use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::context::lock;
use super::error::checked;
use super::host::alike;
use super::{Context, CudaError, Event, EventKind};

/// Which of the streams that have work get free multiprocessors first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    #[default]
    Normal,
    /// Before the normal ones.
    High,
}

/// A stream that one owner has for as long as this lives. It does not wait for the default stream, nor that for it.
#[derive(Debug)]
pub struct Stream {
    context: Arc<Context>,
    priority: Priority,
    raw: RawStream,
}

/// Streams of a context that nobody has, by priority.
#[derive(Debug, Default)]
pub(super) struct Idle {
    normal: Vec<RawStream>,
    high: Vec<RawStream>,
}

#[derive(Debug, Clone, Copy)]
struct RawStream(sys::CUstream);

// SAFETY: a stream is used from any thread; the driver has its own locks.
unsafe impl Send for RawStream {}
// SAFETY: as above.
unsafe impl Sync for RawStream {}

impl Stream {
    /// Returns a stream that nobody else has.
    pub fn new(context: &Arc<Context>, priority: Priority) -> Result<Self, CudaError> {
        let idle = lock(&context.idle).of(priority).pop();
        let raw = match idle {
            Some(idle) => idle,
            None => RawStream(create(context, priority)?),
        };
        Ok(Self {
            context: context.clone(),
            priority,
            raw,
        })
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Has what is put into this stream from now on begin after the event, which must have been recorded; returns at once.
    pub fn wait(&self, event: &Event) -> Result<(), CudaError> {
        self.wait_raw(event.raw())
    }

    /// Returns an event that is done when all is that was put into this stream until now.
    pub fn record(&self) -> Result<Event, CudaError> {
        let event = self.event()?;
        event.record(self)?;
        Ok(event)
    }

    /// Returns an event to be recorded in this stream. Made before a copy is begun, so that what the copy uses is not given
    /// back because there is nothing to wait for it with.
    pub(in crate::engine) fn event(&self) -> Result<Event, CudaError> {
        Event::new(&self.context, EventKind::Plain)
    }

    /// Tells whether all is done that was put into this stream. Where the device is lost, says so.
    pub fn is_idle(&self) -> Result<bool, CudaError> {
        // SAFETY: a stream that is never destroyed.
        let state = unsafe { sys::cuStreamQuery(self.raw.0) };
        match state {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            state => checked("cuStreamQuery", state.result()).map(|()| true),
        }
    }

    /// Ends a capture of this stream that nobody else ended; what it noted is dropped.
    pub(in crate::engine) fn end_capture(&self) -> Result<(), CudaError> {
        use sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE as NONE;
        let _current = self.context.enter()?;
        let mut status = NONE;
        // SAFETY: a stream that is never destroyed, and a place to write to.
        let asked = unsafe { sys::cuStreamIsCapturing(self.raw.0, &raw mut status) };
        checked("cuStreamIsCapturing", asked.result())?;
        if status == NONE {
            return Ok(());
        }
        let mut noted = std::ptr::null_mut();
        // SAFETY: as above. One that is broken is ended too, with an error and without a graph.
        let ended = unsafe { sys::cuStreamEndCapture(self.raw.0, &raw mut noted) };
        if noted.is_null() {
            tracing::debug!(?ended, "a broken capture is ended");
            return Ok(());
        }
        // SAFETY: a graph that nobody else has.
        checked(
            "cuGraphDestroy",
            unsafe { sys::cuGraphDestroy(noted) }.result(),
        )
    }

    /// Returns the address by which libtorch knows the stream. It stays one of a stream for as long as the process.
    pub fn address(&self) -> usize {
        self.raw.0.addr()
    }

    /// Copies bytes of the host to the device, in this stream.
    ///
    /// # Safety
    /// `to` is the first of `from.len()` bytes of memory of this stream's device. Until what this stream has been given so
    /// far is done, both sides stay, nobody else touches `to`, and nobody writes to `from`; also where there is an error, as
    /// part of it may have begun.
    pub(in crate::engine) unsafe fn copy_in(&self, to: u64, from: &[u8]) -> Result<(), CudaError> {
        let _current = self.context.enter()?;
        let mut done = 0;
        while done < from.len() {
            let rest = &from[done..];
            let part = &rest[..alike(rest)];
            // SAFETY: the caller's promise, of a part of it.
            let begun = unsafe { result::memcpy_htod_async(to + done as u64, part, self.raw.0) };
            checked("cuMemcpyHtoDAsync", begun)?;
            done += part.len();
        }
        Ok(())
    }

    /// Copies bytes of the device to the host, in this stream.
    ///
    /// # Safety
    /// `from` is the first of `to.len()` bytes of memory of this stream's device. Until what this stream has been given so
    /// far is done, both sides stay, and nobody else touches `to` or writes to `from`; also where there is an error, as part
    /// of it may have begun.
    pub(in crate::engine) unsafe fn copy_out(
        &self,
        to: &mut [u8],
        from: u64,
    ) -> Result<(), CudaError> {
        let _current = self.context.enter()?;
        let mut done = 0;
        while done < to.len() {
            let rest = &mut to[done..];
            let length = alike(rest);
            let part = &mut rest[..length];
            // SAFETY: the caller's promise, of a part of it.
            let begun = unsafe { result::memcpy_dtoh_async(part, from + done as u64, self.raw.0) };
            checked("cuMemcpyDtoHAsync", begun)?;
            done += length;
        }
        Ok(())
    }

    /// Copies bytes from one place of this stream's device to another, which may be memory of another process that is mapped.
    ///
    /// # Safety
    /// `from` and `to` are each the first of `bytes` bytes of memory of this stream's device, which do not overlap. Until what
    /// this stream has been given so far is done, both sides stay, nobody else touches `to`, and nobody writes to `from`.
    pub(in crate::engine) unsafe fn copy_within(
        &self,
        to: u64,
        from: u64,
        bytes: usize,
    ) -> Result<(), CudaError> {
        let _current = self.context.enter()?;
        // SAFETY: the caller's promise.
        let begun = unsafe { result::memcpy_dtod_async(to, from, bytes, self.raw.0) };
        checked("cuMemcpyDtoDAsync", begun)
    }

    /// Copies bytes of another device to this stream's, directly where the devices can, else through the host.
    ///
    /// # Safety
    /// `to` is the first of `bytes` bytes of memory of this stream's device, `from` of that of `source`. Until what this
    /// stream has been given so far is done, both sides stay, nobody else touches `to`, and nobody writes to `from`.
    pub(in crate::engine) unsafe fn copy_across(
        &self,
        to: u64,
        (source, from): (&Context, u64),
        bytes: usize,
    ) -> Result<(), CudaError> {
        self.context.reads(source)?;
        let _current = self.context.enter()?;
        // SAFETY: the caller's promise; both contexts are never released.
        let begun = unsafe {
            sys::cuMemcpyPeerAsync(
                to,
                self.context.raw(),
                from,
                source.raw(),
                bytes,
                self.raw.0,
            )
        };
        checked("cuMemcpyPeerAsync", begun.result())
    }

    pub(super) fn wait_raw(&self, event: sys::CUevent) -> Result<(), CudaError> {
        const FLAGS: c_uint = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT as c_uint;
        let _current = self.context.enter()?;
        // SAFETY: a stream that is never destroyed and an event that its owner has not destroyed yet.
        let waited = unsafe { sys::cuStreamWaitEvent(self.raw.0, event, FLAGS) };
        checked("cuStreamWaitEvent", waited.result())
    }

    pub(super) const fn raw(&self) -> sys::CUstream {
        self.raw.0
    }
}

fn create(context: &Context, priority: Priority) -> Result<sys::CUstream, CudaError> {
    use result::stream;
    let _current = context.enter()?;
    let range = checked("cuCtxGetStreamPriorityRange", stream::get_priority_range())?;
    let (least, greatest) = range;
    let number = match priority {
        Priority::Normal => least,
        Priority::High => greatest,
    };
    let kind = stream::StreamKind::NonBlocking;
    checked(
        "cuStreamCreateWithPriority",
        stream::create_with_priority(kind, number),
    )
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.context.idle).of(self.priority).push(self.raw);
    }
}

impl Idle {
    fn of(&mut self, priority: Priority) -> &mut Vec<RawStream> {
        match priority {
            Priority::Normal => &mut self.normal,
            Priority::High => &mut self.high,
        }
    }
}
