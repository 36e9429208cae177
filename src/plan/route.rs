//! How a tensor travels between two placements: a total function, and its reason.
//!
//! It says what happens when it runs, and nothing that is only planned for. Processes of a host that compute on one CUDA device
//! share a pool of its memory, where the driver can; whether it can is no matter of placements, so who asks it has what it
//! cannot replaced by [`Route::without_pool`], which is what happens then. All other memory of devices is seen by its own process alone:
//! such a tensor leaves a process through memory of the host.

use std::fmt;

use crate::types::Device;

use super::Placement;

/// What carries an edge, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub carrier: Carrier,
    pub travels: Travels,
    /// What is copied between host and devices on the way.
    pub copies: Copies,
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
    /// A part of a pool of a device that both processes have mapped.
    Pool,
    /// The bytes themselves.
    Bytes,
}

/// Copies that devices ask for, beside those of the carrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    None,
    /// From the host to the consumer's device, by the consumer.
    ToDevice,
    /// From the producer's device to the host.
    ToHost,
    /// From a device to another of the same process, by the consumer.
    BetweenDevices,
    /// To the host by the producer, and to the consumer's device by the consumer.
    ThroughHost,
}

impl Route {
    pub fn between(producer: &Placement, consumer: &Placement) -> Self {
        let (carrier, travels) = if producer.host != consumer.host {
            (Carrier::Tcp, Travels::Bytes)
        } else if producer.process != consumer.process {
            match (producer.device, consumer.device) {
                (Device::Cuda(one), Device::Cuda(other)) if one == other => {
                    (Carrier::Ipc, Travels::Pool)
                }
                _ => (Carrier::Ipc, Travels::Slot),
            }
        } else {
            (Carrier::Inproc, Travels::Handle)
        };
        let copies = match travels {
            Travels::Pool => Copies::None,
            _ => Copies::between(carrier, producer.device, consumer.device),
        };
        let reason = match travels {
            Travels::Pool => {
                "same host, different processes, same device: a pool of it that both map"
            }
            _ => reason(carrier, copies),
        };
        Self {
            carrier,
            travels,
            copies,
            reason,
        }
    }

    /// Returns the way where the driver does not share memory of the device between processes.
    #[must_use]
    pub fn without_pool(self) -> Self {
        match self.travels {
            Travels::Pool => Self {
                travels: Travels::Slot,
                copies: Copies::ThroughHost,
                reason: "same host, different processes, same device, whose driver does not share its memory between processes: through shared memory of the host that it copies to and from by itself",
                ..self
            },
            _ => self,
        }
    }
}

impl Copies {
    fn between(carrier: Carrier, producer: Device, consumer: Device) -> Self {
        match (producer, consumer, carrier) {
            (Device::Cpu, Device::Cpu, _) => Self::None,
            (Device::Cpu, _, _) => Self::ToDevice,
            (_, Device::Cpu, _) => Self::ToHost,
            (one, other, Carrier::Inproc) if one == other => Self::None,
            (_, _, Carrier::Inproc) => Self::BetweenDevices,
            (_, _, Carrier::Ipc | Carrier::Tcp) => Self::ThroughHost,
        }
    }
}

fn reason(carrier: Carrier, copies: Copies) -> &'static str {
    match (carrier, copies) {
        (Carrier::Inproc, Copies::None) => "same process, same device",
        (Carrier::Inproc, Copies::ToDevice) => {
            "same process, different devices: the consumer copies it to its device"
        }
        (Carrier::Inproc, Copies::ToHost) => "same process, different devices: copied to the host",
        (Carrier::Inproc, Copies::BetweenDevices | Copies::ThroughHost) => {
            "same process, different devices: the consumer copies"
        }
        (Carrier::Ipc, Copies::None) => "same host, different processes",
        (Carrier::Ipc, Copies::ToDevice) => {
            "same host, different processes: the consumer copies it to its device"
        }
        (Carrier::Ipc, Copies::ToHost) => {
            "same host, different processes: the producer copies it to the host"
        }
        (Carrier::Ipc, Copies::BetweenDevices | Copies::ThroughHost) => {
            "same host, different processes, which share no memory of devices: copied to the host and to the device"
        }
        (Carrier::Tcp, Copies::None) => "different hosts",
        (Carrier::Tcp, Copies::ToDevice) => "different hosts: the consumer copies it to its device",
        (Carrier::Tcp, Copies::ToHost) => "different hosts: the producer copies it to the host",
        (Carrier::Tcp, Copies::BetweenDevices | Copies::ThroughHost) => {
            "different hosts: copied to the host and to the device"
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
            Self::Pool => "device-memory pool",
            Self::Bytes => "bytes",
        })
    }
}

impl fmt::Display for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ToDevice => "to device",
            Self::ToHost => "to host",
            Self::BetweenDevices => "between devices",
            Self::ThroughHost => "through host",
        })
    }
}
