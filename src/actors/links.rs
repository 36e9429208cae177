//! What the gateway and blocks have in common: where they receive, and how they send to the instances of a block.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::engine::{device_pool, pool_opener, workspace_bytes};
use crate::plan::{Carrier, Delivery, Plan, Receiver, Route, Site, Travels, Wiring};
use crate::tensormq::{
    ARENA_BYTES, Arena, Context, Edges, Envelope, INLINE_BYTES_MAX, LinkError, LinkState, LostPeer,
    Moved, Outbound,
};
use crate::types::{Encodings, Endpoint, RequestId, Room, Rooms, Tensor};

/// Spreads consecutive request ids over instances (Fibonacci hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns where an instance of a receiver is reached, on each carrier that leads to it.
pub(super) fn endpoints(
    plan: &Plan,
    site: &Site,
    wiring: &Wiring,
    receiver: Receiver,
    instance: usize,
) -> Vec<Endpoint> {
    let carriers = plan.carriers_into(wiring, receiver).into_iter();
    carriers
        .map(|carrier| plan.endpoint(receiver, instance, carrier, &site.directory))
        .collect()
}

/// Runs of a block whose tensors its pool has room for, as declared.
const POOL_RUNS: u64 = 4;
/// Bytes of a pool at least: memory of a device, which is there whether or not it is used.
const POOL_BYTES_MIN: u64 = 32 << 20;

/// Returns memory that a producer shares with the other processes of its host, if any of the receivers is in one. Where it
/// computes on a device that receivers compute on too, memory of that device is part of it.
pub(super) fn arena(
    plan: &Plan,
    from: Receiver,
    receivers: impl IntoIterator<Item = Receiver, IntoIter: Clone>,
) -> Option<Arena> {
    let receivers = receivers.into_iter();
    let mut carriers = receivers.clone().map(|to| plan.carrier(from, to));
    if !carriers.any(|carrier| carrier == Carrier::Ipc) {
        return None;
    }
    let arena = Arena::new(ARENA_BYTES, INLINE_BYTES_MAX);
    let arena = arena
        .inspect_err(|error| warn!(%error, "no shared memory, payloads are sent as bytes"))
        .ok()?;
    let Receiver::Block(block) = from else {
        return Some(arena);
    };
    let own = &plan.blocks[block];
    if let Some(opener) = pool_opener(own.placement.device)
        && let Err(error) = arena.pin(&*opener)
    {
        let block = &own.spec.name;
        info!(%block, %error, "the device copies to shared memory through a buffer");
    }
    let mut travels = receivers.map(|to| plan.route(from, to).travels);
    if !travels.any(|travels| travels == Travels::Pool) {
        return Some(arena);
    }
    let run = workspace_bytes(&own.signature, own.spec.batch.rows_max);
    let bytes = run.saturating_mul(POOL_RUNS);
    let bytes = bytes.clamp(POOL_BYTES_MIN, ARENA_BYTES as u64);
    let bytes = usize::try_from(bytes).unwrap_or(ARENA_BYTES);
    let (name, device) = (&own.spec.name, own.placement.device);
    // Its session, which is made later, does not do without.
    match device_pool(name, device, bytes, run) {
        Ok(pool) => Some(arena.with_pool(pool)),
        Err(error) => {
            warn!(block = %name, %error, "no shared memory of the device, tensors go through the host");
            Some(arena)
        }
    }
}

/// How a producer sends tensors out of its process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sends<'a> {
    /// Memory that it shares with other processes of its host, where it has some.
    pub arena: Option<&'a Arena>,
    /// Of edges to other hosts.
    pub encodings: &'a Arc<Encodings>,
}

/// Room in an arena for the outputs of a block that leave its process.
#[derive(Debug)]
pub(super) struct SharedRooms {
    arena: Arena,
    outputs: BTreeSet<usize>,
}

impl SharedRooms {
    pub(super) fn new(arena: &Arena, outputs: BTreeSet<usize>) -> Self {
        Self {
            arena: arena.clone(),
            outputs,
        }
    }
}

impl SharedRooms {
    /// Returns room for any tensor of so many bytes.
    pub(super) fn any(&self, bytes: usize) -> Option<Box<dyn Room>> {
        self.arena.room(bytes)
    }
}

impl Rooms for SharedRooms {
    fn takes(&self, output: usize) -> bool {
        self.outputs.contains(&output)
    }

    fn room(&self, _output: usize, bytes: usize) -> Option<Box<dyn Room>> {
        self.arena.room(bytes)
    }
}

/// Links to every instance of one receiver.
#[derive(Debug)]
pub(super) struct Instances(Vec<Outbound>);

/// What a look at links brought.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// There may be something to do now.
    pub progress: bool,
    /// Instances that were lost.
    pub lost: Vec<(usize, LostPeer)>,
}

