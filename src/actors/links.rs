//! What the gateway and blocks have in common: where they receive, and how they send to the instances of a block.

use std::time::{Duration, Instant};

use crate::plan::{Delivery, Plan};
use crate::tensormq::{Context, Edges, Envelope, LinkError, Outbound};
use crate::types::{Endpoint, Epoch, RequestId, Tensor};

/// Spreads consecutive request ids over instances (Fibonacci hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns where an instance of a block receives.
pub(super) fn block_endpoint(epoch: Epoch, block: &str, instance: usize) -> Endpoint {
    Endpoint::Inproc(format!("epoch-{epoch}/block/{block}/{instance}"))
}

/// Returns where the gateway receives.
pub(super) fn gateway_endpoint(epoch: Epoch) -> Endpoint {
    Endpoint::Inproc(format!("epoch-{epoch}/gateway"))
}

/// Links to every instance of one receiver.
#[derive(Debug)]
pub(super) struct Instances(Vec<Outbound>);

impl Instances {
    /// Connects to all instances of a block.
    pub(super) fn of_block(
        context: &Context,
        plan: &Plan,
        block: usize,
        identity: &str,
    ) -> Result<Self, LinkError> {
        let spec = &plan.blocks[block].spec;
        let connect = |instance| {
            let endpoint = block_endpoint(plan.epoch, &spec.name, instance);
            Outbound::connect(context, &endpoint, identity)
        };
        (0..spec.instances)
            .map(connect)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Connects to the gateway.
    pub(super) fn of_gateway(
        context: &Context,
        plan: &Plan,
        identity: &str,
    ) -> Result<Self, LinkError> {
        let link = Outbound::connect(context, &gateway_endpoint(plan.epoch), identity)?;
        Ok(Self(vec![link]))
    }

    /// Sends to one instance: for a joined step the one that all producers choose, else the one with most credit.
    pub(super) fn send(&mut self, envelope: Envelope, joined: bool) -> Result<(), LinkError> {
        match self.pick(envelope.address.request, joined) {
            Some(instance) => self.0[instance].send(envelope),
            None => Ok(()),
        }
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

    /// Takes arrived credits and sends what they allow; tells whether any arrived.
    pub(super) fn poll(&mut self) -> Result<bool, LinkError> {
        let mut arrived = false;
        for link in &mut self.0 {
            arrived |= link.poll()?.progress;
        }
        Ok(arrived)
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
