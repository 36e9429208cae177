//! The only file that speaks to libzmq: sockets that never block, and frames that are tensor handles.

#![expect(
    unsafe_code,
    reason = "a frame that owns a tensor needs a free function, which the zmq crate does not offer"
)]

use std::ffi::{c_int, c_void};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::types::{Endpoint, Tensor};

use super::LinkError;

/// Bytes of one frame at most, on carriers where frames come from another process.
const FRAME_BYTES_MAX: i64 = 1 << 31;
const RECONNECT_MS: i32 = 100;
const RECONNECT_MS_MAX: i32 = 5_000;
/// Marks the memory behind a handle frame, so that a frame of any other origin is refused.
const HANDLE_MARK: u64 = 0x6b63_6f6c_6277_6f66;

/// Owner of all sockets of a process. Inproc names live in it.
#[derive(Clone, Default)]
pub struct Context(zmq::Context);

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

/// What a handle frame points to.
#[repr(C)]
struct Handle {
    mark: u64,
    tensor: Tensor,
}

/// One end of a link within this process.
pub(super) struct Socket(zmq::Socket);

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Socket")
    }
}

/// Edges of one socket's descriptor: something may have happened, so drain the socket, then wait again.
#[derive(Debug)]
pub struct Edges(AsyncFd<OwnedFd>);

impl Edges {
    /// Waits for the next edge. Readiness is cleared before this returns, so an edge that comes while the owner drains
    /// is not lost. `None` means that the runtime is shutting down.
    pub async fn next(&self) -> Option<()> {
        self.0.readable().await.ok()?.clear_ready();
        Some(())
    }
}

/// What one message held: the sender's identity (ROUTER only), the header, the handles.
pub(super) struct Message {
    pub identity: Vec<u8>,
    pub header: zmq::Message,
    pub tensors: Vec<Tensor>,
}

fn failed(error: zmq::Error) -> LinkError {
    LinkError::Socket(error.to_string())
}

/// Repeats a call that a signal handler interrupted.
fn patient<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
    loop {
        match call() {
            Err(zmq::Error::EINTR) => {}
            result => return result,
        }
    }
}

