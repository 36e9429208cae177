//! Where the elements of a tensor lie, and how they come from the host to where others are.
//!
//! A device that is captured takes nothing from the host. So a run is noted first ([`noting`]), and what it brought to the
//! device is handed out again while it is captured ([`with_noted`]).

#![expect(unsafe_code, reason = "calls the C++ shim")]

use std::cell::RefCell;

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

/// What a thread does with what it brings from the host to a device.
#[derive(Debug, Default)]
enum Carrying {
    #[default]
    Plainly,
    /// Keeps what it brought.
    Noting(Vec<tch::Tensor>),
    /// Takes what it kept, in the same order.
    Noted(std::vec::IntoIter<tch::Tensor>),
}

thread_local! {
    static CARRYING: RefCell<Carrying> = const { RefCell::new(Carrying::Plainly) };
}

/// The thread carries plainly when this is dropped.
struct Plainly;

impl Drop for Plainly {
    fn drop(&mut self) {
        CARRYING.take();
    }
}

/// Returns a tensor on the device of another one; the same where it is there.
pub(crate) fn beside(tensor: &tch::Tensor, other: &tch::Tensor) -> Result<tch::Tensor, Cause> {
    let comes_from_host = is_on_host(tensor) && !is_on_host(other);
    if comes_from_host && let Some(noted) = noted() {
        return noted;
    }
    // SAFETY: two live tensors.
    let there =
        shim_tensor(|error| unsafe { blockflow_beside(tensor.as_ptr(), other.as_ptr(), error) })?;
    if comes_from_host {
        CARRYING.with_borrow_mut(|carrying| {
            if let Carrying::Noting(noted) = carrying {
                noted.push(there.shallow_clone());
            }
        });
    }
    Ok(there)
}

/// Runs `body`; returns also what it brought from the host to a device, in order.
pub(crate) fn noting<T>(body: impl FnOnce() -> T) -> (T, Vec<tch::Tensor>) {
    let _plainly = Plainly;
    CARRYING.set(Carrying::Noting(Vec::new()));
    let made = body();
    match CARRYING.take() {
        Carrying::Noting(noted) => (made, noted),
        _ => (made, Vec::new()),
    }
}

/// Runs `body`, which copies nothing from the host: in the place of what it would bring to a device is what it brought when
/// it was noted. It has to bring as much again, and the same.
pub(crate) fn with_noted<T>(noted: &[tch::Tensor], body: impl FnOnce() -> T) -> T {
    let _plainly = Plainly;
    let noted: Vec<_> = noted.iter().map(tch::Tensor::shallow_clone).collect();
    CARRYING.set(Carrying::Noted(noted.into_iter()));
    body()
}

/// Returns what was brought before in the place of what is brought now, if the thread goes by that.
fn noted() -> Option<Result<tch::Tensor, Cause>> {
    CARRYING.with_borrow_mut(|carrying| match carrying {
        Carrying::Noted(noted) => Some(
            noted
                .next()
                .ok_or_else(|| Cause::new("something else comes from the host than before")),
        ),
        _ => None,
    })
}

/// Tells whether the host holds the elements.
pub(crate) fn is_on_host(tensor: &tch::Tensor) -> bool {
    // SAFETY: a live tensor.
    unsafe { blockflow_is_on_host(tensor.as_ptr()) }
}
