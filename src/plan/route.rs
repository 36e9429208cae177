//! How a tensor travels between two placements: a total function, and its reason.

use std::fmt;

use super::Placement;

/// What carries an edge, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub carrier: Carrier,
    pub travels: Travels,
    pub reason: &'static str,
}

/// ZeroMQ transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Carrier {
    Inproc,
    Ipc,
    Tcp,
}

/// Form in which the payload crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travels {
    /// A reference to shared memory of one process; no bytes move.
    Handle,
    /// A slot in shared memory of one host.
    Slot,
    /// The bytes themselves.
    Bytes,
}

impl Route {
    pub fn between(producer: &Placement, consumer: &Placement) -> Self {
        if producer.host != consumer.host {
            return Self {
                carrier: Carrier::Tcp,
                travels: Travels::Bytes,
                reason: "different hosts",
            };
        }
        if producer.process != consumer.process {
            return Self {
                carrier: Carrier::Ipc,
                travels: Travels::Slot,
                reason: "same host, different processes",
            };
        }
        let reason = if producer.device == consumer.device {
            "same process, same device"
        } else {
            "same process, different devices: the consumer copies"
        };
        Self {
            carrier: Carrier::Inproc,
            travels: Travels::Handle,
            reason,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inproc => "inproc",
            Self::Ipc => "ipc",
            Self::Tcp => "tcp",
        })
    }
}

impl fmt::Display for Travels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handle => "handle",
            Self::Slot => "shared-memory slot",
            Self::Bytes => "bytes",
        })
    }
}
