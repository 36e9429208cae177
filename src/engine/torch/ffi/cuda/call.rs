//! Calls of the shim.

#![expect(unsafe_code, reason = "takes strings and tensors of C++")]

use std::ffi::{c_char, c_int};

use torch_sys::C_tensor;

use crate::engine::cuda::Stream;
use crate::types::Device;

use super::super::super::cause::Cause;
use super::super::bindings::take_message;

pub(super) fn device_of(stream: &Stream) -> Device {
    Device::Cuda(stream.context().ordinal())
}

pub(super) fn ordinal(stream: &Stream) -> c_int {
    stream.context().ordinal().into()
}

/// Calls a function of the shim that tells whether it succeeded.
pub(super) fn shim(call: impl FnOnce(*mut *mut c_char) -> bool) -> Result<(), Cause> {
    let mut error = std::ptr::null_mut();
    if call(&raw mut error) {
        return Ok(());
    }
    // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
    Err(Cause::new(
        unsafe { take_message(error) }.unwrap_or_default(),
    ))
}

/// Calls a function of the shim that makes a tensor.
pub(super) fn shim_tensor(
    call: impl FnOnce(*mut *mut c_char) -> *mut C_tensor,
) -> Result<tch::Tensor, Cause> {
    let mut error = std::ptr::null_mut();
    let tensor = call(&raw mut error);
    if tensor.is_null() {
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        return Err(Cause::new(
            unsafe { take_message(error) }.unwrap_or_default(),
        ));
    }
    // SAFETY: a new `at::Tensor` on the heap that nobody else frees, as `tch` makes them.
    Ok(unsafe { tch::Tensor::from_ptr(tensor) })
}
