//! What is served now, and what is served still: a request ends in the epoch that it began in.
//!
//! Whoever begins a request takes the [`Serving`] of now and keeps it until it has its answer. An epoch that was replaced is over
//! once nobody has its [`Serving`] any more; nobody can take it again.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::watch;

use super::reload::{Ask, Outcome, Reloads};
use crate::actors::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
use crate::serve::{Backend, Front};
use crate::types::{Failure, FailureKind};

/// The gateway of one epoch.
#[derive(Debug)]
pub(super) struct Serving {
    pub gateway: Gateway,
}

/// Finds the epoch of now. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Epochs {
    now: watch::Receiver<Arc<Serving>>,
    reloads: Reloads,
    unloaded: Arc<Mutex<BTreeSet<String>>>,
}

/// A request in flight, and the epoch that it keeps.
#[derive(Debug)]
pub(super) struct Admitted {
    ticket: Ticket,
    _serving: Arc<Serving>,
}

impl Epochs {
    pub(super) fn new(
        now: watch::Receiver<Arc<Serving>>,
        reloads: Reloads,
        unloaded: Arc<Mutex<BTreeSet<String>>>,
    ) -> Self {
        Self {
            now,
            reloads,
            unloaded,
        }
    }

    /// Waits until the gateway of now takes no requests any more; returns why.
    pub(super) async fn closed(&self) -> Failure {
        let mut now = self.now.clone();
        loop {
            let gateway = now.borrow_and_update().gateway.clone();
            tokio::select! {
                // An epoch that was replaced is closed after that.
                biased;
                changed = now.changed() => if changed.is_err() {
                    // Nobody can replace it any more.
                    return gateway.closed().await;
                },
                failure = gateway.closed() => return failure,
            }
        }
    }
}

impl Front for Epochs {
    type Backend = Arc<Serving>;

    fn current(&self) -> Arc<Serving> {
        self.now.borrow().clone()
    }

    fn load(&self, pipeline: String) -> impl Future<Output = Result<(), Failure>> + 'static {
        settled(self.reloads.clone(), Ask::Load { pipeline })
    }

    fn unload(&self, pipeline: String) -> impl Future<Output = Result<(), Failure>> + 'static {
        settled(self.reloads.clone(), Ask::Unload { pipeline })
    }

    fn unloaded(&self) -> Vec<String> {
        let unloaded = self.unloaded.lock();
        let unloaded = unloaded.unwrap_or_else(PoisonError::into_inner);
        unloaded.iter().cloned().collect()
    }
}

/// Asks, and tells whether it is so now.
async fn settled(reloads: Reloads, ask: Ask) -> Result<(), Failure> {
    match reloads.wait(ask).await {
        Outcome::Applied(_) | Outcome::Unchanged { .. } | Outcome::Planned(_) => Ok(()),
        Outcome::Rejected { reasons } => {
            Err(Failure::new(FailureKind::Invalid, reasons.join("; ")))
        }
        Outcome::Stopping => {
            let cause = "the server is shutting down";
            Err(Failure::new(FailureKind::ShuttingDown, cause))
        }
    }
}

impl Backend for Arc<Serving> {
    type Reply = Admitted;

    fn pipelines(&self) -> &[PipelineInfo] {
        self.gateway.pipelines()
    }

    fn state(&self, pipeline: usize) -> PipelineState {
        self.gateway.state(pipeline)
    }

    fn submit(&self, request: InferRequest) -> Result<Admitted, Failure> {
        Ok(Admitted {
            ticket: self.gateway.submit(request)?,
            _serving: self.clone(),
        })
    }
}

impl Future for Admitted {
    type Output = Result<InferReply, Failure>;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.ticket).poll(ctx)
    }
}
