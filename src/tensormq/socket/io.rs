//! Sockets that never block.

#![expect(
    unsafe_code,
    reason = "the zmq crate cannot end the watch over a socket, nor tell what a frame is"
)]

use std::fmt;
use std::ptr::null;

use crate::tensormq::{Form, LinkError, Payload};
use crate::types::{Endpoint, TENSORS_MAX, Tensor};

use super::edges::Edges;
use super::frames;
use super::monitor::{Connection, Monitor};

/// One end of a link within this process.
pub(in crate::tensormq) struct Socket {
    zmq: zmq::Socket,
    monitor: Option<Monitor>,
    form: Form,
}

/// What one message held: the sender's identity, the header, the payloads.
pub(in crate::tensormq) struct Message {
    pub identity: zmq::Message,
    pub header: zmq::Message,
    pub payloads: Result<Vec<Payload>, LinkError>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

pub(super) fn failed(error: zmq::Error) -> LinkError {
    LinkError::Socket(error.to_string())
}

/// Repeats a call that a signal handler interrupted.
pub(super) fn patient<T>(mut call: impl FnMut() -> zmq::Result<T>) -> zmq::Result<T> {
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

impl Socket {
    pub(super) fn new(zmq: zmq::Socket, endpoint: &Endpoint, monitor: Option<Monitor>) -> Self {
        let form = match endpoint {
            Endpoint::Inproc(_) => Form::Handle,
            Endpoint::Ipc(_) | Endpoint::Tcp { .. } => Form::Bytes,
        };
        Self { zmq, monitor, form }
    }

    pub(super) fn connect(&self, endpoint: &Endpoint) -> Result<(), LinkError> {
        let connected = self.zmq.connect(&endpoint.to_string());
        connected.map_err(|error| LinkError::Connect {
            endpoint: endpoint.clone(),
            cause: error.to_string(),
        })
    }

    /// Returns the form in which tensors cross this socket.
    pub(in crate::tensormq) fn form(&self) -> Form {
        self.form
    }

    /// Returns where a bound socket listens: an endpoint with port 0 has been given one.
    pub(in crate::tensormq) fn endpoint(&self) -> Result<Endpoint, LinkError> {
        let text = self.zmq.get_last_endpoint().map_err(failed)?;
        let text = text.unwrap_or_else(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        text.parse()
            .map_err(|error| LinkError::Socket(format!("{error}")))
    }

    /// Tells whether connections of this socket come and go.
    pub(in crate::tensormq) fn is_watched(&self) -> bool {
        self.monitor.is_some()
    }

    /// Returns the next change of the connection, and makes the socket take note of it.
    pub(in crate::tensormq) fn next_change(&mut self) -> Result<Option<Connection>, LinkError> {
        let Some(monitor) = &self.monitor else {
            return Ok(None);
        };
        let change = monitor.next()?;
        if change.is_some() {
            // Looks at what the I/O thread asks for, which a send does not always do: the new connection is there.
            patient(|| self.zmq.get_events()).map_err(failed)?;
        }
        Ok(change)
    }

    /// Sends a header and a frame per tensor. `false` means that nothing was sent: the queue is full, or there is no
    /// connection.
    pub(in crate::tensormq) fn send(
        &mut self,
        header: &[u8],
        tensors: &[(u16, Tensor)],
    ) -> Result<bool, LinkError> {
        let flags = |last: bool| zmq::DONTWAIT | if last { 0 } else { zmq::SNDMORE };
        if !took(patient(|| self.zmq.send(header, flags(tensors.is_empty()))))? {
            return Ok(false);
        }
        let mut whole = true;
        for (index, (_, tensor)) in tensors.iter().enumerate() {
            // When the peer goes away in the middle, libzmq takes the message back and swallows the rest of it.
            let flags = flags(index + 1 == tensors.len());
            whole &= took(frames::send(
                &mut self.zmq,
                tensor.clone(),
                self.form,
                flags,
            ))?;
        }
        Ok(whole)
    }

    /// Sends a small frame to the peer of that identity. `None` means that the peer is gone, `false` that its queue is
    /// full.
    pub(in crate::tensormq) fn send_to(
        &mut self,
        identity: &[u8],
        frame: &[u8],
    ) -> Result<Option<bool>, LinkError> {
        let sent = patient(|| self.zmq.send(identity, zmq::DONTWAIT | zmq::SNDMORE));
        if matches!(sent, Err(zmq::Error::EHOSTUNREACH)) {
            return Ok(None);
        }
        if !took(sent)? {
            return Ok(Some(false));
        }
        took(patient(|| self.zmq.send(frame, zmq::DONTWAIT))).map(Some)
    }

    /// Receives a frame of a DEALER, if one waits; frames that follow it in the same message are discarded.
    pub(in crate::tensormq) fn try_receive_frame(
        &mut self,
    ) -> Result<Option<zmq::Message>, LinkError> {
        let Some(frame) = self.try_receive_part()? else {
            return Ok(None);
        };
        let mut more = frame.get_more();
        while more {
            more = self.next_part()?.get_more();
        }
        Ok(Some(frame))
    }

    /// Receives a whole message of a ROUTER, if one waits. Frames beyond what an envelope may have are discarded.
    pub(in crate::tensormq) fn try_receive(&mut self) -> Result<Option<Message>, LinkError> {
        let Some(identity) = self.try_receive_part()? else {
            return Ok(None);
        };
        let mut more = identity.get_more();
        let mut header = zmq::Message::new();
        if more {
            header = self.next_part()?;
            more = header.get_more();
        }
        let mut payloads = Ok(Vec::new());
        let mut index = 0;
        while more {
            let frame = self.next_part()?;
            more = frame.get_more();
            payloads = payloads.and_then(|payloads| self.add(payloads, index, frame));
            index += 1;
        }
        Ok(Some(Message {
            identity,
            header,
            payloads,
        }))
    }

    fn add(
        &self,
        mut payloads: Vec<Payload>,
        index: usize,
        frame: zmq::Message,
    ) -> Result<Vec<Payload>, LinkError> {
        if index >= TENSORS_MAX {
            return Err(LinkError::Tensors {
                seen: index + 1,
                max: TENSORS_MAX,
            });
        }
        // SAFETY: the form is that of handles on an inproc socket only.
        payloads.push(unsafe { frames::payload(index, frame, self.form) }?);
        Ok(payloads)
    }

    fn try_receive_part(&self) -> Result<Option<zmq::Message>, LinkError> {
        match patient(|| self.zmq.recv_msg(zmq::DONTWAIT)) {
            Ok(message) => Ok(Some(message)),
            Err(zmq::Error::EAGAIN) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Receives the next part of a message, which is there: libzmq hands out messages whole.
    fn next_part(&self) -> Result<zmq::Message, LinkError> {
        patient(|| self.zmq.recv_msg(zmq::DONTWAIT)).map_err(failed)
    }

    /// Returns the edges of the descriptors that libzmq signals on. Must be called within a tokio runtime.
    pub(in crate::tensormq) fn edges(&self) -> Result<Edges, LinkError> {
        let mut descriptors = vec![self.zmq.get_fd().map_err(failed)?];
        if let Some(monitor) = &self.monitor {
            descriptors.push(monitor.descriptor()?);
        }
        Edges::of(&descriptors)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.monitor.is_some() {
            // SAFETY: the socket is open, and no address ends the watch over it. Its I/O thread would else wait for a
            // receiver of changes that is gone.
            unsafe { zmq_sys::zmq_socket_monitor(self.zmq.as_mut_ptr(), null(), 0) };
        }
    }
}
