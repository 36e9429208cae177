//! Who sends to whom over which carrier, and where each receiver listens.
//!
//! A receiver is the gateway or an instance of a block. Receivers are counted from 0 in the order of the configuration,
//! the gateway first, then the instances of each block. That count makes their addresses, so every process that has the
//! same plan finds the same ones:
//!
//! - inproc: the names of the block and the instance;
//! - ipc: `EPOCH-N.sock`, where N counts all receivers of the plan, for a socket's path has room for few bytes;
//! - tcp: the address of the host and its port + K, where K counts the receivers of that host alone, whether or not
//!   anything reaches them over tcp.
//!
//! Invariant: no two receivers, instances or carriers of a compiled plan have one address, whatever the directory.

use std::collections::BTreeSet;
use std::iter;
use std::net::IpAddr;
use std::path::Path;

use crate::types::{Endpoint, HostSpec};

use super::{Carrier, Placement, Plan, Receiver, Route, Wiring};

impl Plan {
    /// Returns the host of a name, which a placement of the plan has.
    fn host(&self, name: &str) -> &HostSpec {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.expect("placements name hosts of the plan")
    }

    /// Returns where a receiver lives.
    pub fn placement(&self, receiver: Receiver) -> &Placement {
        match receiver {
            Receiver::Block(block) => &self.blocks[block].placement,
            Receiver::Gateway => &self.gateway,
        }
    }

    /// Returns all receivers in the order in which they are counted, with the number of their instances.
    pub fn receivers(&self) -> impl Iterator<Item = (Receiver, usize)> {
        let blocks = (0..self.blocks.len()).map(Receiver::Block);
        let receivers = iter::once(Receiver::Gateway).chain(blocks);
        receivers.map(|receiver| (receiver, self.instances(receiver)))
    }

    /// Returns how many instances a receiver has; the gateway is one.
    pub fn instances(&self, receiver: Receiver) -> usize {
        match receiver {
            Receiver::Block(block) => self.blocks[block].spec.instances,
            Receiver::Gateway => 1,
        }
    }

    /// Counts the receivers of a host, which is the number of its ports.
    pub fn receivers_on(&self, host: &str) -> usize {
        let receivers = self.receivers();
        let there = receivers.filter(|(receiver, _)| self.placement(*receiver).host == host);
        there.map(|(_, instances)| instances).sum()
    }

    /// Returns what carries envelopes from any instance of `from` to any of `to`.
    pub fn carrier(&self, from: Receiver, to: Receiver) -> Carrier {
        self.route(from, to).carrier
    }

    /// Returns how tensors travel from any instance of `from` to any of `to`.
    pub fn route(&self, from: Receiver, to: Receiver) -> Route {
        Route::between(self.placement(from), self.placement(to))
    }

    /// Returns every carrier that an instance of a receiver has to listen on. The gateway sends to every block, every
    /// block to the gateway, and blocks send along edges.
    pub fn carriers_into(&self, wiring: &Wiring, receiver: Receiver) -> BTreeSet<Carrier> {
        let Receiver::Block(_) = receiver else {
            let blocks = (0..self.blocks.len()).map(Receiver::Block);
            return blocks.map(|from| self.carrier(from, receiver)).collect();
        };
        let producers = wiring.producers_of(self, receiver);
        let producers = producers.into_iter().chain([Receiver::Gateway]);
        producers.map(|from| self.carrier(from, receiver)).collect()
    }

    /// Returns where an instance of a receiver listens; the gateway is one instance. `directory` is for ipc: one that
    /// the processes of a host have in common. What is appended to it has 24 bytes at most.
    pub fn endpoint(
        &self,
        receiver: Receiver,
        instance: usize,
        carrier: Carrier,
        directory: &Path,
    ) -> Endpoint {
        let epoch = self.epoch;
        match carrier {
            Carrier::Inproc => Endpoint::Inproc(match receiver {
                Receiver::Gateway => format!("epoch-{epoch}/gateway"),
                Receiver::Block(block) => {
                    let name = &self.blocks[block].spec.name;
                    format!("epoch-{epoch}/block/{name}/{instance}")
                }
            }),
            Carrier::Ipc => {
                let count = self.count(receiver, instance, |_| true);
                Endpoint::Ipc(directory.join(format!("{epoch}-{count}.sock")))
            }
            Carrier::Tcp => {
                let name = &self.placement(receiver).host;
                let host = self.host(name);
                let count = self.count(receiver, instance, |other| other.host == *name);
                // A plan whose ports do not suffice is refused.
                let port = host
                    .port
                    .saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
                Endpoint::Tcp {
                    host: match host.address {
                        IpAddr::V4(address) => address.to_string(),
                        IpAddr::V6(address) => format!("[{address}]"),
                    },
                    port,
                }
            }
        }
    }

    /// Counts the receivers of some placements that come before an instance of one.
    fn count(&self, receiver: Receiver, instance: usize, of: impl Fn(&Placement) -> bool) -> usize {
        let before = self.receivers().take_while(|(other, _)| *other != receiver);
        let counted = before.filter(|(other, _)| of(self.placement(*other)));
        counted.map(|(_, instances)| instances).sum::<usize>() + instance
    }

    /// Returns the processes of a host: the one that the user starts, and one for each name that blocks there have.
    pub fn processes(&self, host: &str) -> BTreeSet<&str> {
        let placements = self.blocks.iter().map(|block| &block.placement);
        let named = placements.filter(|placement| placement.host == host);
        named
            .map(|placement| placement.process.as_str())
            .chain([Placement::MAIN])
            .collect()
    }
}
