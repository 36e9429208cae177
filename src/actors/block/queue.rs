//! What waits at a block instance: inputs that lack a partner, and requests that lack a run.

use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::sched::{Batcher, Item, Joiner, Limits, Recent};
use crate::tensormq::{Addressed, Peer};
use crate::types::{DType, RequestId, Shape, StepId, Tensor};

use super::session::rows_of;

/// Requests that may share a run have equal keys: dtype and trailing shape of every input.
pub(super) type Key = Vec<(DType, Shape)>;

/// One use of the block by one request.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub address: Addressed,
    pub inputs: Vec<Tensor>,
    /// Whose credit to release when the job is done with, one way or the other.
    pub peer: Peer,
}

/// A job in the batcher.
pub(super) type Waiting = Item<Key, Job>;

/// The queue of one block instance.
#[derive(Debug)]
pub(super) struct Queue {
    joiner: Joiner<(RequestId, StepId), Tensor>,
    /// The longest deadline that there is; a peer may say what it likes.
    time_left_max: Duration,
    pub batcher: Batcher<Key, Job>,
    cancelled: Recent<RequestId>,
}

/// What became of tensors that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// The job is complete and waits; it holds the credit.
    Queued,
    /// Nothing of it waits for a run: the credit can go back.
    Released,
}

impl Queue {
    /// Makes the queue of an instance of the block with this index.
    pub(super) fn new(plan: &Plan, block: usize) -> Self {
        let planned = &plan.blocks[block];
        let limits = Limits {
            rows_max: planned.spec.batch.rows_max,
            wait: planned.spec.batch.wait,
        };
        let in_flight_max = plan.limits.in_flight_max;
        Self {
            joiner: Joiner::new(
                planned.signature.inputs.len(),
                in_flight_max.saturating_mul(plan.uses(block)),
            ),
            time_left_max: plan.deadline_max(),
            batcher: Batcher::new(limits),
            cancelled: Recent::new(in_flight_max.saturating_mul(2)),
        }
    }

    pub(super) fn accept(
        &mut self,
        address: Addressed,
        tensors: Vec<(u16, Tensor)>,
        peer: Peer,
        now: Instant,
    ) -> Accepted {
        if self.cancelled.contains(&address.request) {
            return Accepted::Released;
        }
        let step = (address.request, address.step);
        let deadline = now + address.time_left.min(self.time_left_max);
        let Some(inputs) = self.joiner.offer(step, tensors, deadline) else {
            return Accepted::Released;
        };
        let trailing = |tensor: &Tensor| {
            (
                tensor.dtype(),
                tensor.shape().get(1..).unwrap_or_default().to_vec(),
            )
        };
        self.batcher.push(Item {
            key: inputs.iter().map(trailing).collect(),
            rows: rows_of(&inputs),
            solo: false,
            arrived: now,
            deadline,
            content: Job {
                address,
                inputs,
                peer,
            },
        });
        Accepted::Queued
    }

    /// Puts a job back, to run next and alone.
    pub(super) fn retry_alone(&mut self, waiting: Waiting) {
        self.batcher.push_front(Item {
            solo: true,
            ..waiting
        });
    }

    /// The producers are there no longer, or know this consumer as another: none has a credit here.
    pub(super) fn disown(&mut self) {
        for job in self.batcher.contents_mut() {
            job.peer = Peer::GONE;
        }
    }

    /// Forgets a request wherever it waits; returns what held a credit.
    pub(super) fn cancel(&mut self, request: RequestId) -> Vec<Waiting> {
        self.cancelled.note(request);
        self.joiner.retain(|(open, _)| *open != request);
        self.batcher
            .remove(|item| item.content.address.request == request)
    }

    /// Forgets incomplete requests past their deadline; returns complete ones for an answer.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waiting> {
        self.joiner.expire(now);
        self.batcher.expire(now)
    }

    /// Returns when [`Queue::expire`] next has something to do.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let expiries = [self.joiner.next_expiry(), self.batcher.next_expiry()];
        expiries.into_iter().flatten().min()
    }
}