/// Tells whether a send was taken; `false` is a full queue.
fn took(sent: zmq::Result<()>) -> Result<bool, LinkError> {
    match sent {
        Ok(()) => Ok(true),
        Err(zmq::Error::EAGAIN) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Returns the error of the libzmq call that just failed on this thread.
fn last_error() -> zmq::Error {
    let code = std::io::Error::last_os_error().raw_os_error();
    zmq::Error::from_raw(code.unwrap_or_default())
}

impl Context {
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds a ROUTER that queues at most `high_water_mark` messages per peer.
    pub(super) fn bind(
        &self,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let socket = self.socket(zmq::ROUTER, endpoint, high_water_mark)?;
        socket.set_router_mandatory(true).map_err(failed)?;
        socket
            .bind(&endpoint.to_string())
            .map_err(|error| LinkError::Bind {
                endpoint: endpoint.clone(),
                cause: error.to_string(),
            })?;
        Ok(Socket(socket))
    }

    /// Connects a DEALER that calls itself `identity`.
    pub(super) fn connect(
        &self,
        endpoint: &Endpoint,
        identity: &str,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let socket = self.socket(zmq::DEALER, endpoint, high_water_mark)?;
        socket.set_identity(identity.as_bytes()).map_err(failed)?;
        socket
            .connect(&endpoint.to_string())
            .map_err(|error| LinkError::Connect {
                endpoint: endpoint.clone(),
                cause: error.to_string(),
            })?;
        Ok(Socket(socket))
    }

    fn socket(
        &self,
        kind: zmq::SocketType,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<zmq::Socket, LinkError> {
        if !matches!(endpoint, Endpoint::Inproc(_)) {
            return Err(LinkError::Carrier(endpoint.clone()));
        }
        let socket = self.0.socket(kind).map_err(failed)?;
        let set = || {
            socket.set_linger(0)?;
            socket.set_sndhwm(high_water_mark)?;
            socket.set_rcvhwm(high_water_mark)?;
            socket.set_maxmsgsize(FRAME_BYTES_MAX)?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            socket.set_reconnect_ivl_max(RECONNECT_MS_MAX)
        };
        set().map_err(failed)?;
        Ok(socket)
    }
}

impl Socket {
    /// Sends a header and a handle per tensor. `false` means the queue is full and nothing was sent.
    pub(super) fn send_handles(
        &mut self,
        header: &[u8],
        tensors: &[(u16, Tensor)],
    ) -> Result<bool, LinkError> {
        let flags = |last: bool| zmq::DONTWAIT | if last { 0 } else { zmq::SNDMORE };
        if !took(patient(|| self.0.send(header, flags(tensors.is_empty()))))? {
            return Ok(false);
        }
        let mut whole = true;
        for (index, (_, tensor)) in tensors.iter().enumerate() {
            // When the peer goes away in the middle, libzmq takes the message back and swallows the rest of it.
            whole &= self.send_handle(tensor.clone(), flags(index + 1 == tensors.len()))?;
        }
        Ok(whole)
    }

    fn send_handle(&mut self, tensor: Tensor, flags: c_int) -> Result<bool, LinkError> {
        let handle = Box::into_raw(Box::new(Handle {
            mark: HANDLE_MARK,
            tensor,
        }));
        let mut message = zmq_sys::zmq_msg_t::default();
        // SAFETY: `handle` is a live allocation of the stated size that only `free_handle` frees, once, with the hint
        // given here; `message` is overwritten before any other use, as zmq_msg_init_data asks.
        let made = unsafe {
            zmq_sys::zmq_msg_init_data(
                &raw mut message,
                handle.cast(),
                size_of::<Handle>(),
                Some(free_handle),
                handle.cast(),
            )
        };
        if made != 0 {
            // SAFETY: initialisation failed, so libzmq does not own the allocation and will not free it.
            drop(unsafe { Box::from_raw(handle) });
            return Err(LinkError::Socket("out of memory for a message".into()));
        }
        let socket = self.0.as_mut_ptr();
        let sent = patient(|| {
            // SAFETY: `message` is initialised; the socket is open because `self` owns it. On success libzmq owns the
            // content; on failure we still do.
            let sent = unsafe { zmq_sys::zmq_msg_send(&raw mut message, socket, flags) };
            if sent < 0 { Err(last_error()) } else { Ok(()) }
        });
        if sent.is_err() {
            // SAFETY: `message` is initialised and was not sent; closing it frees the handle.
            unsafe { zmq_sys::zmq_msg_close(&raw mut message) };
        }
        took(sent)
    }

    /// Sends a small frame to the peer of that identity. `false` means that its queue is full or the peer is gone.
    pub(super) fn send_to(&mut self, identity: &[u8], frame: &[u8]) -> Result<bool, LinkError> {
        let sent = patient(|| self.0.send(identity, zmq::DONTWAIT | zmq::SNDMORE));
        if matches!(sent, Err(zmq::Error::EHOSTUNREACH)) || !took(sent)? {
            return Ok(false);
        }
        took(patient(|| self.0.send(frame, zmq::DONTWAIT)))
    }

    /// Receives a small frame of a DEALER, if one waits.
    pub(super) fn try_receive_frame(&mut self) -> Result<Option<zmq::Message>, LinkError> {
        match patient(|| self.0.recv_msg(zmq::DONTWAIT)) {
            Ok(message) => Ok(Some(message)),
            Err(zmq::Error::EAGAIN) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Receives a whole message of a ROUTER, if one waits. Frames after the first that is no handle are discarded.
    pub(super) fn try_receive(&mut self) -> Result<Option<Result<Message, LinkError>>, LinkError> {
        let Some(identity) = self.try_receive_frame()? else {
            return Ok(None);
        };
        let mut frames = Vec::new();
        let mut more = identity.get_more();
        while more {
            let frame = patient(|| self.0.recv_msg(zmq::DONTWAIT)).map_err(failed)?;
            more = frame.get_more();
            frames.push(frame);
        }
        let identity = identity.to_vec();
        let mut frames = frames.into_iter();
        let Some(header) = frames.next() else {
            return Ok(Some(Err(LinkError::Frames {
                seen: 0,
                expected: 1,
            })));
        };
        let tensors: Result<Vec<_>, _> = frames
            .enumerate()
            .map(|(index, frame)| handle(index, &frame))
            .collect();
        Ok(Some(tensors.map(|tensors| Message {
            identity,
            header,
            tensors,
        })))
    }

    /// Returns the edges of the descriptor that libzmq signals on. Must be called within a tokio runtime.
    pub(super) fn edges(&self) -> Result<Edges, LinkError> {
        let descriptor = self.0.get_fd().map_err(failed)?;
        // SAFETY: libzmq keeps the descriptor open for as long as the socket lives, and `self` owns the socket.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let watched = borrowed.try_clone_to_owned().and_then(|owned| {
            // SAFETY: the descriptor is a duplicate that the `AsyncFd` owns and that nobody else closes.
            let registered = unsafe { AsyncFd::register_with_interest(owned, Interest::READABLE) };
            registered.map_err(Into::into)
        });
        watched
            .map(Edges)
            .map_err(|error| LinkError::Socket(error.to_string()))
    }
}

/// Returns the tensor that a frame is the handle of.
fn handle(index: usize, frame: &zmq::Message) -> Result<Tensor, LinkError> {
    let start = frame.as_ptr();
    let fits = frame.len() == size_of::<Handle>() && start.cast::<Handle>().is_aligned();
    // SAFETY: a socket here is inproc, which receives from sockets of its own context alone, and that context is private to
    // this program; the frame has the size of a `Handle`, is aligned, and `mark` is its first field, so reading
    // eight bytes is in bounds whatever the frame is.
    if !fits || unsafe { start.cast::<u64>().read() } != HANDLE_MARK {
        return Err(LinkError::NoHandle { index });
    }
    // SAFETY: only `send_handle` makes frames with this mark; libzmq passes an inproc message by reference, so
    // these are the bytes of the live `Handle` that this message owns until it is closed, and nobody writes them.
    let handle = unsafe { &*start.cast::<Handle>() };
    Ok(handle.tensor.clone())
}

unsafe extern "C" fn free_handle(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` is the pointer that `send_handle` got from `Box::into_raw`; libzmq calls this exactly once, when
    // the last reference to the message is closed.
    drop(unsafe { Box::from_raw(hint.cast::<Handle>()) });
}
