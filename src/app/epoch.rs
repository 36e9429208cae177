//! What is served now, and what is served still: a request ends in the epoch that it began in.
//!
//! Whoever begins a request takes the [`Serving`] of now and keeps it until it has its answer. An epoch that was replaced is over
//! once nobody has its [`Serving`] any more; nobody can take it again. While a new epoch is tried, a [`Door`] decides.

use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use tokio::sync::watch;

use super::reload::{Outcome, Reloads, Trigger};
use super::trial::{Door, Report};
use crate::actors::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
use crate::serve::{Backend, Front};
use crate::types::{Failure, FailureKind};

/// The gateway of one epoch, and what stands before it while another is tried.
#[derive(Debug)]
pub(super) struct Serving {
    pub gateway: Gateway,
    door: RwLock<Option<Arc<Door>>>,
}

/// Finds the epoch of now. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Epochs {
    now: watch::Receiver<Arc<Serving>>,
    reloads: Reloads,
}

/// A request in flight, and the epoch that it keeps.
#[derive(Debug)]
pub(super) struct Admitted {
    ticket: Ticket,
    report: Report,
    _serving: Arc<Serving>,
}

impl Serving {
    pub(super) fn new(gateway: Gateway) -> Self {
        Self {
            gateway,
            door: RwLock::default(),
        }
    }

    /// Has requests go through a door from now on, or through none.
    pub(super) fn set_door(&self, door: Option<Arc<Door>>) {
        *self.door.write().unwrap_or_else(PoisonError::into_inner) = door;
    }

    fn door(&self) -> Option<Arc<Door>> {
        let door = self.door.read().unwrap_or_else(PoisonError::into_inner);
        door.clone()
    }

    /// Has a request begin here; its answer is also reported.
    pub(super) fn admit(
        self: &Arc<Self>,
        request: InferRequest,
        report: Report,
    ) -> Result<Admitted, Failure> {
        let ticket = self.gateway.submit(request)?;
        Ok(Admitted::new(ticket, self.clone(), report))
    }
}

impl Admitted {
    pub(super) fn new(ticket: Ticket, serving: Arc<Serving>, report: Report) -> Self {
        Self {
            ticket,
            report,
            _serving: serving,
        }
    }
}

impl Epochs {
    pub(super) fn new(now: watch::Receiver<Arc<Serving>>, reloads: Reloads) -> Self {
        Self { now, reloads }
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

    fn reload(&self) -> impl Future<Output = Result<(), Failure>> + 'static {
        let reloads = self.reloads.clone();
        async move {
            match reloads.wait(Trigger::Request).await {
                Outcome::Applied | Outcome::Unchanged => Ok(()),
                Outcome::Rejected { reasons } | Outcome::RolledBack { reasons } => {
                    Err(Failure::new(FailureKind::Invalid, reasons.join("; ")))
                }
                Outcome::Stopping => {
                    let cause = "the server is shutting down";
                    Err(Failure::new(FailureKind::ShuttingDown, cause))
                }
            }
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
        match self.door() {
            Some(door) => door.submit(self, request),
            None => self.admit(request, Report::Nobody),
        }
    }
}

impl Future for Admitted {
    type Output = Result<InferReply, Failure>;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.ticket).poll(ctx);
        polled.map(|reply| {
            std::mem::take(&mut self.report).tell(&reply);
            reply
        })
    }
}
