//! The consumer's end of its links: one ROUTER that all producers connect to.

use std::collections::HashMap;

use crate::types::Endpoint;

use super::envelope::{Body, decode};
use super::socket::{Context, Edges, Socket};
use super::{Envelope, Grant, LinkError, Window};

/// Control messages that may wait beside a full window.
const CONTROL_MESSAGES_MAX: u32 = 1 << 14;

/// Grants in which a window is handed back.
const GRANTS_PER_WINDOW: u32 = 16;

/// Index of a producer at one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(usize);

/// An envelope and who sent it. A tensor envelope holds one credit of that producer until
/// [`Inbound::release`].
#[derive(Debug)]
pub struct Received {
    pub envelope: Envelope,
    pub peer: Peer,
    /// Envelopes of this producer that were lost just before this one; always 0 on inproc.
    pub lost: u64,
}

#[derive(Debug)]
struct Producer {
    identity: Vec<u8>,
    expected: u64,
    /// Credits to hand back with the next grant.
    owed: u32,
}

/// Receives envelopes and grants credits.
#[derive(Debug)]
pub struct Inbound {
    socket: Socket,
    window: Window,
    producers: Vec<Producer>,
    by_identity: HashMap<Vec<u8>, usize>,
}

impl Inbound {
    pub fn bind(context: &Context, endpoint: &Endpoint, window: Window) -> Result<Self, LinkError> {
        let high_water_mark = window.0.saturating_add(CONTROL_MESSAGES_MAX);
        let socket = context.bind(endpoint, i32::try_from(high_water_mark).unwrap_or(i32::MAX))?;
        Ok(Self {
            socket,
            window,
            producers: Vec::new(),
            by_identity: HashMap::new(),
        })
    }

    /// Takes the next envelope, if one waits. Greetings are answered here. The inner error is a message that could not
    /// be read and was discarded; the link goes on.
    pub fn try_receive(&mut self) -> Result<Option<Result<Received, LinkError>>, LinkError> {
        loop {
            let message = match self.socket.try_receive()? {
                None => return Ok(None),
                Some(Err(error)) => return Ok(Some(Err(error))),
                Some(Ok(message)) => message,
            };
            let (envelope, sequence) = match decode(&message.header, message.tensors) {
                Ok(decoded) => decoded,
                Err(error) => return Ok(Some(Err(error))),
            };
            let peer = self.peer(message.identity);
            if matches!(envelope.body, Body::Hello) {
                let producer = &mut self.producers[peer.0];
                producer.expected = sequence.wrapping_add(1);
                producer.owed = self.window.0;
                self.grant(peer)?;
                continue;
            }
            let producer = &mut self.producers[peer.0];
            let expected = producer.expected;
            producer.expected = sequence.wrapping_add(1);
            return Ok(Some(Ok(Received {
                envelope,
                peer,
                lost: sequence.wrapping_sub(expected),
            })));
        }
    }

    /// Gives a producer back the credit of one envelope that left this consumer's queue.
    pub fn release(&mut self, peer: Peer) -> Result<(), LinkError> {
        self.producers[peer.0].owed += 1;
        // Few grants wake the producer less often; small ones keep its picture of this consumer true.
        if self.producers[peer.0].owed >= self.window.0.div_ceil(GRANTS_PER_WINDOW) {
            self.grant(peer)
        } else {
            Ok(())
        }
    }

    /// Returns the edges to wait for: drain the link, then wait for the next. Must be called within a tokio runtime.
    pub fn edges(&self) -> Result<Edges, LinkError> {
        self.socket.edges()
    }

    fn grant(&mut self, peer: Peer) -> Result<(), LinkError> {
        let producer = &mut self.producers[peer.0];
        if self
            .socket
            .send_to(&producer.identity, &Grant(producer.owed).encode())?
        {
            producer.owed = 0;
        }
        Ok(())
    }

    fn peer(&mut self, identity: Vec<u8>) -> Peer {
        if let Some(&index) = self.by_identity.get(&identity) {
            return Peer(index);
        }
        let index = self.producers.len();
        self.producers.push(Producer {
            identity: identity.clone(),
            expected: 0,
            owed: 0,
        });
        self.by_identity.insert(identity, index);
        Peer(index)
    }
}
