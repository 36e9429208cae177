//! The owner of all sockets of a process, and what each socket is set to.

use std::fmt;

use crate::tensormq::{LinkError, Party};
use crate::types::Endpoint;

use super::io::{Socket, failed};
use super::monitor::Monitor;

/// Bytes of one frame at most, on carriers where frames come from another process.
const FRAME_BYTES_MAX: i64 = 1 << 31;
const RECONNECT_MS: i32 = 20;
const RECONNECT_MS_MAX: i32 = 1_000;
/// How long a connection may take to be made, and then to be agreed upon.
const CONNECT_MS: i32 = 3_000;
/// A peer on another host that is silent for so long is gone.
const SILENCE_MS: i32 = 3_000;
const HEARTBEAT_MS: i32 = 1_000;

/// Owner of all sockets of a process, and who that process is. Inproc names live in it.
#[derive(Clone)]
pub struct Context {
    zmq: zmq::Context,
    party: Party,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("party", &self.party)
            .finish_non_exhaustive()
    }
}

impl Context {
    pub fn new(party: Party) -> Self {
        Self {
            zmq: zmq::Context::new(),
            party,
        }
    }

    /// Returns who the process is to its peers.
    pub fn party(&self) -> Party {
        self.party
    }

    /// Binds a ROUTER that queues at most `high_water_mark` messages per peer.
    pub(in crate::tensormq) fn bind(
        &self,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let wrong = |error: zmq::Error| LinkError::Bind {
            endpoint: endpoint.clone(),
            cause: error.to_string(),
        };
        let socket = self.socket(zmq::ROUTER, endpoint, high_water_mark)?;
        socket.set_router_mandatory(true).map_err(failed)?;
        socket.bind(&endpoint.to_string()).map_err(wrong)?;
        Ok(Socket::new(socket, endpoint, None))
    }

    /// Connects a DEALER. Where it leads out of this process, its connections are watched, and it takes messages only
    /// while there is one.
    pub(in crate::tensormq) fn connect(
        &self,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let socket = self.socket(zmq::DEALER, endpoint, high_water_mark)?;
        let inproc = matches!(endpoint, Endpoint::Inproc(_));
        socket.set_immediate(!inproc).map_err(failed)?;
        let monitor = if inproc {
            None
        } else {
            Some(Monitor::new(&self.zmq, &socket)?)
        };
        let socket = Socket::new(socket, endpoint, monitor);
        socket.connect(endpoint)?;
        Ok(socket)
    }

    fn socket(
        &self,
        kind: zmq::SocketType,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<zmq::Socket, LinkError> {
        let socket = self.zmq.socket(kind).map_err(failed)?;
        let set = || {
            socket.set_linger(0)?;
            socket.set_sndhwm(high_water_mark)?;
            socket.set_rcvhwm(high_water_mark)?;
            socket.set_maxmsgsize(FRAME_BYTES_MAX)?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            socket.set_reconnect_ivl_max(RECONNECT_MS_MAX)?;
            socket.set_handshake_ivl(CONNECT_MS)?;
            if matches!(endpoint, Endpoint::Tcp { .. }) {
                socket.set_connect_timeout(CONNECT_MS)?;
                socket.set_tcp_keepalive(1)?;
                socket.set_heartbeat_ivl(HEARTBEAT_MS)?;
                socket.set_heartbeat_timeout(SILENCE_MS)?;
                socket.set_heartbeat_ttl(SILENCE_MS)?;
            }
            Ok(())
        };
        set().map_err(failed)?;
        Ok(socket)
    }
}
