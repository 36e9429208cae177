//! Declarations of `shim.cpp` and the reading of its errors.

#![expect(unsafe_code, reason = "declares C functions and frees C strings")]

use std::ffi::{CStr, c_char, c_int, c_void};

use torch_sys::{C_tensor, get_and_reset_last_err};

use super::super::cause::Cause;

/// Gives the owner of viewed memory back.
pub(super) type Release = extern "C" fn(*mut c_void);

/// Returns memory of so many bytes and sets its owner, or returns null.
pub(super) type Lend = extern "C" fn(*mut c_void, usize, *mut *mut c_void) -> *mut c_void;

/// A bound operator of `boxed.cpp`.
#[repr(C)]
pub(super) struct RawCall {
    _opaque: [u8; 0],
}

/// `blockflow_value` of `boxed.cpp`.
#[repr(C)]
pub(super) struct RawValue {
    pub(super) kind: i32,
    pub(super) integer: i64,
    pub(super) real: f64,
    pub(super) tensor: *const C_tensor,
    pub(super) text: *const c_char,
    pub(super) length: usize,
    pub(super) items: *const RawValue,
}

/// `blockflow_result` of `boxed.cpp`.
#[repr(C)]
pub(super) struct RawResult {
    pub(super) kind: i32,
    pub(super) integer: i64,
    pub(super) real: f64,
    pub(super) tensor: *mut C_tensor,
}

/// Takes one result of a call, and the tensor in it.
pub(super) type Emit = extern "C" fn(*mut c_void, *const RawResult);

/// `c10::InferenceMode`.
#[repr(C)]
pub(super) struct Guard {
    _opaque: [u8; 0],
}

/// `Numbers` of `cuda.cpp`.
#[repr(C)]
pub(super) struct RawNumbers {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub(super) fn blockflow_view(
        data: *mut c_void,
        sizes: *const i64,
        strides: *const i64,
        rank: usize,
        scalar_type: i8,
        owner: *mut c_void,
        release: Release,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    pub(super) fn blockflow_data(
        tensor: *const C_tensor,
        data: *mut *const c_void,
        bytes: *mut usize,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_sole_owner(tensor: *const C_tensor, release: Release) -> bool;
    pub(super) fn blockflow_is_channels_last(tensor: *const C_tensor) -> bool;
    pub(super) fn blockflow_inference_enter() -> *mut Guard;
    pub(super) fn blockflow_inference_leave(guard: *mut Guard);
    pub(super) fn blockflow_set_threads(threads: c_int, error: *mut *mut c_char) -> bool;
    pub(super) fn blockflow_lend(context: *mut c_void, lend: Option<Lend>, release: Release);
    pub(super) fn blockflow_lent(tensor: *const C_tensor) -> *mut c_void;
    pub(super) fn blockflow_set_allocator();
    pub(super) fn blockflow_threads() -> c_int;
    pub(super) fn blockflow_version() -> *mut c_char;
    pub(super) fn blockflow_set_jit_optimize(enabled: bool);

    pub(super) fn blockflow_libtorch_file() -> *mut c_char;
    pub(super) fn blockflow_has_cuda() -> bool;
    pub(super) fn blockflow_cuda_begin(error: *mut *mut c_char) -> bool;
    pub(super) fn blockflow_numbers_enter(shortened: bool, tried: bool) -> *mut RawNumbers;
    pub(super) fn blockflow_numbers_leave(numbers: *mut RawNumbers);
    pub(super) fn blockflow_convolution(
        data: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: *const i64,
        padding: *const i64,
        dilation: *const i64,
        transposed: bool,
        output_padding: *const i64,
        rank: usize,
        groups: i64,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    pub(super) fn blockflow_stream_enter(
        device: c_int,
        address: usize,
        device_before: *mut c_int,
        stream_before: *mut i64,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_stream_leave(device: c_int, device_before: c_int, stream_before: i64);
    pub(super) fn blockflow_record_stream(
        tensor: *const C_tensor,
        device: c_int,
        address: usize,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_cuda_empty(
        device: c_int,
        sizes: *const i64,
        rank: usize,
        scalar_type: i8,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    pub(super) fn blockflow_beside(
        tensor: *const C_tensor,
        other: *const C_tensor,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    pub(super) fn blockflow_is_on_host(tensor: *const C_tensor) -> bool;
    pub(super) fn blockflow_cuda_data(
        tensor: *const C_tensor,
        address: *mut u64,
        bytes: *mut usize,
        device: *mut c_int,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_cuda_memory(
        device: c_int,
        used: *mut i64,
        taken: *mut i64,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_cuda_give_back(error: *mut *mut c_char) -> bool;

    pub(super) fn blockflow_call_new(
        name: *const c_char,
        overload: *const c_char,
        error: *mut *mut c_char,
    ) -> *mut RawCall;
    pub(super) fn blockflow_call_free(call: *mut RawCall);
    pub(super) fn blockflow_call_set(
        call: *mut RawCall,
        place: usize,
        value: *const RawValue,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_call_set_named(
        call: *mut RawCall,
        name: *const c_char,
        value: *const RawValue,
        error: *mut *mut c_char,
    ) -> bool;
    pub(super) fn blockflow_call_complete(call: *mut RawCall, error: *mut *mut c_char) -> bool;
    pub(super) fn blockflow_call_run(
        call: *const RawCall,
        written: *mut C_tensor,
        inputs: *const *const C_tensor,
        count: usize,
        to: *mut c_void,
        emit: Emit,
        error: *mut *mut c_char,
    ) -> bool;
}

/// Takes a message that C allocated, and frees it.
///
/// # Safety
/// `message` is null or a NUL-terminated string from `malloc` that nobody else frees.
pub(super) unsafe fn take_message(message: *mut c_char) -> Option<String> {
    if message.is_null() {
        return None;
    }
    // SAFETY: not null, and NUL-terminated by the caller's promise.
    let text = unsafe { CStr::from_ptr(message) }
        .to_string_lossy()
        .into_owned();
    // SAFETY: from `malloc` and ours by the caller's promise; not used below.
    unsafe { libc::free(message.cast()) };
    Some(text)
}

/// Turns the thread's last C++ exception, if the torch-sys call just made left one, into an error.
pub(super) fn checked<T>(result: T) -> Result<T, Cause> {
    checked_as(result, |message| Cause::new(message))
}

/// As [`checked`], with a choice of what to take from the message.
pub(super) fn checked_as<T>(result: T, cause: impl FnOnce(&str) -> Cause) -> Result<T, Cause> {
    // SAFETY: the function returns null or a string from `strdup` that is ours to free.
    match unsafe { take_message(get_and_reset_last_err()) } {
        None => Ok(result),
        Some(message) => Err(cause(&message)),
    }
}
