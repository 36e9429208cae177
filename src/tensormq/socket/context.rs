//! The owner of all sockets of a process, and what each socket is set to.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::tensormq::shm::Ledgers;
use crate::tensormq::{Keyring, LinkError, Party};
use crate::types::Endpoint;

use super::io::{Socket, failed};
use super::monitor::Monitor;
use super::ring::Ring;
use super::{curve, zap};

/// Bytes of one frame at most, on carriers where frames come from another process.
pub(in crate::tensormq) const FRAME_BYTES_MAX: usize = 1 << 31;
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
    ledgers: Ledgers,
    guard: Option<Arc<Guard>>,
}

/// Keys of a context, and the thread that asks for those of others. Every socket keeps it.
pub(super) struct Guard {
    pub(super) ring: Arc<Ring>,
    /// What ends the thread.
    end: Mutex<zmq::Socket>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Ok(end) = self.end.get_mut() {
            // The queue is empty; there is nothing to do about any other error.
            let _ = end.send(&[][..], zmq::DONTWAIT);
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("party", &self.party)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Returns a context that has no keys: it makes links within this machine only.
    pub fn new(party: Party) -> Self {
        Self {
            zmq: zmq::Context::new(),
            party,
            guard: None,
            ledgers: Ledgers::default(),
        }
    }

    /// Returns a context whose links to other hosts are encrypted, and only between hosts of the keyring.
    pub fn secured(party: Party, keyring: Keyring) -> Result<Self, LinkError> {
        let socket = |error: std::io::Error| LinkError::Socket(error.to_string());
        if zmq::has("curve") != Some(true) {
            return Err(LinkError::NoCurve);
        }
        let zmq = zmq::Context::new();
        let ring = Arc::new(Ring::new(keyring).map_err(socket)?);
        // Before there is any socket that somebody could come in by.
        let end = Mutex::new(zap::start(&zmq, ring.clone())?);
        let guard = Some(Arc::new(Guard { ring, end }));
        Ok(Self {
            zmq,
            party,
            guard,
            ledgers: Ledgers::default(),
        })
    }

    /// Replaces the keys. What the new ones do not allow ends, and what they do begins, as soon as the owners of the sockets
    /// look at them, for which they are woken. Without effect on a context that has no keys.
    pub fn rekey(&self, keyring: Keyring) {
        if let Some(guard) = &self.guard {
            guard.ring.replace(keyring);
        }
    }

    /// Returns who the process is to its peers.
    pub fn party(&self) -> Party {
        self.party
    }

    /// Returns what is lent to this process.
    pub(in crate::tensormq) fn ledgers(&self) -> &Ledgers {
        &self.ledgers
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
        let guard = self.guard_of(endpoint)?;
        let socket = self.socket(zmq::ROUTER, endpoint, high_water_mark)?;
        socket.set_router_mandatory(true).map_err(failed)?;
        if let Some(guard) = &guard {
            curve::guard(&socket, &guard.ring.current().own).map_err(failed)?;
        }
        socket.bind(&endpoint.to_string()).map_err(wrong)?;
        Ok(Socket::new(socket, endpoint, None, guard))
    }

    /// Connects a DEALER. Where it leads out of this process, its connections are watched, and it takes messages only
    /// while there is one.
    pub(in crate::tensormq) fn connect(
        &self,
        endpoint: &Endpoint,
        high_water_mark: i32,
    ) -> Result<Socket, LinkError> {
        let guard = self.guard_of(endpoint)?;
        let socket = self.socket(zmq::DEALER, endpoint, high_water_mark)?;
        let inproc = matches!(endpoint, Endpoint::Inproc(_));
        socket.set_immediate(!inproc).map_err(failed)?;
        let monitor = if inproc {
            None
        } else {
            Some(Monitor::new(&self.zmq, &socket)?)
        };
        let mut socket = Socket::new(socket, endpoint, monitor, guard);
        socket.connect()?;
        Ok(socket)
    }

    /// Returns what keeps strangers off an endpoint, which one that is reached from elsewhere has to have.
    fn guard_of(&self, endpoint: &Endpoint) -> Result<Option<Arc<Guard>>, LinkError> {
        let Endpoint::Tcp { host, .. } = endpoint else {
            return Ok(None);
        };
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address: Result<IpAddr, _> = address.parse();
        if self.guard.is_none() && !address.is_ok_and(|address| address.is_loopback()) {
            return Err(LinkError::NoKeys {
                endpoint: endpoint.clone(),
            });
        }
        Ok(self.guard.clone())
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
            socket.set_maxmsgsize(i64::try_from(FRAME_BYTES_MAX).unwrap_or(i64::MAX))?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            socket.set_reconnect_ivl_max(RECONNECT_MS_MAX)?;
            socket.set_handshake_ivl(CONNECT_MS)?;
            if let Endpoint::Tcp { host, .. } = endpoint {
                socket.set_ipv6(host.starts_with('['))?;
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
