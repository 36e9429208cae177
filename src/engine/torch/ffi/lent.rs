//! Tensors of libtorch in memory that somebody else gives room for.
//!
//! While a run is lent rooms, memory that libtorch allocates on this thread and that is as large as an output that has room
//! comes from there: whichever of these tensors becomes the output lies where it is wanted, and the room of the others is
//! free again when they are.

#![expect(
    unsafe_code,
    reason = "the allocator of libtorch takes and frees foreign memory"
)]

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::types::{HostMemory, MEMORY_ALIGNMENT, Rooms};

use super::bindings::{blockflow_lend, blockflow_lent};

struct Lending<'a> {
    rooms: &'a dyn Rooms,
    /// Places of outputs with their bytes.
    wanted: &'a [(usize, usize)],
}

/// Ends lending on this thread, however the run ends.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: no lender needs no context.
        unsafe { blockflow_lend(null_mut(), None, release) };
    }
}

/// Runs something with rooms for outputs, given their places and bytes. Not to be nested.
pub(crate) fn with_rooms<T>(
    rooms: &dyn Rooms,
    wanted: &[(usize, usize)],
    run: impl FnOnce() -> T,
) -> T {
    if wanted.is_empty() {
        return run();
    }
    let mut lending = Lending { rooms, wanted };
    let _end = End;
    // SAFETY: `lend` takes a `Lending`, which outlives its use: `_end` is dropped before it, and nobody else on this thread
    // lends meanwhile.
    unsafe { blockflow_lend((&raw mut lending).cast(), Some(lend), release) };
    run()
}

/// Returns the memory of a tensor, if it was lent and is all of what was.
pub(super) fn memory_of(tensor: &tch::Tensor) -> Option<Arc<dyn HostMemory>> {
    // SAFETY: the pointer is that of a live `at::Tensor`, and the shim only reads it.
    let owner = unsafe { blockflow_lent(tensor.as_ptr()) };
    if owner.is_null() {
        return None;
    }
    // SAFETY: lent memory has an owner that `lend` made, as nobody else lends, and it lives as long as the tensor, whose own
    // storage it is.
    Some(unsafe { &*owner.cast::<Arc<dyn HostMemory>>() }.clone())
}

/// Returns memory of so many bytes and its owner, or null.
extern "C" fn lend(context: *mut c_void, bytes: usize, owner: *mut *mut c_void) -> *mut c_void {
    // SAFETY: `context` is the live `Lending` of this thread, which nobody writes to.
    let lending = unsafe { &*context.cast::<Lending<'_>>() };
    let Some(&(output, _)) = lending.wanted.iter().find(|(_, wanted)| *wanted == bytes) else {
        return null_mut();
    };
    let Some(mut room) = lending.rooms.room(output, bytes) else {
        return null_mut();
    };
    let memory = room.as_mut_slice();
    let (data, length) = (memory.as_mut_ptr(), memory.len());
    if length != bytes || data.align_offset(MEMORY_ALIGNMENT) != 0 {
        return null_mut();
    }
    let memory = Box::new(room.into_memory());
    // SAFETY: a place to write to. Nobody reads the memory before `memory_of` gives it away, and nobody writes from then on.
    unsafe { *owner = Box::into_raw(memory).cast() };
    data.cast()
}

/// Drops the owner of lent memory, on whichever thread drops the last tensor.
extern "C" fn release(owner: *mut c_void) {
    // SAFETY: the `Box` that `lend` turned into a pointer; libtorch frees memory once. What is in it is `Send`.
    drop(unsafe { Box::from_raw(owner.cast::<Arc<dyn HostMemory>>()) });
}
