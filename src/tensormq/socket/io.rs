//! Sockets that never block.

#![expect(
    unsafe_code,
    reason = "the zmq crate cannot end the watch over a socket, nor tell what a frame is"
)]

use std::fmt;
use std::ptr::null;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::tensormq::{Form, KeyPair, LinkError, Payload};
use crate::types::{Endpoint, PublicKey, TENSORS_MAX, Tensor};

use super::context::Guard;
use super::curve;
use super::edges::Edges;
use super::frames;
use super::monitor::{Connection, Monitor};

/// How long a refused connection waits for another try.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long the I/O thread usually takes at most to free the port of a socket that is bound again.
const REBIND: Duration = Duration::from_millis(100);

/// One end of a link within this process.
pub(in crate::tensormq) struct Socket {
    zmq: zmq::Socket,
    monitor: Option<Monitor>,
    form: Form,
    endpoint: Endpoint,
    lock: Option<Lock>,
}

/// How a socket is encrypted.
struct Lock {
    guard: Arc<Guard>,
    /// Version of the keyring that is in use, and what is in use of it.
    version: u64,
    own: KeyPair,
    /// The key that a consumer is believed to have.
    server: Option<PublicKey>,
    /// When a connection that failed is tried again.
    again: Option<Instant>,
    /// Keys that were tried since there was a connection or a pause.
    tried: usize,
    /// Where the socket is to listen again as soon as the place is free.
    unbound: Option<Endpoint>,
}

/// What new keys did to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tensormq) enum Rekeyed {
    Same,
    /// Others are allowed now than before.
    Changed,
    /// So it is, and the connection that there was is gone.
    Reconnected,
}

/// What one message held: the sender's identity, the header, the payloads.
pub(in crate::tensormq) struct Message {
    pub identity: zmq::Message,
    pub header: zmq::Message,
    pub payloads: Result<Vec<Payload>, LinkError>,
}

impl Message {
    /// Returns the key that the sender has shown, on a socket where it had to.
    pub(in crate::tensormq) fn key(&mut self) -> Option<PublicKey> {
        self.header.gets("User-Id")?.parse().ok()
    }
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
    pub(super) fn new(
        zmq: zmq::Socket,
        endpoint: &Endpoint,
        monitor: Option<Monitor>,
        guard: Option<Arc<Guard>>,
    ) -> Self {
        let form = match endpoint {
            Endpoint::Inproc(_) => Form::Handle,
            Endpoint::Ipc(_) | Endpoint::Tcp { .. } => Form::Bytes,
        };
        let lock = guard.map(|guard| Lock {
            version: guard.ring.version(),
            own: guard.ring.current().own.clone(),
            server: None,
            again: None,
            tried: 0,
            unbound: None,
            guard,
        });
        Self {
            zmq,
            monitor,
            form,
            endpoint: endpoint.clone(),
            lock,
        }
    }

    /// Begins to connect; where that needs keys, with the first that the other side may have.
    pub(super) fn connect(&mut self) -> Result<(), LinkError> {
        let wrong = |error: zmq::Error| LinkError::Connect {
            endpoint: self.endpoint.clone(),
            cause: error.to_string(),
        };
        if let Some(lock) = &mut self.lock {
            let ring = lock.guard.ring.current();
            let keys = ring.keys_at(&self.endpoint);
            let kept = lock.server.filter(|server| keys.contains(server));
            let Some(server) = kept.or_else(|| keys.first().copied()) else {
                return Err(LinkError::UnknownHost {
                    endpoint: self.endpoint.clone(),
                });
            };
            lock.server = Some(server);
            lock.again = None;
            curve::trust(&self.zmq, &lock.own, &server).map_err(failed)?;
        }
        self.zmq.connect(&self.endpoint.to_string()).map_err(wrong)
    }

    fn reconnect(&mut self) -> Result<(), LinkError> {
        // After a refusal there is nothing to end any more.
        let _ = self.zmq.disconnect(&self.endpoint.to_string());
        self.connect()
    }

    /// Tells whether whoever sends on this socket has shown a key.
    pub(in crate::tensormq) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Tells whether some host of the configuration has this key.
    pub(in crate::tensormq) fn allows(&self, key: Option<&PublicKey>) -> bool {
        let Some(lock) = &self.lock else {
            return true;
        };
        let ring = lock.guard.ring.current();
        key.is_some_and(|key| ring.owner(key).is_some())
    }

