//! The sockets of one block instance and where its results go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::links::{Instances, block_endpoint, ported};
use crate::plan::{Delivery, Plan, Receiver, Wiring};
use crate::tensormq::{
    Addressed, Body, Context, Discarded, Edges, Envelope, Inbound, LinkError, Peer, Received,
    Window,
};
use crate::types::{Failure, RequestId, StepId, Tensor};

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
        let name = &plan.blocks[block].spec.name;
        let identity = format!("{name}/{instance}");
        let window = Window(u32::try_from(wiring.windows[block]).unwrap_or(u32::MAX));
        let inbound = Inbound::bind(
            context,
            &[block_endpoint(plan.epoch, name, instance)],
            window,
        )?;
        let mut receivers = wiring.receivers_of(plan, block);
        receivers.insert(Receiver::Gateway);
        let connect = |receiver| {
            let instances = match receiver {
                Receiver::Block(to) => Instances::of_block(context, plan, to, &identity)?,
                Receiver::Gateway => Instances::of_gateway(context, plan, &identity)?,
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

    /// Takes arrived credits and sends what they allow; tells whether any arrived.
    pub(super) fn poll(&mut self) -> Result<bool, LinkError> {
        let mut arrived = false;
        for instances in self.outbound.values_mut() {
            arrived |= instances.poll()?;
        }
        Ok(arrived)
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

    /// Sends the outputs of a finished step on all its edges; returns the number of envelopes.
    pub(super) fn deliver(
        &mut self,
        done: Addressed,
        outputs: &[Tensor],
        time_left: Duration,
    ) -> Result<u64, LinkError> {
        let deliveries = deliveries(&self.wiring, done);
        for delivery in deliveries {
            let envelope = Envelope {
                address: Addressed {
                    step: delivery.step,
                    time_left,
                    ..done
                },
                body: Body::Tensors(ported(delivery, outputs)),
            };
            if let Some(instances) = self.outbound.get_mut(&delivery.to) {
                instances.send(envelope, delivery.joined)?;
            }
        }
        Ok(deliveries.len() as u64)
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
