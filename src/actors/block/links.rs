//! The sockets of one block instance and where its results go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::{Delivery, Plan, Receiver, Wiring};
use crate::tensormq::{
    Addressed, Body, Context, Edges, Envelope, Inbound, LinkError, Outbound, Peer, Received, Window,
};
use crate::types::{Endpoint, Epoch, Failure, RequestId, StepId, Tensor};

/// Returns where an instance of a block receives.
pub(in crate::actors) fn block_endpoint(epoch: Epoch, block: &str, instance: usize) -> Endpoint {
    Endpoint::Inproc(format!("epoch-{epoch}/block/{block}/{instance}"))
}

/// Returns where the gateway receives.
pub(in crate::actors) fn gateway_endpoint(epoch: Epoch) -> Endpoint {
    Endpoint::Inproc(format!("epoch-{epoch}/gateway"))
}

/// Links to every instance of one receiver.
#[derive(Debug)]
pub(in crate::actors) struct Instances(pub(in crate::actors) Vec<Outbound>);

impl Instances {
    /// Connects to all instances of a block.
    pub(in crate::actors) fn of_block(
        context: &Context,
        plan: &Plan,
        block: usize,
        identity: &str,
    ) -> Result<Self, LinkError> {
        let spec = &plan.blocks[block].spec;
        let connect = |instance| {
            Outbound::connect(
                context,
                &block_endpoint(plan.epoch, &spec.name, instance),
                identity,
            )
        };
        (0..spec.instances)
            .map(connect)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Picks the instance for an envelope: the same one for all producers of a joined step, else the one with most
    /// credit.
    pub(in crate::actors) fn pick(
        &mut self,
        request: RequestId,
        joined: bool,
    ) -> Option<&mut Outbound> {
        if joined {
            let count = self.0.len().max(1) as u64;
            return self.0.get_mut((request.0 % count) as usize);
        }
        self.0
            .iter_mut()
            .rev()
            .max_by_key(|link| (link.credits(), usize::MAX - link.backlog()))
    }
}

/// All sockets of a block instance.
#[derive(Debug)]
pub(super) struct Links {
    wiring: Arc<Wiring>,
    inbound: Inbound,
    outbound: BTreeMap<Receiver, Instances>,
}

impl Links {
    pub(super) fn open(
        context: &Context,
        plan: &Plan,
        wiring: Arc<Wiring>,
        block: usize,
        instance: usize,
    ) -> Result<Self, LinkError> {
        let spec = &plan.blocks[block].spec;
        let identity = format!("{}/{instance}", spec.name);
        let window = Window(u32::try_from(wiring.windows[block]).unwrap_or(u32::MAX));
        let inbound = Inbound::bind(
            context,
            &block_endpoint(plan.epoch, &spec.name, instance),
            window,
        )?;
        let mut receivers = wiring.receivers_of(plan, block);
        receivers.insert(Receiver::Gateway);
        let connect = |receiver| {
            let instances = match receiver {
                Receiver::Block(to) => Instances::of_block(context, plan, to, &identity)?,
                Receiver::Gateway => Instances(vec![Outbound::connect(
                    context,
                    &gateway_endpoint(plan.epoch),
                    &identity,
                )?]),
            };
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
        })
    }

    /// Returns the edges of every socket, for the reactor to watch.
    pub(super) fn edges(&self) -> Result<Vec<Edges>, LinkError> {
        let outbound = self.outbound.values().flat_map(|instances| &instances.0);
        std::iter::once(self.inbound.edges())
            .chain(outbound.map(Outbound::edges))
            .collect()
    }

    pub(super) fn try_receive(&mut self) -> Result<Option<Result<Received, LinkError>>, LinkError> {
        self.inbound.try_receive()
    }

    pub(super) fn release(&mut self, peer: Peer) -> Result<(), LinkError> {
        self.inbound.release(peer)
    }

    /// Takes arrived credits and sends what they allow; tells whether any arrived.
    pub(super) fn poll(&mut self) -> Result<bool, LinkError> {
        let mut arrived = false;
        for link in self
            .outbound
            .values_mut()
            .flat_map(|instances| &mut instances.0)
        {
            arrived |= link.poll()?;
        }
        Ok(arrived)
    }

    /// Tells whether an earlier result still waits for credit.
    pub(super) fn blocked(&self) -> bool {
        self.outbound
            .values()
            .flat_map(|instances| &instances.0)
            .any(|link| link.backlog() > 0)
    }

    pub(super) fn forget(&mut self, request: RequestId) {
        for link in self
            .outbound
            .values_mut()
            .flat_map(|instances| &mut instances.0)
        {
            link.forget(request);
        }
    }

    /// Sends the outputs of a finished step on all its edges; returns the number of envelopes.
    pub(super) fn deliver(
        &mut self,
        done: Addressed,
        outputs: &[Tensor],
        time_left: Duration,
    ) -> Result<u64, LinkError> {
        let wiring = self.wiring.clone();
        let deliveries = wiring
            .finished
            .get(&(done.pipeline, done.step))
            .map(Vec::as_slice)
            .unwrap_or_default();
        for delivery in deliveries {
            let address = Addressed {
                step: delivery.step.unwrap_or(StepId::GATEWAY),
                time_left,
                ..done
            };
            let Some(link) = self
                .outbound
                .get_mut(&delivery.to)
                .and_then(|all| all.pick(done.request, delivery.joined))
            else {
                continue;
            };
            link.send(Envelope {
                address,
                body: Body::Tensors(ported(delivery, outputs)),
            })?;
        }
        Ok(deliveries.len() as u64)
    }

    /// Answers a request with an error.
    pub(super) fn fail(&mut self, of: Addressed, failure: Failure) -> Result<(), LinkError> {
        let address = Addressed {
            step: StepId::GATEWAY,
            time_left: Duration::ZERO,
            ..of
        };
        match self
            .outbound
            .get_mut(&Receiver::Gateway)
            .and_then(|all| all.pick(of.request, false))
        {
            Some(link) => link.send(Envelope {
                address,
                body: Body::Failure(failure),
            }),
            None => Ok(()),
        }
    }
}

/// Addresses a producer's tensors to the ports of one delivery.
pub(in crate::actors) fn ported(delivery: &Delivery, tensors: &[Tensor]) -> Vec<(u16, Tensor)> {
    let tensor =
        |&(from, port): &(usize, u16)| tensors.get(from).map(|tensor| (port, tensor.clone()));
    delivery.ports.iter().filter_map(tensor).collect()
}

/// Returns the time from `now` to `deadline`, zero if it has passed.
pub(in crate::actors) fn time_left(deadline: Instant, now: Instant) -> Duration {
    deadline.saturating_duration_since(now)
}
