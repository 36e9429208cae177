//! The sockets of one block instance and where its results go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::board::BlockState;
use crate::actors::links::{
    Instances, Looked, Sends, SharedRooms, arena, endpoints, ported, time_left,
};
use crate::actors::supervisor::Reconnect;
use crate::engine::{EngineError, pool_opener, to_host, to_room};
use crate::plan::{Carrier, Delivery, Plan, Receiver, Site, Travels, Wiring};
use crate::tensormq::{
    self, Addressed, Body, Condition, Context, Discarded, Edges, Envelope, Inbound, LinkError,
    LostReceiver, Moved, Peer, Received, Window,
};
use crate::types::{
    Epoch, Failure, FailureKind, Heap, PipelineId, RequestId, Rooms, StepId, Tensor,
};

/// All sockets of a block instance.
#[derive(Debug)]
pub(super) struct Links {
    wiring: Arc<Wiring>,
    inbound: Inbound,
    outbound: BTreeMap<Receiver, Instances>,
    /// Where outputs lie that leave the process for another of its host.
    rooms: Option<SharedRooms>,
    /// Those that get handles, of memory of any kind.
    inproc: BTreeSet<Receiver>,
    /// Those that map the arena.
    shared: BTreeSet<Receiver>,
    /// Those that are to get what lies in a pool of their device.
    pooled: BTreeSet<Receiver>,
    /// Tensors that they did not get so.
    fallen_back: u64,
    /// Of the block.
    name: String,
    epoch: Epoch,
    block: usize,
    instance: usize,
    /// Under which it sends.
    identity: String,
    /// What a gateway in another process is to know, and the incarnation that was told.
    announced: Option<BlockState>,
    told: Option<u64>,
    /// Bytes that were copied to the host because they go where no device is.
    brought: u64,
    /// Why a device gave no more of its outputs, until somebody takes it.
    lost: Option<String>,
}

impl Links {
    pub(super) fn open(
        context: &Context,
        plan: &Plan,
        site: &Site,
        wiring: Arc<Wiring>,
        block: usize,
        instance: usize,
    ) -> Result<Self, LinkError> {
        let own = Receiver::Block(block);
        let name = &plan.blocks[block].spec.name;
        let identity = format!("{name}/{instance}");
        let window = Window(u32::try_from(wiring.windows[block]).unwrap_or(u32::MAX));
        let endpoints = endpoints(plan, site, &wiring, own, instance);
        let mut inbound = Inbound::bind(context, &endpoints, window)?;
        if let Some(opener) = pool_opener(plan.blocks[block].placement.device) {
            inbound = inbound.with_pools(opener);
        }
        let mut receivers = wiring.receivers_of(plan, block);
        receivers.insert(Receiver::Gateway);
        let arena = arena(plan, own, receivers.iter().copied());
        let encodings = Arc::new(wiring.encodings.clone());
        let rooms = arena.as_ref().map(|arena| {
            let leaves = wiring.outputs_to(plan, block, |to| plan.carrier(own, to) == Carrier::Ipc);
            SharedRooms::new(arena, leaves)
        });
        let by_handle = |to: &Receiver| plan.carrier(own, *to) == Carrier::Inproc;
        let inproc = receivers.iter().copied().filter(by_handle).collect();
        let by_slot = |to: &Receiver| plan.carrier(own, *to) == Carrier::Ipc;
        let shared = receivers.iter().copied().filter(by_slot).collect();
        let by_pool = |to: &Receiver| plan.route(own, *to).travels == Travels::Pool;
        let pooled = receivers.iter().copied().filter(by_pool).collect();
        let connect = |receiver| {
            let ends = [own, receiver];
            let sends = Sends {
                arena: arena.as_ref(),
                encodings: &encodings,
            };
            let instances = Instances::connect(context, plan, site, ends, &identity, sends)?;
            Ok((receiver, instances))
        };
        let outbound = receivers
            .into_iter()
            .map(connect)
            .collect::<Result<_, LinkError>>()?;
        Ok(Self {
            wiring,
            inbound,
            outbound,
            rooms,
            inproc,
            shared,
            pooled,
            fallen_back: 0,
            name: name.clone(),
            epoch: plan.epoch,
            block,
            instance,
            identity,
            announced: None,
            told: None,
            brought: 0,
            lost: None,
        })
    }

    /// Returns the edges of every socket, for the reactor to watch.
    pub(super) fn edges(&self) -> Result<Vec<Edges>, LinkError> {
        let outbound = self.outbound.values().flat_map(Instances::edges);
        std::iter::once(self.inbound.edges())
            .chain(outbound)
            .collect()
    }

    pub(super) fn try_receive(&mut self) -> Result<Option<Result<Received, Discarded>>, LinkError> {
        self.inbound.try_receive()
    }

    pub(super) fn release(&mut self, peer: Peer) -> Result<(), LinkError> {
        self.inbound.release(peer)
    }

