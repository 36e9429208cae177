//! Where the elements of a tensor lie.

#![expect(unsafe_code, reason = "calls the C++ shim")]

use super::super::super::cause::Cause;
use super::super::bindings::{blockflow_beside, blockflow_cuda_data, blockflow_is_on_host};
use super::call::{shim, shim_tensor};

/// Returns the address of the first element of a row-major tensor on a CUDA device, and the bytes of all.
pub(super) fn elements(tensor: &tch::Tensor) -> Result<(u64, usize), Cause> {
    let (mut address, mut length, mut device) = (0, 0, 0);
    shim(|error| {
        // SAFETY: a live tensor, and four places to write to.
        unsafe {
            blockflow_cuda_data(
                tensor.as_ptr(),
                &raw mut address,
                &raw mut length,
                &raw mut device,
                error,
            )
        }
    })?;
    Ok((address, length))
}

/// Returns a tensor on the device of another one; the same where it is there.
pub(crate) fn beside(tensor: &tch::Tensor, other: &tch::Tensor) -> Result<tch::Tensor, Cause> {
    // SAFETY: two live tensors.
    shim_tensor(|error| unsafe { blockflow_beside(tensor.as_ptr(), other.as_ptr(), error) })
}

/// Tells whether the host holds the elements.
pub(crate) fn is_on_host(tensor: &tch::Tensor) -> bool {
    // SAFETY: a live tensor.
    unsafe { blockflow_is_on_host(tensor.as_ptr()) }
}
