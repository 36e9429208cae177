//! Whether and when a failed block is rebuilt.
//!
//! The wait doubles with each failure within the window, with jitter so that blocks that failed together do not come
//! back together; when the budget of the window is used up the block is given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::types::RestartSpec;

/// Largest share of the wait that jitter takes off, in percent.
const JITTER_PERCENT_MAX: u32 = 25;

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Rebuild after this wait.
    After(Duration),
    GiveUp,
}

/// Failures of one block instance.
#[derive(Debug)]
pub struct RestartPolicy {
    spec: RestartSpec,
    failures: VecDeque<Instant>,
}

impl RestartPolicy {
    pub fn new(spec: RestartSpec) -> Self {
        Self {
            spec,
            failures: VecDeque::new(),
        }
    }

    /// Returns the failures in the window of the last one.
    pub fn attempts(&self) -> usize {
        self.failures.len()
    }

    /// Notes a failure. `jitter` is any number, best a random one.
    pub fn on_failure(&mut self, now: Instant, jitter: u32) -> Restart {
        while self
            .failures
            .front()
            .is_some_and(|&at| now.duration_since(at) > self.spec.window)
        {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let attempt = self.failures.len();
        if attempt > self.spec.budget {
            return Restart::GiveUp;
        }
        let doublings = u32::try_from(attempt - 1).unwrap_or(u32::MAX).min(31);
        let full = self
            .spec
            .backoff_min
            .saturating_mul(1 << doublings)
            .min(self.spec.backoff_max);
        let wait = full * (100 - jitter % (JITTER_PERCENT_MAX + 1)) / 100;
        Restart::After(wait)
    }
}