    /// Takes arrived credits and sends what they allow; tells whether any arrived. The gateway hears of what may have been
    /// lost, and when it is another one, how this block is doing.
    pub(super) fn poll(&mut self) -> Result<bool, LinkError> {
        let mut progress = false;
        let mut losses = Vec::new();
        for (receiver, instances) in &mut self.outbound {
            let Looked {
                progress: some,
                lost,
            } = instances.poll()?;
            progress |= some;
            losses.extend(
                lost.into_iter()
                    .map(|(instance, lost)| (*receiver, instance, lost)),
            );
        }
        for (receiver, instance, lost) in losses {
            if receiver == Receiver::Gateway {
                // It may not have heard what it was told, and is told again, be it the same one.
                self.told = None;
            }
            let report = LostReceiver {
                block: receiver.index(),
                instance: small(instance),
                incarnation: lost.incarnation,
            };
            self.tell_lost(report, lost.at_risk)?;
        }
        self.announce_to_new()?;
        Ok(progress)
    }

    /// Returns what names this instance where it has itself lost something.
    pub(super) fn own(&self, incarnation: u64) -> LostReceiver {
        LostReceiver {
            block: small(self.block),
            instance: small(self.instance),
            incarnation,
        }
    }

    /// Tells the gateway of requests of which something may be lost.
    pub(super) fn tell_lost(
        &mut self,
        report: LostReceiver,
        requests: Vec<RequestId>,
    ) -> Result<(), LinkError> {
        let mut requests = requests.into_iter();
        requests.try_for_each(|request| self.tell(request, Body::Lost(report)))
    }

    /// Connects anew to a receiver of this process that has opened its sockets anew, and tells what it has not read. Returns the
    /// edges to watch from now on; `None` where nothing is sent there.
    pub(super) fn reconnect(
        &mut self,
        context: &Context,
        order: &Reconnect,
    ) -> Result<Option<Edges>, LinkError> {
        let Some(instances) = self.outbound.get_mut(&Receiver::Block(order.block)) else {
            return Ok(None);
        };
        let read = order.read.get(&self.identity).copied();
        let lost = instances.reopen(context, order.instance, read)?;
        let edges = instances.edges_of(order.instance)?;
        let report = LostReceiver {
            block: small(order.block),
            instance: small(order.instance),
            incarnation: context.party().incarnation,
        };
        self.tell_lost(report, lost)?;
        Ok(edges)
    }

    /// Returns how far the envelopes of each producer were read, by its name.
    pub(super) fn read(&self) -> HashMap<String, u64> {
        self.inbound.read()
    }

    /// Returns the requests that lose something when these links are dropped.
    pub(super) fn unsettled(&self) -> Vec<RequestId> {
        let instances = self.outbound.values().flat_map(Instances::unsettled);
        let all: BTreeSet<_> = instances.collect();
        all.into_iter().collect()
    }

    /// Returns what its links have sent, with what was copied for links either way.
    pub(super) fn moved(&self) -> Moved {
        let mut all = Moved {
            copied: self.inbound.moved().copied + self.brought,
            fallen_back: self.fallen_back,
            ..Moved::default()
        };
        for moved in self.outbound.values().flat_map(Instances::moved) {
            all += moved;
        }
        all
    }

    /// Has a gateway in another process know how this block is doing, also one that comes later.
    pub(super) fn announce(&mut self, state: BlockState) -> Result<(), LinkError> {
        self.announced = Some(state);
        self.told = None;
        self.announce_to_new()
    }

    fn announce_to_new(&mut self) -> Result<(), LinkError> {
        let gateway = self.outbound.get(&Receiver::Gateway);
        let peer = gateway.and_then(Instances::peer);
        if peer.is_none() || peer == self.told {
            return Ok(());
        }
        let (condition, cause) = match &self.announced {
            None | Some(BlockState::Starting | BlockState::Unreachable { .. }) => return Ok(()),
            Some(BlockState::Serving) => (Condition::Serving, ""),
            Some(BlockState::Restarting { cause } | BlockState::Stuck { cause }) => {
                (Condition::Restarting, cause.as_str())
            }
            Some(BlockState::GivenUp { cause }) => (Condition::GivenUp, cause.as_str()),
        };
        self.told = peer;
        let state = tensormq::BlockState {
            block: small(self.block),
            instance: small(self.instance),
            condition,
            cause: cause.to_owned(),
        };
        self.tell(RequestId(0), Body::State(state))
    }

    /// Sends the gateway something that is no result.
    fn tell(&mut self, request: RequestId, body: Body) -> Result<(), LinkError> {
        let address = Addressed {
            request,
            epoch: self.epoch,
            pipeline: PipelineId(0),
            step: StepId::GATEWAY,
            time_left: Duration::ZERO,
        };
        let gateway = self.outbound.get_mut(&Receiver::Gateway);
        gateway.map_or(Ok(()), |gateway| {
            gateway.send(Envelope { address, body }, false)
        })
    }

