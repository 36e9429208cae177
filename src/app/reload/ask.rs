//! Asking for reloads, and what becomes of them.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::app::control::Planned;
use crate::app::history::Trigger;
use crate::types::Epoch;

/// Reloads that somebody waits for.
pub(super) const ORDERS_MAX: usize = 64;

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Ask {
    /// What is configured is to be served.
    Reload(Trigger),
    /// A block is to have another model; `pinned`: also when the configuration is another.
    Swap {
        block: String,
        file: PathBuf,
        pinned: bool,
    },
    /// A block is to have its configured model again.
    Unpin { block: String },
    /// An epoch of before is to be served; `None`: the one before.
    Rollback { epoch: Option<u32> },
    /// A pipeline is to be served, with all that is configured.
    Load { pipeline: String },
    /// A pipeline is not to be served.
    Unload { pipeline: String },
    /// Says what a reload would do, and does nothing.
    Plan,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::app) enum Outcome {
    Applied(Applied),
    /// What is wanted is what is served.
    Unchanged {
        epoch: Epoch,
    },
    /// What was served before still is.
    Rejected {
        reasons: Vec<String>,
    },
    /// Requests had begun in what was new, or what was served before had gone for it; what was served before is served again.
    RolledBack {
        reasons: Vec<String>,
    },
    /// What a reload would do.
    Planned(Box<Planned>),
    /// Nothing: too many wait already.
    Full,
    Stopping,
}

/// A reload that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Applied {
    pub epoch: Epoch,
    /// What is different.
    pub changes: Vec<String>,
    /// Reading, preparing and switching.
    pub took: Duration,
    /// Why it is not in the history.
    pub unrecorded: Option<String>,
}

pub(super) struct Order {
    pub ask: Ask,
    pub done: Option<oneshot::Sender<Outcome>>,
}

/// Asks for reloads. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::app) struct Reloads(SyncSender<Order>);

impl Ask {
    /// Returns what the history says of it.
    pub(super) const fn trigger(&self) -> Trigger {
        match self {
            Self::Reload(trigger) => *trigger,
            Self::Swap { .. } | Self::Unpin { .. } => Trigger::Swap,
            Self::Rollback { .. } => Trigger::Rollback,
            Self::Load { .. } => Trigger::Load,
            Self::Unload { .. } => Trigger::Unload,
            Self::Plan => Trigger::Request,
        }
    }
}

impl Outcome {
    pub(in crate::app) const FULL: &str = "too many reloads wait already; try again later";

    pub(super) fn rejected(reason: impl Into<String>) -> Self {
        Self::Rejected {
            reasons: vec![reason.into()],
        }
    }
}

impl Reloads {
    pub(super) fn channel() -> (Self, Receiver<Order>) {
        let (orders, ordered) = sync_channel(ORDERS_MAX);
        (Self(orders), ordered)
    }

    /// Asks for a reload. Where too many are asked for already, the last of those has what this one wants.
    pub(in crate::app) fn ask(&self, trigger: Trigger) {
        let order = Order {
            ask: Ask::Reload(trigger),
            done: None,
        };
        let _ = self.0.try_send(order);
    }

    /// Asks, and waits for what becomes of it.
    pub(in crate::app) async fn wait(&self, ask: Ask) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let order = Order {
            ask,
            done: Some(done),
        };
        match self.0.try_send(order) {
            Ok(()) => outcome.await.unwrap_or(Outcome::Stopping),
            Err(TrySendError::Disconnected(_)) => Outcome::Stopping,
            Err(TrySendError::Full(_)) => Outcome::Full,
        }
    }
}
