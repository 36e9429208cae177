//! The stream in which a thread's kernels run.

#![expect(unsafe_code, reason = "calls the C++ shim")]

use std::ffi::c_int;
use std::fmt;
use std::marker::PhantomData;

use crate::engine::cuda::Stream;

use super::super::super::cause::Cause;
use super::super::bindings::{blockflow_stream_enter, blockflow_stream_leave};
use super::call::{ordinal, shim};

/// A stream is the thread's current one, and its device the current device, until this is dropped.
pub(crate) struct InStream<'a> {
    device: c_int,
    before: (c_int, i64),
    _stream: &'a Stream,
    /// Both are the thread's.
    _thread: PhantomData<*mut ()>,
}

impl<'a> InStream<'a> {
    pub(crate) fn enter(stream: &'a Stream) -> Result<Self, Cause> {
        let device = ordinal(stream);
        let mut before = (0, 0);
        let entered = shim(|error| {
            // SAFETY: the address is that of a stream of this device, which is never destroyed; three places to write to.
            unsafe {
                blockflow_stream_enter(
                    device,
                    stream.address(),
                    &raw mut before.0,
                    &raw mut before.1,
                    error,
                )
            }
        });
        entered?;
        Ok(Self {
            device,
            before,
            _stream: stream,
            _thread: PhantomData,
        })
    }
}

impl Drop for InStream<'_> {
    fn drop(&mut self) {
        // SAFETY: what `enter` found, on the same thread since the type is not `Send`.
        unsafe { blockflow_stream_leave(self.device, self.before.0, self.before.1) };
    }
}

impl fmt::Debug for InStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InStream")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
