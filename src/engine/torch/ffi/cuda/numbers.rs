//! How a thread's products and convolutions are rounded, and chosen.
//!
//! libtorch has one setting for all threads of a process, and blocks of one process differ. Convolutions are told with each
//! call. Products may shorten mantissas by the process's setting once a run asks for it, but for threads that forbid it, as
//! every other run does; what would not heed that, cuBLASLt, is switched off. What lies outside of a run computes nothing on a
//! device.

#![expect(unsafe_code, reason = "calls the C++ shim")]

use std::fmt;
use std::marker::PhantomData;

use tch::Tensor;

use super::super::super::cause::Cause;
use super::super::bindings::{
    RawNumbers, blockflow_convolution, blockflow_numbers_enter, blockflow_numbers_leave,
};
use super::call::shim_tensor;

/// What a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Numbers {
    /// Products and convolutions of FP32 read 10 bits of each mantissa.
    pub(crate) shortened: bool,
    /// cuDNN tries its algorithms on each new shape of a convolution, and keeps the fastest.
    pub(crate) tried: bool,
}

/// The thread computes so until this is dropped.
pub(crate) struct WithNumbers {
    raw: *mut RawNumbers,
    /// They are the thread's.
    _thread: PhantomData<*mut ()>,
}

impl WithNumbers {
    pub(crate) fn enter(numbers: Numbers) -> Result<Self, Cause> {
        // SAFETY: no preconditions.
        let raw = unsafe { blockflow_numbers_enter(numbers.shortened, numbers.tried) };
        if raw.is_null() {
            return Err(Cause::new("out of memory"));
        }
        Ok(Self {
            raw,
            _thread: PhantomData,
        })
    }
}

impl Drop for WithNumbers {
    fn drop(&mut self) {
        // SAFETY: what `enter` made, not freed before, on the same thread since the type is not `Send`.
        unsafe { blockflow_numbers_leave(self.raw) };
    }
}

impl fmt::Debug for WithNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithNumbers").finish_non_exhaustive()
    }
}

/// Where the windows of a convolution lie: one number for each spatial dimension.
#[derive(Debug, Clone)]
pub(crate) struct Geometry {
    pub(crate) stride: Vec<i64>,
    pub(crate) padding: Vec<i64>,
    pub(crate) dilation: Vec<i64>,
    /// Of a transposed one, what is added behind; `None`: it is not transposed.
    pub(crate) added: Option<Vec<i64>>,
    pub(crate) groups: i64,
}

/// Convolves on a device as the thread's numbers have it.
pub(crate) fn convolution(
    data: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Geometry,
) -> Result<Tensor, Cause> {
    let Geometry {
        stride,
        padding,
        dilation,
        added,
        groups,
    } = geometry;
    let rank = stride.len();
    let none = vec![0; rank];
    let behind = added.as_ref().unwrap_or(&none);
    if [padding, dilation, behind]
        .iter()
        .any(|list| list.len() != rank)
    {
        return Err(Cause::new("the dimensions of a convolution differ"));
    }
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    shim_tensor(|error| {
        // SAFETY: live tensors, or null for a bias that is none; four lists of `rank` numbers.
        unsafe {
            blockflow_convolution(
                data.as_ptr(),
                weight.as_ptr(),
                bias,
                stride.as_ptr(),
                padding.as_ptr(),
                dilation.as_ptr(),
                added.is_some(),
                behind.as_ptr(),
                rank,
                *groups,
                error,
            )
        }
    })
}
