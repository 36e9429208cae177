//! Where a request begins while a new epoch is tried. Asked on the threads of the front end, for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::actors::{InferReply, InferRequest, PipelineInfo, Purpose};
use crate::app::epoch::{Admitted, Serving};
use crate::sched::Share;
use crate::telemetry::metrics;
use crate::types::{Failure, FailureKind};

use super::shadow::{Answer, Shadow};
use super::tally::{Began, Tallied, Tally};

/// Stands before the epoch that serves.
#[derive(Debug)]
pub(in crate::app) struct Door {
    /// By pipeline of the epoch that serves.
    pairs: Vec<Option<Pair>>,
    share: Share,
    trial: Trial,
}

#[derive(Debug)]
pub(super) enum Trial {
    Shadow(mpsc::Sender<Shadow>),
    Canary {
        new: Arc<Serving>,
        tally: Arc<Tally>,
    },
}

/// A pipeline that both epochs have.
#[derive(Debug)]
struct Pair {
    /// Its number in the new one.
    new: usize,
    /// Requests so far.
    asked: AtomicU64,
}

/// Whom the answer to a request is told to, beside its client.
#[derive(Debug, Default)]
pub(in crate::app) enum Report {
    #[default]
    Nobody,
    Tally(Tallied),
    Shadow(oneshot::Sender<Answer>),
}

impl Report {
    pub(in crate::app) fn tell(self, reply: &Result<InferReply, Failure>) {
        match self {
            Self::Nobody => {}
            Self::Tally(tallied) => tallied.end(reply),
            Self::Shadow(answer) => {
                let outputs = reply.as_ref().ok().map(|reply| reply.outputs.clone());
                // The trial may be over.
                let _ = answer.send(outputs);
            }
        }
    }
}

/// Tells how many pipelines both epochs have.
pub(super) fn common(old: &Serving, new: &Serving) -> usize {
    pairs(old, new).iter().flatten().count()
}

fn pairs(old: &Serving, new: &Serving) -> Vec<Option<Pair>> {
    let pair = |info: &PipelineInfo| {
        let same =
            |other: &PipelineInfo| other.name == info.name && other.signature == info.signature;
        let new = new.gateway.pipelines().iter().position(same)?;
        Some(Pair {
            new,
            asked: AtomicU64::new(0),
        })
    };
    old.gateway.pipelines().iter().map(pair).collect()
}

impl Door {
    pub(super) fn new(old: &Serving, new: &Serving, share: f32, trial: Trial) -> Self {
        Self {
            pairs: pairs(old, new),
            share: Share::new(share),
            trial,
        }
    }

    /// Has a request begin in one of the epochs.
    pub(in crate::app) fn submit(
        &self,
        old: &Arc<Serving>,
        request: InferRequest,
    ) -> Result<Admitted, Failure> {
        let pair = self.pairs.get(request.pipeline).and_then(Option::as_ref);
        let Some(pair) = pair else {
            return old.admit(request, Report::Nobody);
        };
        let picked = self.share.picks(pair.asked.fetch_add(1, Ordering::Relaxed));
        match &self.trial {
            Trial::Shadow(shadows) if picked => shadow(shadows, old, request, pair.new),
            Trial::Shadow(_) => old.admit(request, Report::Nobody),
            Trial::Canary { new, tally } => {
                let pipeline = Some(pair.new).filter(|_| picked);
                canary(tally, old, new, request, pipeline)
            }
        }
    }
}

fn shadow(
    shadows: &mpsc::Sender<Shadow>,
    old: &Arc<Serving>,
    request: InferRequest,
    pipeline: usize,
) -> Result<Admitted, Failure> {
    let Ok(room) = shadows.try_reserve() else {
        metrics::trials().dropped.add(1);
        return old.admit(request, Report::Nobody);
    };
    let copy = InferRequest {
        pipeline,
        inputs: request.inputs.clone(),
        deadline: request.deadline,
    };
    let began = Instant::now();
    let (tell, answer) = oneshot::channel();
    let admitted = old.admit(request, Report::Shadow(tell))?;
    room.send(Shadow {
        request: copy,
        answer,
        began,
    });
    Ok(admitted)
}

/// Begins a request in the `new` epoch if it has a number of a `pipeline` there, and if that takes it.
fn canary(
    tally: &Arc<Tally>,
    old: &Arc<Serving>,
    new: &Arc<Serving>,
    request: InferRequest,
    pipeline: Option<usize>,
) -> Result<Admitted, Failure> {
    let Some(pipeline) = pipeline else {
        let tallied = tally.begin(Began::Old);
        return old
            .admit(request, Report::Tally(tallied))
            .inspect_err(|failure| tally.refuse(Began::Old, failure.kind));
    };
    let first = InferRequest {
        pipeline,
        inputs: request.inputs.clone(),
        deadline: request.deadline,
    };
    let tallied = tally.begin(Began::New);
    match new.gateway.offer(first, Purpose::Answer) {
        Ok(ticket) => Ok(Admitted::new(ticket, new.clone(), Report::Tally(tallied))),
        Err(Failure { kind, .. }) => {
            drop(tallied);
            // What is wrong with the request itself the old epoch will say, too.
            if kind != FailureKind::Invalid {
                tally.refuse(Began::New, kind);
            }
            old.admit(request, Report::Nobody)
        }
    }
}
