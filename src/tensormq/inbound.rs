//! The consumer's end of its links: a ROUTER per carrier that all producers connect to.

use std::collections::HashMap;
use std::sync::Arc;

use tracing::warn;

use crate::types::{Endpoint, PoolCard, PoolOpener};

use super::credit::RETURNS_MAX;
use super::door::{Connection, Door, Producer};
use super::envelope::decode_header;
use super::frame::{self, HELLO};
use super::greeting::{Hello, Refusal, Welcome};
use super::received::{Discarded, Peer, Received};
use super::shm::{Announcement, Bell, Ledger, Origin};
use super::socket::{Context, Edges, Message, Rekeyed};
use super::{Grant, LinkError, Moved, Party, Window};

/// Grants in which a window is handed back at most, by a consumer that has nothing else to do.
const GRANTS_PER_WINDOW: u32 = 16;
/// The part of a window, as its divisor, that even a consumer that never rests owes at most.
const OWED_MAX: u32 = 2;
/// Control messages that may wait beside a full window.
const CONTROL_MESSAGES_MAX: u32 = 1 << 14;
/// Told to a producer that shows no key of the configuration.
const NO_KEY: &str = "no host of the configuration here has its key";
/// Producers of one consumer.
pub const PEERS_MAX: usize = 1024;

/// Receives envelopes and grants credits.
#[derive(Debug)]
pub struct Inbound {
    context: Context,
    party: Party,
    window: Window,
    doors: Vec<Door>,
    /// The door that is looked at first.
    turn: usize,
    producers: Vec<Producer>,
    by_name: HashMap<String, usize>,
    moved: Moved,
    /// Maps pools, where tensors are wanted on a device.
    pools: Option<Arc<dyn PoolOpener>>,
    discarded: u64,
    /// Rung by tensors that are let go.
    bell: Arc<Bell>,
    /// A producer could not be told of some.
    unreturned: bool,
    /// Credits are owed that may be granted when nothing more has come.
    owing: bool,
}

impl Inbound {
    /// Binds a socket per endpoint. On inproc tensors come as handles, on ipc in slots or as bytes, on tcp as
    /// bytes, which are decoded where they are encoded.
    pub fn bind(
        context: &Context,
        endpoints: &[Endpoint],
        window: Window,
    ) -> Result<Self, LinkError> {
        let high_water_mark = window.0.saturating_add(CONTROL_MESSAGES_MAX);
        let high_water_mark = i32::try_from(high_water_mark).unwrap_or(i32::MAX);
        let open = |endpoint| {
            Ok(Door {
                socket: context.bind(endpoint, high_water_mark)?,
                on_host: matches!(endpoint, Endpoint::Ipc(_)).then(|| endpoint.to_string()),
                by_identity: HashMap::new(),
            })
        };
        let bell = Bell::new().map_err(|error| LinkError::Socket(error.to_string()))?;
        Ok(Self {
            context: context.clone(),
            party: context.party(),
            window,
            doors: endpoints
                .iter()
                .map(open)
                .collect::<Result<_, LinkError>>()?,
            turn: 0,
            producers: Vec::new(),
            by_name: HashMap::new(),
            moved: Moved::default(),
            pools: None,
            discarded: 0,
            bell: Arc::new(bell),
            unreturned: false,
            owing: false,
        })
    }

    /// Has tensors of a device be taken out of pools that producers of this host show, where they can be mapped.
    #[must_use]
    pub fn with_pools(mut self, opener: Arc<dyn PoolOpener>) -> Self {
        self.pools = Some(opener);
        self
    }