impl Instances {
    /// Connects a producer, which calls itself `name`, to all instances of a receiver.
    pub(super) fn connect(
        context: &Context,
        plan: &Plan,
        site: &Site,
        [from, to]: [Receiver; 2],
        name: &str,
        sends: Sends<'_>,
    ) -> Result<Self, LinkError> {
        let Route {
            carrier, travels, ..
        } = plan.route(from, to);
        let by_pool = travels == Travels::Pool;
        let instances = match to {
            Receiver::Block(block) => plan.blocks[block].spec.instances,
            Receiver::Gateway => 1,
        };
        let connect = |instance| {
            let endpoint = plan.endpoint(to, instance, carrier, &site.directory);
            let mut link = Outbound::connect(context, &endpoint, name)?;
            link.set_encodings(sends.encodings);
            Ok(match sends.arena {
                Some(arena) if !by_pool => link.with_arena(&arena.without_pool()),
                Some(arena) => link.with_arena(arena),
                None => link,
            })
        };
        (0..instances)
            .map(connect)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Sends to one instance: for a joined step the one that all producers choose, else the one with most credit.
    pub(super) fn send(&mut self, envelope: Envelope, joined: bool) -> Result<(), LinkError> {
        match self.pick(envelope.address.request, joined) {
            Some(instance) => self.0[instance].send(envelope),
            None => Ok(()),
        }
    }

    /// Tells whether the instance that is sent to takes a tensor of a device as it is.
    pub(super) fn shows(&self, request: RequestId, joined: bool, tensor: &Tensor) -> bool {
        let chosen = self.pick(request, joined);
        chosen.is_some_and(|instance| self.0[instance].shows(tensor))
    }

    /// Sends to every instance.
    pub(super) fn send_to_all(&mut self, envelope: &Envelope) -> Result<(), LinkError> {
        self.0
            .iter_mut()
            .try_for_each(|link| link.send(envelope.clone()))
    }

    /// Tells whether an earlier envelope still waits for the credit of the instance that would be chosen.
    pub(super) fn blocked(&self, request: RequestId, joined: bool) -> bool {
        let chosen = self.pick(request, joined);
        chosen.is_some_and(|instance| self.0[instance].backlog() > 0)
    }

    fn pick(&self, request: RequestId, joined: bool) -> Option<usize> {
        if joined {
            let spread = request.0.wrapping_mul(SPREAD) >> 32;
            return spread
                .checked_rem(self.0.len() as u64)
                .map(|instance| instance as usize);
        }
        let links = self.0.iter().enumerate().rev();
        let best = links.max_by_key(|(_, link)| (link.credits(), usize::MAX - link.backlog()));
        best.map(|(instance, _)| instance)
    }

    /// Takes arrived credits and sends what they allow.
    pub(super) fn poll(&mut self) -> Result<Looked, LinkError> {
        let mut looked = Looked::default();
        for (instance, link) in self.0.iter_mut().enumerate() {
            let polled = link.poll()?;
            looked.progress |= polled.progress;
            looked.lost.extend(polled.lost.map(|lost| (instance, lost)));
        }
        Ok(looked)
    }

    /// Connects anew to an instance that has opened its sockets anew, in this process, after it had `read` so far; returns the
    /// requests of what it has not read.
    pub(super) fn reopen(
        &mut self,
        context: &Context,
        instance: usize,
        read: Option<u64>,
    ) -> Result<Vec<RequestId>, LinkError> {
        let link = self.0.get_mut(instance);
        link.map_or_else(
            || Ok(Vec::new()),
            |link| link.reopen(context, read.unwrap_or_default()),
        )
    }

    /// Returns the edges of the socket to one instance.
    pub(super) fn edges_of(&self, instance: usize) -> Result<Option<Edges>, LinkError> {
        self.0.get(instance).map(Outbound::edges).transpose()
    }

    /// Returns the requests that lose something when these links are dropped.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = RequestId> {
        self.0.iter().flat_map(Outbound::unsettled)
    }

    /// Returns the incarnation of the first instance while it is connected.
    pub(super) fn peer(&self) -> Option<u64> {
        self.0.first()?.peer()
    }

    /// Returns what each link has moved.
    pub(super) fn moved(&self) -> impl Iterator<Item = Moved> {
        self.0.iter().map(Outbound::moved)
    }

    /// Tells whether something of a request waits here and has not been sent.
    pub(super) fn hold(&self, request: RequestId) -> bool {
        self.0.iter().any(|link| link.holds(request))
    }

    /// Returns how the link to each instance is.
    pub(super) fn states(&self) -> impl Iterator<Item = &LinkState> {
        self.0.iter().map(Outbound::link_state)
    }

    /// Drops what waits of a request.
    pub(super) fn forget(&mut self, request: RequestId) {
        self.0.iter_mut().for_each(|link| link.forget(request));
    }

    /// Returns the edges of every socket, for the reactor to watch.
    pub(super) fn edges(&self) -> impl Iterator<Item = Result<Edges, LinkError>> {
        self.0.iter().map(Outbound::edges)
    }
}

/// Addresses a producer's tensors to the ports of one delivery.
pub(super) fn ported(delivery: &Delivery, tensors: &[Tensor]) -> Vec<(u16, Tensor)> {
    let tensor =
        |&(from, port): &(usize, u16)| tensors.get(from).map(|tensor| (port, tensor.clone()));
    delivery.ports.iter().filter_map(tensor).collect()
}

/// Returns the time from `now` to `deadline`, zero if it has passed.
pub(super) fn time_left(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}
