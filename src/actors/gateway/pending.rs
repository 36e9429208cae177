//! The table of open requests.
//!
//! `REQ-1` lives here: a reply channel leaves the table exactly once, together with the entry.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::telemetry::metrics::PipelineMetrics;
use crate::types::{Failure, RequestId, Tensor};

use super::handle::{InferReply, Reply, Slot};

/// A request that has been admitted and not yet answered.
#[derive(Debug)]
pub(super) struct Open {
    pub pipeline: usize,
    pub started: Instant,
    pub deadline: Instant,
    outputs: Vec<Option<Tensor>>,
    reply: oneshot::Sender<Reply>,
    slot: Slot,
    metrics: Arc<PipelineMetrics>,
}

/// Open requests by id, and their deadlines in order.
#[derive(Debug, Default)]
pub(super) struct Pending {
    open: HashMap<RequestId, Open>,
    deadlines: BTreeSet<(Instant, RequestId)>,
}

impl Open {
    pub(super) fn new(
        pipeline: usize,
        outputs: usize,
        started: Instant,
        deadline: Instant,
        reply: oneshot::Sender<Reply>,
        slot: Slot,
        metrics: Arc<PipelineMetrics>,
    ) -> Self {
        let outputs = (0..outputs).map(|_| None).collect();
        metrics.in_flight.add(1);
        Self {
            pipeline,
            started,
            deadline,
            outputs,
            reply,
            slot,
            metrics,
        }
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
        Some(open)
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
        self.open.drain().collect()
    }
}