    /// Returns where the sockets listen, in the order in which they were asked for; a port of 0 has become a real one.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, LinkError> {
        self.doors
            .iter()
            .map(|door| door.socket.endpoint())
            .collect()
    }

    /// Takes the next envelope, if one waits. Greetings are answered here, and slots that were let go are given back. The
    /// inner error is a message that was discarded; the link goes on.
    pub fn try_receive(&mut self) -> Result<Option<Result<Received, Discarded>>, LinkError> {
        self.give_back()?;
        let mut empty = 0;
        loop {
            // A send may take note of what has just come, for which there is no edge then: all doors are asked again.
            if empty == self.doors.len() && self.grant_owed()? {
                empty = 0;
            }
            if empty == self.doors.len() {
                return Ok(None);
            }
            let door = self.turn;
            if self.doors[door].socket.rekey()? != Rekeyed::Same {
                self.expel(door)?;
            }
            let Some(mut message) = self.doors[door].socket.try_receive()? else {
                self.turn = (door + 1) % self.doors.len();
                empty += 1;
                continue;
            };
            empty = 0;
            let taken = if frame::kind(&message.header).is_ok_and(|kind| kind == HELLO) {
                self.greet(door, &mut message)?.map(|()| None)
            } else {
                self.take(door, message)?.map(Some)
            };
            match taken {
                Ok(None) => {}
                Ok(Some(received)) => return Ok(Some(Ok(received))),
                Err(discarded) => {
                    self.discarded += 1;
                    return Ok(Some(Err(discarded)));
                }
            }
        }
    }

    /// Returns the edges to wait for: drain the link, then wait for the next. Must be called within a tokio runtime.
    pub fn edges(&self) -> Result<Edges, LinkError> {
        let doors = self.doors.iter().map(|door| door.socket.edges());
        let edges = doors.chain([Edges::of(&[self.bell.descriptor()])]);
        edges.collect::<Result<Vec<_>, _>>().map(Edges::join)
    }

    /// Returns how far the envelopes of each producer were read, by its name: the sequence number that comes next.
    pub fn read(&self) -> HashMap<String, u64> {
        let producers = self.producers.iter();
        producers
            .map(|producer| (producer.name.clone(), producer.expected))
            .collect()
    }

    /// Returns the payloads that were received other than as handles.
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// Returns how many messages were not believed.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    fn take(
        &mut self,
        door: usize,
        message: Message,
    ) -> Result<Result<Received, Discarded>, LinkError> {
        let Some(&index) = self.doors[door].by_identity.get(&*message.identity) else {
            return self.turn_away(door, &message).map(Err);
        };
        let header = match decode_header(&message.header) {
            Ok(header) => header,
            Err(error) => return Ok(Err(Discarded { error, of: None })),
        };
        let (address, sequence, credited) = (header.address, header.sequence, header.is_credited());
        let producer = &mut self.producers[index];
        let lost = sequence.wrapping_sub(producer.expected);
        producer.expected = sequence.wrapping_add(1);
        let over = credited && producer.held >= self.window.0;
        if credited && !over {
            producer.held += 1;
        }
        let (moved, ledger) = (&mut self.moved, producer.ledger.clone());
        let payloads = message.payloads;
        let claimed = payloads.and_then(|all| header.claim(all, ledger.as_ref(), moved));
        let peer = Peer(index);
        if over {
            let window = self.window.0;
            let (error, of) = (LinkError::Overrun { window }, Some(address));
            return Ok(Err(Discarded { error, of }));
        }
        match claimed {
            Ok(envelope) => Ok(Ok(Received {
                envelope,
                peer,
                lost,
            })),
            Err(error) => {
                if credited {
                    self.release(peer)?;
                }
                let of = Some(address);
                Ok(Err(Discarded { error, of }))
            }
        }
    }

    /// Says what is wrong with a message of somebody who has not been let in. A peer of another version is told; nobody
    /// else is, as only a stranger, or a connection that is gone already, sends such a message.
    fn turn_away(&mut self, door: usize, message: &Message) -> Result<Discarded, LinkError> {
        let error = match frame::kind(&message.header) {
            Ok(_) => LinkError::NotGreeted,
            Err(error) => error,
        };
        if let LinkError::Version { .. } = error {
            self.refuse(door, &message.identity, 0, error.to_string())?;
        }
        Ok(Discarded { error, of: None })
    }

    fn greet(
        &mut self,
        door: usize,
        message: &mut Message,
    ) -> Result<Result<(), Discarded>, LinkError> {
        let mut hello = match Hello::decode(&message.header) {
            Ok(hello) => hello,
            Err(error) => return Ok(Err(Discarded { error, of: None })),
        };
        let (number, arena, pool) = (hello.connection, hello.arena, hello.pool.take());
        let at = Connection {
            socket: door,
            identity: message.identity.to_vec(),
            number,
            key: self.doors[door]
                .socket
                .is_locked()
                .then(|| message.key())
                .flatten(),
        };
        match self.admit(hello, at)? {
            Ok(index) => {
                self.producers[index].ledger = self.ledger(index, arena, pool);
                self.welcome(index).map(Ok)
            }
            Err((name, reason)) => {
                self.refuse(door, &message.identity, number, reason.clone())?;
                let error = LinkError::Refused { name, reason };
                Ok(Err(Discarded { error, of: None }))
            }
        }
    }

    /// Returns the index of the producer that said hello, or its name and why it is not let in.
    fn admit(
        &mut self,
        hello: Hello,
        at: Connection,
    ) -> Result<Result<usize, (String, String)>, LinkError> {
        let Hello { party, name, .. } = hello;
        // The connection may have been let in before its key was struck off.
        if !self.doors[at.socket].socket.allows(at.key.as_ref()) {
            return Ok(Err((name, NO_KEY.to_owned())));
        }
        if party.digest != self.party.digest {
            let reason = format!(
                "its configuration has the digest {}, this one {}: run the same configuration and release on both sides",
                party.digest, self.party.digest
            );
            return Ok(Err((name, reason)));
        }
        let known = &mut self.doors[at.socket].by_identity;
        if let Some(&index) = known.get(&at.identity)
            && self.producers[index].name != name
        {
            let reason = format!("it called itself {:?} before", self.producers[index].name);
            return Ok(Err((name, reason)));
        }
        if let Some(&index) = self.by_name.get(&name) {
            let earlier = std::mem::replace(&mut self.producers[index].at, at.clone());
            if (earlier.socket, &earlier.identity) != (at.socket, &at.identity) {
                self.doors[earlier.socket]
                    .by_identity
                    .remove(&earlier.identity);
                let reason = format!("another producer calls itself {name:?} now");
                self.refuse(earlier.socket, &earlier.identity, earlier.number, reason)?;
            }
            self.doors[at.socket].by_identity.insert(at.identity, index);
            return Ok(Ok(index));
        }
        let Some(index) = self.room()? else {
            let reason = format!("{PEERS_MAX} producers are connected already");
            return Ok(Err((name, reason)));
        };
        self.doors[at.socket]
            .by_identity
            .insert(at.identity.clone(), index);
        self.by_name.insert(name.clone(), index);
        let producer = Producer {
            name,
            at,
            expected: 0,
            held: 0,
            owed: 0,
            ledger: None,
        };
        if index == self.producers.len() {
            self.producers.push(producer);
        } else {
            self.producers[index] = producer;
        }
        Ok(Ok(index))
    }

    /// Returns the index for one more producer: a new one, or that of a producer that is gone and has nothing here.
    fn room(&mut self) -> Result<Option<usize>, LinkError> {
        if self.producers.len() < PEERS_MAX {
            return Ok(Some(self.producers.len()));
        }
        for (index, producer) in self.producers.iter().enumerate() {
            if producer.held > 0 {
                continue;
            }
            let at = &producer.at;
            let nothing = Grant {
                connection: at.number,
                credits: 0,
                returned: Vec::new(),
            };
            let door = &mut self.doors[at.socket];
            if door
                .socket
                .send_to(&at.identity, &nothing.encode())?
                .is_none()
            {
                door.by_identity.remove(&at.identity);
                self.by_name.remove(&producer.name);
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Turns away the producers whose keys are not allowed any more.
    fn expel(&mut self, door: usize) -> Result<(), LinkError> {
        for index in 0..self.producers.len() {
            let at = self.producers[index].at.clone();
            let Door {
                socket,
                by_identity,
                ..
            } = &mut self.doors[door];
            if at.socket == door
                && !socket.allows(at.key.as_ref())
                && by_identity.remove(&at.identity).is_some()
            {
                self.refuse(door, &at.identity, at.number, NO_KEY.to_owned())?;
            }
        }
        Ok(())
    }

    /// Returns what a producer that was let in lends from now on.
    fn ledger(
        &self,
        index: usize,
        arena: Option<Announcement>,
        pool: Option<PoolCard>,
    ) -> Option<Arc<Ledger>> {
        let producer = &self.producers[index];
        let origin = Origin {
            endpoint: self.doors[producer.at.socket].on_host.clone()?,
            producer: producer.name.clone(),
            arena: arena?,
        };
        let (all, opener) = (self.context.ledgers(), self.pools.as_ref());
        let ledger = all.open(origin, pool, opener, &self.bell);
        ledger
            .inspect_err(|error| {
                let producer = &producer.name;
                warn!(producer, %error, "no shared memory, payloads come as bytes");
            })
            .ok()
    }

    fn welcome(&mut self, index: usize) -> Result<(), LinkError> {
        let producer = &mut self.producers[index];
        producer.expected = 1;
        producer.owed = 0;
        let welcome = Welcome {
            incarnation: self.party.incarnation,
            connection: producer.at.number,
            window: self.window.0,
            credits: self.window.0.saturating_sub(producer.held),
            held: producer.ledger.as_ref().map(|ledger| ledger.restate()),
            pool: producer.has_pool(),
        };
        let at = &producer.at;
        let socket = &mut self.doors[at.socket].socket;
        // If the peer is gone it says hello again; if its queue is full, it reads no answers.
        socket.send_to(&at.identity, &welcome.encode()).map(drop)
    }

    fn refuse(
        &mut self,
        socket: usize,
        identity: &[u8],
        connection: u32,
        reason: String,
    ) -> Result<(), LinkError> {
        let refusal = Refusal { connection, reason };
        let socket = &mut self.doors[socket].socket;
        socket.send_to(identity, &refusal.encode()).map(drop)
    }

    /// Gives a producer back the credit of one envelope that left this consumer's queue: with slots that it is told of, when
    /// [`Inbound::try_receive`] finds nothing more, or now if many are owed.
    pub fn release(&mut self, peer: Peer) -> Result<(), LinkError> {
        let Some(producer) = self.producers.get_mut(peer.0) else {
            return Ok(());
        };
        producer.held = producer.held.saturating_sub(1);
        producer.owed = (producer.owed + 1).min(self.window.0);
        self.owing = true;
        if producer.owed >= self.window.0.div_ceil(OWED_MAX) {
            self.grant(peer)?;
        }
        Ok(())
    }

    /// Grants what is owed; tells whether that was anything. Few grants wake producers less often; small ones keep their
    /// picture of this consumer true.
    fn grant_owed(&mut self) -> Result<bool, LinkError> {
        if !std::mem::take(&mut self.owing) {
            return Ok(false);
        }
        let least = self.window.0.div_ceil(GRANTS_PER_WINDOW);
        let owed = |peer: &usize| self.producers[*peer].owed >= least;
        let all: Vec<_> = (0..self.producers.len()).filter(owed).collect();
        let any = !all.is_empty();
        all.into_iter()
            .try_for_each(|peer| self.grant(Peer(peer)))?;
        Ok(any)
    }

    fn grant(&mut self, Peer(index): Peer) -> Result<(), LinkError> {
        let producer = &self.producers[index];
        let at = &producer.at;
        let grant = Grant {
            connection: at.number,
            credits: producer.owed,
            returned: Vec::new(),
        };
        let socket = &mut self.doors[at.socket].socket;
        if socket.send_to(&at.identity, &grant.encode())? == Some(true) {
            self.producers[index].owed = 0;
        }
        Ok(())
    }

    /// Tells producers of slots that were let go since the last time.
    fn give_back(&mut self) -> Result<(), LinkError> {
        if !self.bell.silence() && !self.unreturned {
            return Ok(());
        }
        self.unreturned = false;
        for producer in &mut self.producers {
            let Some(ledger) = &producer.ledger else {
                continue;
            };
            let (at, owed) = (&producer.at, &mut producer.owed);
            let socket = &mut self.doors[at.socket].socket;
            let all = ledger.give_back(RETURNS_MAX, |returned| {
                let grant = Grant {
                    connection: at.number,
                    credits: *owed,
                    returned,
                };
                let sent = socket.send_to(&at.identity, &grant.encode())? == Some(true);
                if sent {
                    *owed = 0;
                }
                Ok::<_, LinkError>(sent)
            })?;
            // A producer that is gone asks for what is held when it comes again.
            self.unreturned |= !all;
        }
        Ok(())
    }
}