    /// Returns where outputs are to be put.
    pub(super) fn rooms(&self) -> &dyn Rooms {
        match &self.rooms {
            Some(rooms) => rooms,
            None => &Heap,
        }
    }

    /// Tells whether results of this request could be sent on at once: nothing waits for credit before them.
    pub(super) fn clear_for(&self, of: Addressed) -> bool {
        let blocked = |delivery: &Delivery| {
            let instances = self.outbound.get(&delivery.to);
            instances.is_some_and(|all| all.blocked(of.request, delivery.joined))
        };
        !deliveries(&self.wiring, of).iter().any(blocked)
    }

    pub(super) fn forget(&mut self, request: RequestId) {
        for instances in self.outbound.values_mut() {
            instances.forget(request);
        }
    }

    /// Sends the outputs of a finished step on all its edges; returns the number of envelopes. Waits for outputs of a device
    /// that go where it is not: where that fails the request is answered, and [`Links::take_lost`] tells whether the device is
    /// lost.
    pub(super) fn deliver(
        &mut self,
        done: Addressed,
        outputs: &[Tensor],
        deadline: Instant,
    ) -> Result<u64, LinkError> {
        let wiring = self.wiring.clone();
        let deliveries = deliveries(&wiring, done);
        for (sent, delivery) in deliveries.iter().enumerate() {
            let mut tensors = ported(delivery, outputs);
            let whose = (done.request, delivery.joined);
            if let Err(error) = self.bring(delivery.to, whose, &mut tensors) {
                let cause = error.to_string();
                let kind = match error.loses_device() {
                    true => FailureKind::Unavailable,
                    false => FailureKind::BlockFailed,
                };
                if error.loses_device() {
                    self.lost = Some(cause.clone());
                }
                // Whoever gets none of it hears of it from the gateway.
                self.fail(done, Failure::in_block(kind, &self.name, cause))?;
                return Ok(sent as u64);
            }
            let envelope = Envelope {
                address: Addressed {
                    step: delivery.step,
                    time_left: time_left(deadline, Instant::now()),
                    ..done
                },
                body: Body::Tensors(tensors),
            };
            if let Some(instances) = self.outbound.get_mut(&delivery.to) {
                instances.send(envelope, delivery.joined)?;
            }
        }
        Ok(deliveries.len() as u64)
    }

    /// Returns why the device of these outputs is lost, the first time it is asked for.
    pub(super) const fn take_lost(&mut self) -> Option<String> {
        self.lost.take()
    }

    /// Brings to the host what goes where no device is, and what its link can only carry from there.
    fn bring(
        &mut self,
        to: Receiver,
        (request, joined): (RequestId, bool),
        tensors: &mut [(u16, Tensor)],
    ) -> Result<(), EngineError> {
        let inproc = self.inproc.contains(&to);
        let pooled = self.pooled.contains(&to);
        let link = self.outbound.get(&to);
        let shows = |tensor: &Tensor| {
            pooled && link.is_some_and(|link| link.shows(request, joined, tensor))
        };
        for (_, tensor) in tensors {
            if (to == Receiver::Gateway || !(tensor.is_readable() || inproc || shows(tensor)))
                && let Some(host) = self.to_host(to, tensor)?
            {
                self.fallen_back += u64::from(pooled);
                self.brought += host.byte_count() as u64;
                *tensor = host;
            }
        }
        Ok(())
    }

    /// Returns a tensor in memory of the host, where a process that it goes to can read it, too.
    fn to_host(&self, to: Receiver, tensor: &Tensor) -> Result<Option<Tensor>, EngineError> {
        let shared = self.shared.contains(&to) && !tensor.is_readable();
        let rooms = self.rooms.as_ref().filter(|_| shared);
        match rooms.and_then(|rooms| rooms.any(tensor.byte_count())) {
            Some(room) => to_room(tensor, room),
            None => to_host(tensor),
        }
    }

    /// Answers a request with an error.
    pub(super) fn fail(&mut self, of: Addressed, failure: Failure) -> Result<(), LinkError> {
        let envelope = Envelope {
            address: Addressed {
                step: StepId::GATEWAY,
                time_left: Duration::ZERO,
                ..of
            },
            body: Body::Failure(failure),
        };
        let gateway = self.outbound.get_mut(&Receiver::Gateway);
        gateway.map_or(Ok(()), |gateway| gateway.send(envelope, false))
    }
}

/// Returns what follows when a step of a request is done.
fn deliveries(wiring: &Wiring, done: Addressed) -> &[Delivery] {
    let deliveries = wiring.finished.get(&(done.pipeline, done.step));
    deliveries.map(Vec::as_slice).unwrap_or_default()
}

/// Plans are refused when an index does not fit.
fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
