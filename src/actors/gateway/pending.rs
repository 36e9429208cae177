//! The table of open requests.
//!
//! `REQ-1` lives here: a reply channel leaves the table exactly once, together with the entry. A request that is sent again
//! because a process was lost gets another id, so that what is left of the first try is not taken for the second; the
//! client goes on knowing it by the first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::plan::Plan;
use crate::telemetry::metrics::PipelineMetrics;
use crate::types::{Failure, RequestId, Tensor};

use super::handle::{InferReply, Purpose, Reply, Slot, Submission};

/// A request that has been admitted and not yet answered.
#[derive(Debug)]
pub(super) struct Open {
    /// As the client knows it.
    pub id: RequestId,
    pub pipeline: usize,
    pub started: Instant,
    pub deadline: Instant,
    /// Kept where the request may have to be sent again.
    pub inputs: Vec<Tensor>,
    /// Incarnation of the process because of whose loss it was sent again.
    lost: Option<u64>,
    /// How often it was sent again.
    resent: usize,
    outputs: Vec<Option<Tensor>>,
    reply: oneshot::Sender<Reply>,
    slot: Slot,
    pub purpose: Purpose,
    metrics: Arc<PipelineMetrics>,
}

/// Open requests by id, and their deadlines in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    open: HashMap<RequestId, Open>,
    deadlines: BTreeSet<(Instant, RequestId)>,
    /// Current ids of the requests that were sent again, by the ids that clients know.
    renamed: HashMap<RequestId, RequestId>,
}

/// Several producers may tell of one loss, each of the requests that it sent, and so may the links to every step of a process;
/// more often than this, besides once for each step, nothing is sent again.
const RESENT_MAX: usize = 8;

impl Open {
    /// Opens what was submitted, with room for as many outputs.
    pub(super) fn new(
        submission: Submission,
        outputs: usize,
        metrics: Arc<PipelineMetrics>,
    ) -> Self {
        let Submission {
            id,
            pipeline,
            inputs,
            started,
            deadline,
            reply,
            slot,
            purpose,
        } = submission;
        metrics.in_flight.add(1);
        Self {
            id,
            pipeline,
            started,
            deadline,
            inputs,
            lost: None,
            resent: 0,
            outputs: (0..outputs).map(|_| None).collect(),
            reply,
            slot,
            purpose,
            metrics,
        }
    }

    /// Notes that the request has to be sent again because of a loss; tells whether it may be. What it has of outputs is
    /// dropped. `process_lives` where only the way to it was lost, as when hosts change their keys.
    /// `steps` are those of its pipeline.
    pub(super) fn send_again(
        &mut self,
        incarnation: u64,
        process_lives: bool,
        steps: usize,
    ) -> bool {
        // Somebody else, or another block of the process, may tell of the same loss when the second try is on its way.
        if !process_lives && *self.lost.get_or_insert(incarnation) != incarnation {
            return false;
        }
        self.resent += 1;
        self.outputs.fill(None);
        self.resent <= RESENT_MAX + steps
    }

    /// Tells whether the client has gone away.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Answers. The slot is given back first, so that a client that has its reply finds room for the next request.
    fn answer(self, reply: Reply) {
        self.metrics.in_flight.sub(1);
        match &reply {
            Ok(_) => self.metrics.succeeded(self.started.elapsed()),
            Err(failure) => self.metrics.failed(failure.kind),
        }
        drop(self.slot);
        // A client that has gone away meanwhile wants no reply.
        let _ = self.reply.send(reply);
    }

    pub(super) fn fail(self, failure: Failure) {
        self.answer(Err(failure));
    }

    /// Answers with the outputs, which are complete.
    pub(super) fn succeed(mut self) {
        let outputs = std::mem::take(&mut self.outputs)
            .into_iter()
            .flatten()
            .collect();
        self.answer(Ok(InferReply { outputs }));
    }
}

impl Pending {
    pub(super) fn insert(&mut self, id: RequestId, open: Open) {
        self.deadlines.insert((open.deadline, id));
        self.open.insert(id, open);
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.deadlines.remove(&(open.deadline, id));
        if open.id != id {
            self.renamed.remove(&open.id);
        }
        Some(open)
    }

    /// Puts a request back under another id.
    pub(super) fn rename(&mut self, to: RequestId, open: Open) {
        self.renamed.insert(open.id, to);
        self.insert(to, open);
    }

    /// Returns the id under which a request is open that the client knows by `id`.
    pub(super) fn current(&self, id: RequestId) -> RequestId {
        self.renamed.get(&id).copied().unwrap_or(id)
    }

    /// Returns the open requests, with their pipelines, that need a block of `plan`.
    pub(super) fn users(&self, plan: &Plan, block: usize) -> Vec<(RequestId, usize)> {
        let uses = |pipeline: usize| {
            let mut steps = plan.pipelines[pipeline].steps.iter();
            steps.any(|step| step.block == block)
        };
        let open = self.open.iter().map(|(id, open)| (*id, open.pipeline));
        open.filter(|(_, pipeline)| uses(*pipeline)).collect()
    }

    /// Adds outputs to a request; returns it once none is missing. Outputs of a request that is no longer open are
    /// late and ignored.
    pub(super) fn add_outputs(
        &mut self,
        id: RequestId,
        outputs: Vec<(u16, Tensor)>,
    ) -> Option<Open> {
        let open = self.open.get_mut(&id)?;
        for (port, tensor) in outputs {
            if let Some(slot) = open.outputs.get_mut(usize::from(port)) {
                *slot = Some(tensor);
            }
        }
        if open.outputs.iter().any(Option::is_none) {
            return None;
        }
        self.remove(id)
    }

    /// Removes the requests whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(RequestId, Open)> {
        let late = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now);
        let late: Vec<_> = late.map(|(_, id)| *id).collect();
        late.into_iter()
            .filter_map(|id| Some((id, self.remove(id)?)))
            .collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(super) fn drain(&mut self) -> Vec<(RequestId, Open)> {
        self.deadlines.clear();
        self.renamed.clear();
        self.open.drain().collect()
    }
}