    /// Has a connection that was denied be tried again soon, which libzmq does not do by itself.
    pub(in crate::tensormq) fn try_again(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.tried = 0;
            lock.again = Some(Instant::now() + TRY_AGAIN);
            lock.guard.ring.want_wake();
        }
    }

    /// Takes note that there is a connection.
    pub(in crate::tensormq) fn settle(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.again = None;
            lock.tried = 0;
        }
    }

    /// Tries a connection that failed again, with the next key that the other side may have: at once, or soon where it has failed
    /// with all of them.
    pub(in crate::tensormq) fn try_next_key(&mut self) -> Result<(), LinkError> {
        let Some(lock) = &mut self.lock else {
            return Ok(());
        };
        let ring = lock.guard.ring.current();
        let keys = ring.keys_at(&self.endpoint);
        let index = keys.iter().position(|key| Some(*key) == lock.server);
        let next = index.map_or(0, |index| (index + 1) % keys.len().max(1));
        lock.server = keys.get(next).copied();
        lock.tried += 1;
        if lock.tried < keys.len() {
            return self.reconnect();
        }
        self.try_again();
        Ok(())
    }

    /// Takes note of new keys: ends what they do not allow any more, and tries again what is due.
    pub(in crate::tensormq) fn rekey(&mut self) -> Result<Rekeyed, LinkError> {
        let Some(lock) = &mut self.lock else {
            return Ok(Rekeyed::Same);
        };
        let version = lock.guard.ring.version();
        if version == lock.version {
            let due = match lock.again {
                Some(at) if at <= Instant::now() => true,
                Some(_) => {
                    lock.guard.ring.want_wake();
                    false
                }
                None => false,
            };
            if due && lock.unbound.is_some() {
                self.listen_again(Duration::ZERO)?;
            } else if due {
                self.reconnect()?;
                return Ok(Rekeyed::Reconnected);
            }
            return Ok(Rekeyed::Same);
        }
        let ring = lock.guard.ring.current();
        lock.version = version;
        let another = std::mem::replace(&mut lock.own, ring.own.clone()) != ring.own;
        if self.monitor.is_none() {
            if another {
                self.bind_again()?;
            } else if lock.again.is_some() {
                lock.guard.ring.want_wake();
            }
            return Ok(Rekeyed::Changed);
        }
        let keys = ring.keys_at(&self.endpoint);
        let trusted = lock.server.is_some_and(|server| keys.contains(&server));
        if another || !trusted || lock.again.is_some() {
            self.reconnect()?;
            return Ok(Rekeyed::Reconnected);
        }
        Ok(Rekeyed::Changed)
    }

    /// Listens at the same place with another key. libzmq ends the connections that were made there; they are made again.
    fn bind_again(&mut self) -> Result<(), LinkError> {
        let endpoint = self.endpoint()?;
        let Some(lock) = &mut self.lock else {
            return Ok(());
        };
        curve::guard(&self.zmq, &lock.own).map_err(failed)?;
        if lock.unbound.is_none() {
            self.zmq.unbind(&endpoint.to_string()).map_err(failed)?;
            lock.unbound = Some(endpoint);
        }
        self.listen_again(REBIND)
    }

    /// Listens where it did. The port is free as soon as the I/O thread has closed the old listener, if nobody else takes it
    /// meanwhile: then this is tried again now and then.
    fn listen_again(&mut self, patience: Duration) -> Result<(), LinkError> {
        let Some(lock) = &mut self.lock else {
            return Ok(());
        };
        let Some(endpoint) = lock.unbound.take() else {
            return Ok(());
        };
        lock.again = None;
        let deadline = Instant::now() + patience;
        loop {
            match self.zmq.bind(&endpoint.to_string()) {
                Err(zmq::Error::EADDRINUSE) if Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                Err(zmq::Error::EADDRINUSE) => {
                    warn!(
                        "{endpoint} is not free again yet since keys changed; other hosts wait until it is"
                    );
                    lock.unbound = Some(endpoint);
                    self.try_again();
                    return Ok(());
                }
                bound => {
                    return bound.map_err(|error| LinkError::Bind {
                        endpoint,
                        cause: error.to_string(),
                    });
                }
            }
        }
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
        tensors: Vec<Tensor>,
    ) -> Result<bool, LinkError> {
        let flags = |last: bool| zmq::DONTWAIT | if last { 0 } else { zmq::SNDMORE };
        if !took(patient(|| self.zmq.send(header, flags(tensors.is_empty()))))? {
            return Ok(false);
        }
        let mut whole = true;
        let count = tensors.len();
        for (index, tensor) in tensors.into_iter().enumerate() {
            // When the peer goes away in the middle, libzmq takes the message back and swallows the rest of it.
            let flags = flags(index + 1 == count);
            whole &= took(frames::send(&mut self.zmq, tensor, self.form, flags))?;
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
        if let Some(lock) = &self.lock {
            descriptors.push(lock.guard.ring.bell());
        }
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
