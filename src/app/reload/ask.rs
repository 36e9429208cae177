//! Asking for reloads, and what becomes of them.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

/// Reloads that somebody waits for.
const ORDERS_MAX: usize = 64;

/// Who wants a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Trigger {
    Hangup,
    /// A file of the configuration, or of a model, is another.
    Files,
    Request,
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) enum Outcome {
    Applied,
    /// What is configured is what is served.
    Unchanged,
    /// What was served before still is.
    Rejected {
        reasons: Vec<String>,
    },
    /// Requests had begun in what was new, or what was served before had gone for it; what was served before is served again.
    RolledBack {
        reasons: Vec<String>,
    },
    Stopping,
}

pub(super) struct Order {
    pub trigger: Trigger,
    pub done: Option<oneshot::Sender<Outcome>>,
}

/// Asks for reloads. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::app) struct Reloads(SyncSender<Order>);

impl Reloads {
    pub(super) fn channel() -> (Self, Receiver<Order>) {
        let (orders, ordered) = sync_channel(ORDERS_MAX);
        (Self(orders), ordered)
    }

    /// Asks for a reload. Where too many are asked for already, the last of those has what this one wants.
    pub(in crate::app) fn ask(&self, trigger: Trigger) {
        let order = Order {
            trigger,
            done: None,
        };
        let _ = self.0.try_send(order);
    }

    /// Asks for a reload and waits for what becomes of it.
    pub(in crate::app) async fn wait(&self, trigger: Trigger) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let order = Order {
            trigger,
            done: Some(done),
        };
        match self.0.try_send(order) {
            Ok(()) => outcome.await.unwrap_or(Outcome::Stopping),
            Err(TrySendError::Disconnected(_)) => Outcome::Stopping,
            Err(TrySendError::Full(_)) => Outcome::Rejected {
                reasons: vec!["too many reloads wait already; try again later".to_owned()],
            },
        }
    }
}
