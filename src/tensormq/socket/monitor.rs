//! What becomes of the connections of a DEALER.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tensormq::LinkError;

use super::io::{failed, patient};

/// Changes that may wait to be looked at. There are two per attempt to connect, and at most 50 attempts a second.
const CHANGES_MAX: i32 = 1 << 16;

/// A change of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tensormq) enum Connection {
    /// The peer speaks ZMTP and lets this end in; messages can be sent.
    Made,
    Broken,
    /// The peer was reached, and then no connection came of it.
    Failed(String),
    /// The peer does not let this end in.
    Denied(String),
}

/// Receives the changes, which libzmq sends to an inproc socket.
pub(super) struct Monitor(zmq::Socket);

impl Monitor {
    pub(super) fn new(context: &zmq::Context, watched: &zmq::Socket) -> Result<Self, LinkError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("inproc://monitor-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let events = [
            zmq::SocketEvent::HANDSHAKE_SUCCEEDED,
            zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
            zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
            zmq::SocketEvent::HANDSHAKE_FAILED_AUTH,
            zmq::SocketEvent::DISCONNECTED,
        ];
        let events = events.map(|event| i32::from(event.to_raw()));
        let events = events.iter().fold(0, |all, event| all | event);
        watched.monitor(&name, events).map_err(failed)?;
        let socket = context.socket(zmq::PAIR).map_err(failed)?;
        socket.set_linger(0).map_err(failed)?;
        socket.set_rcvhwm(CHANGES_MAX).map_err(failed)?;
        socket.connect(&name).map_err(failed)?;
        Ok(Self(socket))
    }

    /// Returns the next change, if there is one.
    pub(super) fn next(&self) -> Result<Option<Connection>, LinkError> {
        loop {
            let event = match patient(|| self.0.recv_msg(zmq::DONTWAIT)) {
                Ok(event) => event,
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
            if event.get_more() {
                // The address, which is the only one this socket has.
                patient(|| self.0.recv_msg(zmq::DONTWAIT)).map_err(failed)?;
            }
            if let Some(change) = change(&event) {
                return Ok(Some(change));
            }
        }
    }

    pub(super) fn descriptor(&self) -> Result<RawFd, LinkError> {
        self.0.get_fd().map_err(failed)
    }
}

/// Reads an event: number `u16`, value `u32`, in the machine's own order.
fn change(frame: &[u8]) -> Option<Connection> {
    let (number, value) = frame.split_first_chunk()?;
    let value = u32::from_ne_bytes(value.try_into().ok()?);
    match zmq::SocketEvent::from_raw(u16::from_ne_bytes(*number)) {
        zmq::SocketEvent::HANDSHAKE_SUCCEEDED => Some(Connection::Made),
        zmq::SocketEvent::DISCONNECTED => Some(Connection::Broken),
        zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL => {
            let error = std::io::Error::from_raw_os_error(i32::try_from(value).ok()?);
            Some(Connection::Failed(format!("the peer left: {error}")))
        }
        zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL => {
            let cause = format!("the peer does not speak ZMTP ({value:#x})");
            Some(Connection::Failed(cause))
        }
        zmq::SocketEvent::HANDSHAKE_FAILED_AUTH => {
            let cause = format!(
                "it does not know the key of this host (status {value}): the configuration there has another one"
            );
            Some(Connection::Denied(cause))
        }
        _ => None,
    }
}
