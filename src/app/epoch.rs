//! What is served now, and what is served still: a request ends in the epoch that it began in.
//!
//! Whoever begins a request takes the [`Serving`] of now and keeps it until it has its answer. An epoch that was replaced is over
//! once nobody has its [`Serving`] any more; nobody can take it again. While a new epoch is tried, a [`Door`] decides.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};

use tokio::sync::watch;

use super::hold::Hold;
use super::reload::{Ask, Outcome, Reloads};
use super::trial::{Door, Report};
use crate::actors::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
use crate::serve::{Backend, Front};
use crate::types::{Failure, FailureKind, lock};

/// The gateway of one epoch, and what stands before it while another is tried.
#[derive(Debug)]
pub(super) struct Serving {
    pub gateway: Gateway,
    /// Where requests wait while epochs change places.
    hold: Hold,
    door: RwLock<Option<Arc<Door>>>,
    /// It goes before another comes, so nothing begins in it any more.
    gone: AtomicBool,
}

/// Finds the epoch of now. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Epochs {
    now: watch::Receiver<Arc<Serving>>,
    reloads: Reloads,
    unloaded: Arc<Mutex<BTreeSet<String>>>,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Admitted(Flight);

enum Flight {
    Begun {
        ticket: Ticket,
        report: Report,
        /// The epoch that it keeps.
        _serving: Arc<Serving>,
    },
    Waiting(Waiting),
}

impl Serving {
    pub(super) fn new(gateway: Gateway, hold: Hold) -> Self {
        Self {
            gateway,
            hold,
            door: RwLock::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// Has nothing begin here any more, also what has found it already. To be called while requests are held.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
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
        Self(Flight::Begun {
            ticket,
            report,
            _serving: serving,
        })
    }

    /// Returns a request that waits for an epoch to begin in.
    pub(super) fn waiting(waiting: Waiting) -> Self {
        Self(Flight::Waiting(waiting))
    }
}

type Waiting = Pin<Box<dyn Future<Output = Result<InferReply, Failure>>>>;

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
                failure = gateway.closed() => {
                    let hold = now.borrow().hold.clone();
                    if !hold.is_held() {
                        if now.has_changed().unwrap_or(false) {
                            continue;
                        }
                        return failure;
                    }
                    // It ends because another comes, which is there once nobody has to wait for it any more.
                    if let Some(failure) = hold.ended().await {
                        return failure;
                    }
                }
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
        lock(&self.unloaded).iter().cloned().collect()
    }
}

/// Asks, and tells whether it is so now.
async fn settled(reloads: Reloads, ask: Ask) -> Result<(), Failure> {
    match reloads.wait(ask).await {
        Outcome::Applied(_) | Outcome::Unchanged { .. } | Outcome::Planned(_) => Ok(()),
        Outcome::Rejected { reasons } | Outcome::RolledBack { reasons } => {
            Err(Failure::new(FailureKind::Invalid, reasons.join("; ")))
        }
        Outcome::Full => Err(Failure::new(FailureKind::Overloaded, Outcome::FULL)),
        Outcome::Stopping => Err(Failure::shutting_down()),
    }
}

impl Backend for Arc<Serving> {
    type Reply = Admitted;

    fn pipelines(&self) -> &[PipelineInfo] {
        self.gateway.pipelines()
    }

    fn state(&self, pipeline: usize) -> PipelineState {
        // Whoever asks may send requests, which wait.
        if self.hold.is_held() && pipeline < self.pipelines().len() {
            return PipelineState::Ready;
        }
        self.gateway.state(pipeline)
    }

    fn submit(&self, request: InferRequest) -> Result<Admitted, Failure> {
        let begin = |request| match self.door() {
            Some(door) => door.submit(self, request),
            None => self.admit(request, Report::Nobody),
        };
        match self.pipelines().get(request.pipeline) {
            Some(pipeline) => {
                let gone = || self.is_gone();
                self.hold.submit(request, pipeline, gone, begin)
            }
            // Which is refused.
            None => begin(request),
        }
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begun { .. } => "Begun",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl Future for Admitted {
    type Output = Result<InferReply, Failure>;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Flight::Begun { ticket, report, .. } => {
                let polled = Pin::new(ticket).poll(ctx);
                polled.map(|reply| {
                    std::mem::take(report).tell(&reply);
                    reply
                })
            }
            Flight::Waiting(waiting) => waiting.as_mut().poll(ctx),
        }
    }
}
