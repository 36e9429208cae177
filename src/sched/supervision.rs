//! What is done about a fault.
//!
//! | fault | of an instance in `main` | of one in a worker | of a worker process |
//! |---|---|---|---|
//! | panic, error | its session is made anew | likewise | |
//! | links | its sockets are opened anew | likewise | |
//! | hang | it is waited for, then the process is replaced | the process is replaced | it is started again |
//! | device lost | the process is replaced | likewise | it is started again |
//! | killed, exited | | | it is started again |
//!
//! What is done anew waits as [`RestartPolicy`] says, and what has used up its budget is given up, but in a worker where sockets
//! fail: nobody would hear of it there, so the process is replaced, which its parent has a budget for.
//!
//! Invariants: every fault of something that is neither given up nor being replaced has exactly one remedy; what was given up, or
//! is being replaced, has none any more.

use std::time::{Duration, Instant};

use crate::types::{FaultKind, RestartSpec};

use super::{Restart, RestartPolicy};

/// What is looked after, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ward {
    /// An instance of a block in the process that the user started.
    Main,
    /// An instance of a block in a worker, as seen there.
    Worker,
    /// A worker process, as its parent sees it.
    Process,
}

/// What to do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Make the session anew after this wait.
    Rebuild(Duration),
    /// Open the sockets anew after this wait.
    Reopen(Duration),
    /// Start the process again after this wait.
    Restart(Duration),
    /// A thread cannot be ended from outside: see whether it comes back by itself.
    Await,
    /// Only another process can go on.
    Replace,
    GiveUp,
}

/// Faults of one ward and what became of it.
#[derive(Debug)]
pub struct Supervision {
    ward: Ward,
    policy: RestartPolicy,
    over: bool,
}

impl Supervision {
    pub fn new(ward: Ward, spec: RestartSpec) -> Self {
        Self {
            ward,
            policy: RestartPolicy::new(spec),
            over: false,
        }
    }

    /// Returns the faults in the window of the last one that asked for something to be done anew.
    pub fn attempts(&self) -> usize {
        self.policy.attempts()
    }

    /// Ends it: nothing is done for it any more.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// Tells whether nothing is done for it any more: it was given up, or its process is being replaced.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Decides about a fault; `None` once all is over. `jitter` is any number, best a random one.
    pub fn on_fault(&mut self, kind: FaultKind, now: Instant, jitter: u32) -> Option<Remedy> {
        if self.over {
            return None;
        }
        let remedy = match (self.ward, kind) {
            (Ward::Main, FaultKind::Hang) => Remedy::Await,
            (Ward::Main | Ward::Worker, FaultKind::DeviceLost)
            | (Ward::Worker, FaultKind::Hang) => Remedy::Replace,
            _ => match self.policy.on_failure(now, jitter) {
                Restart::GiveUp if (self.ward, kind) == (Ward::Worker, FaultKind::Links) => {
                    Remedy::Replace
                }
                Restart::GiveUp => Remedy::GiveUp,
                Restart::After(wait) if self.ward == Ward::Process => Remedy::Restart(wait),
                Restart::After(wait) if kind == FaultKind::Links => Remedy::Reopen(wait),
                Restart::After(wait) => Remedy::Rebuild(wait),
            },
        };
        self.over = matches!(remedy, Remedy::Replace | Remedy::GiveUp);
        Some(remedy)
    }
}
