//! Frames that are tensors.

#![expect(
    unsafe_code,
    reason = "a frame that owns a tensor needs a free function, which the zmq crate does not offer"
)]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;

use crate::tensormq::{Form, LinkError, Payload};
use crate::types::{HostMemory, Tensor};

use super::io::patient;

/// Marks the memory behind a handle frame, so that a frame of any other origin is refused.
const HANDLE_MARK: u64 = 0x6b63_6f6c_6277_6f66;

/// What a handle frame points to, and what keeps the memory of a bytes frame.
#[repr(C)]
struct Handle {
    mark: u64,
    tensor: Tensor,
}

/// Memory of a message that came in. Behind an `Arc`, so that it stays where it is.
struct Received(zmq::Message);

impl HostMemory for Received {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("length", &self.0.len())
            .finish()
    }
}

/// Sends a frame that is a tensor, in one form.
pub(super) fn send(
    socket: &mut zmq::Socket,
    tensor: Tensor,
    form: Form,
    flags: c_int,
) -> zmq::Result<()> {
    let handle = Box::new(Handle {
        mark: HANDLE_MARK,
        tensor,
    });
    let (data, length): (*mut c_void, usize) = match form {
        Form::Handle => (null_mut(), size_of::<Handle>()),
        Form::Bytes | Form::Slot(_) | Form::Pool(_) | Form::Encoded(_) => {
            let (bytes, _) = handle.tensor.stored();
            if bytes.is_empty() {
                return patient(|| socket.send(&[][..], flags));
            }
            (bytes.as_ptr().cast_mut().cast(), bytes.len())
        }
    };
    let handle = Box::into_raw(handle);
    let data = if data.is_null() { handle.cast() } else { data };
    let mut message = zmq_sys::zmq_msg_t::default();
    // SAFETY: `data` is `length` bytes of the handle itself or of its tensor's memory, which stays valid, unchanged and at
    // one address while the handle lives; libzmq only reads it. `free_handle` alone frees the handle, once, with the
    // hint given here. `message` is overwritten before any other use, as zmq_msg_init_data asks.
    let made = unsafe {
        zmq_sys::zmq_msg_init_data(
            &raw mut message,
            data,
            length,
            Some(free_handle),
            handle.cast(),
        )
    };
    if made != 0 {
        // SAFETY: initialisation failed, so libzmq does not own the allocation and will not free it.
        drop(unsafe { Box::from_raw(handle) });
        return Err(zmq::Error::ENOMEM);
    }
    let socket = socket.as_mut_ptr();
    let sent = patient(|| {
        // SAFETY: `message` is initialised; the socket is open because the caller owns it. On success libzmq owns the
        // content; on failure we still do.
        let sent = unsafe { zmq_sys::zmq_msg_send(&raw mut message, socket, flags) };
        if sent < 0 { Err(last_error()) } else { Ok(()) }
    });
    if sent.is_err() {
        // SAFETY: `message` is initialised and was not sent; closing it frees the handle.
        unsafe { zmq_sys::zmq_msg_close(&raw mut message) };
    }
    sent
}

/// Returns the error of the libzmq call that just failed on this thread.
fn last_error() -> zmq::Error {
    let code = std::io::Error::last_os_error().raw_os_error();
    zmq::Error::from_raw(code.unwrap_or_default())
}

/// Returns what a frame behind a header is on a carrier of that form.
///
/// # Safety
///
/// With [`Form::Handle`] the frame must come from an inproc socket: all of whose peers are sockets of this program.
pub(super) unsafe fn payload(
    index: usize,
    frame: zmq::Message,
    form: Form,
) -> Result<Payload, LinkError> {
    match form {
        Form::Bytes | Form::Slot(_) | Form::Pool(_) | Form::Encoded(_) => {
            Ok(Payload::Bytes(Arc::new(Received(frame))))
        }
        // SAFETY: as the caller promises.
        Form::Handle => unsafe { handle(index, &frame) }.map(Payload::Handle),
    }
}

/// Returns the tensor that a frame is the handle of.
///
/// # Safety
///
/// The frame must come from an inproc socket.
unsafe fn handle(index: usize, frame: &zmq::Message) -> Result<Tensor, LinkError> {
    let start = frame.as_ptr();
    let fits = frame.len() == size_of::<Handle>() && start.cast::<Handle>().is_aligned();
    // SAFETY: the frame has the size of a `Handle`, is aligned, and `mark` is its first field, so reading eight bytes is
    // in bounds whatever the frame is.
    if !fits || unsafe { start.cast::<u64>().read() } != HANDLE_MARK {
        return Err(LinkError::NoHandle { index });
    }
    // SAFETY: an inproc socket receives from sockets of its own context alone, which is private to this program, where only
    // `send` makes frames with this mark; libzmq passes an inproc message by reference, so these are the bytes of the
    // live `Handle` that this message owns until it is closed, and nobody writes them.
    let handle = unsafe { &*start.cast::<Handle>() };
    Ok(handle.tensor.clone())
}

unsafe extern "C" fn free_handle(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` is the pointer that `send` got from `Box::into_raw`; libzmq calls this exactly once, when
    // the last reference to the message is closed.
    drop(unsafe { Box::from_raw(hint.cast::<Handle>()) });
}
