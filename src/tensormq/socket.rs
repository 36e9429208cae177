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

/// One end of a link.
pub(super) struct Socket {
    socket: zmq::Socket,
    inproc: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("inproc", &self.inproc)
            .finish_non_exhaustive()
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
        let socket = self.socket(zmq::ROUTER, high_water_mark)?;
        socket.set_router_mandatory(true).map_err(failed)?;
        socket
            .bind(&endpoint.to_string())
            .map_err(|error| LinkError::Bind {
                endpoint: endpoint.clone(),
                cause: error.to_string(),
            })?;
        Ok(Socket {
            socket,
            inproc: matches!(endpoint, Endpoint::Inproc(_)),
        })
    }

    /// Connects a DEALER that calls itself `identity`.
    pub(super) fn connect(
        &self,
        endpoint: &Endpoint,
        identity: &str,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let socket = self.socket(zmq::DEALER, high_water_mark)?;
        socket.set_identity(identity.as_bytes()).map_err(failed)?;
        socket
            .connect(&endpoint.to_string())
            .map_err(|error| LinkError::Connect {
                endpoint: endpoint.clone(),
                cause: error.to_string(),
            })?;
        Ok(Socket {
            socket,
            inproc: matches!(endpoint, Endpoint::Inproc(_)),
        })
    }

    fn socket(
        &self,
        kind: zmq::SocketType,
        high_water_mark: i32,
    ) -> Result<zmq::Socket, LinkError> {
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
        header: Vec<u8>,
        tensors: &[(u16, Tensor)],
    ) -> Result<bool, LinkError> {
        debug_assert!(self.inproc, "a handle names memory of this process");
        let more = if tensors.is_empty() { 0 } else { zmq::SNDMORE };
        match self.socket.send(header, zmq::DONTWAIT | more) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN) => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        for (index, (_, tensor)) in tensors.iter().enumerate() {
            let more = if index + 1 < tensors.len() {
                zmq::SNDMORE
            } else {
                0
            };
            self.send_handle(tensor.clone(), zmq::DONTWAIT | more)?;
        }
        Ok(true)
    }

    fn send_handle(&mut self, tensor: Tensor, flags: c_int) -> Result<(), LinkError> {
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
        // SAFETY: `message` is initialised; the socket is open because `self` owns it. On success libzmq owns the
        // content; on failure we still do and close it, which frees the handle.
        let sent =
            unsafe { zmq_sys::zmq_msg_send(&raw mut message, self.socket.as_mut_ptr(), flags) };
        if sent < 0 {
            let error = std::io::Error::last_os_error();
            // SAFETY: `message` is initialised and was not sent.
            unsafe { zmq_sys::zmq_msg_close(&raw mut message) };
            return Err(LinkError::Socket(error.to_string()));
        }
        Ok(())
    }

    /// Sends a small frame to the peer of that identity. `false` means that its queue is full or the peer is gone.
    pub(super) fn send_to(&mut self, identity: &[u8], frame: &[u8]) -> Result<bool, LinkError> {
        match self.socket.send_multipart([identity, frame], zmq::DONTWAIT) {
            Ok(()) => Ok(true),
            Err(zmq::Error::EAGAIN | zmq::Error::EHOSTUNREACH) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Receives a small frame of a DEALER, if one waits.
    pub(super) fn try_receive_frame(&mut self) -> Result<Option<zmq::Message>, LinkError> {
        match self.socket.recv_msg(zmq::DONTWAIT) {
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
            let frame = self.socket.recv_msg(zmq::DONTWAIT).map_err(failed)?;
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
            .map(|(index, frame)| self.handle(index, &frame))
            .collect();
        Ok(Some(tensors.map(|tensors| Message {
            identity,
            header,
            tensors,
        })))
    }

    /// Returns the edges of the descriptor that libzmq signals on. Must be called within a tokio runtime.
    pub(super) fn edges(&self) -> Result<Edges, LinkError> {
        let descriptor = self.socket.get_fd().map_err(failed)?;
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

    fn handle(&self, index: usize, frame: &zmq::Message) -> Result<Tensor, LinkError> {
        let start = frame.as_ptr();
        let fits = self.inproc
            && frame.len() == size_of::<Handle>()
            && start.cast::<Handle>().is_aligned();
        // SAFETY: an inproc socket receives from sockets of its own context alone, and that context is private to
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
}

unsafe extern "C" fn free_handle(_data: *mut c_void, hint: *mut c_void) {
    // SAFETY: `hint` is the pointer that `send_handle` got from `Box::into_raw`; libzmq calls this exactly once, when
    // the last reference to the message is closed.
    drop(unsafe { Box::from_raw(hint.cast::<Handle>()) });
}
