//! How the two sides of a canary do.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::actors::InferReply;
use crate::sched::{Canaried, Side};
use crate::telemetry::metrics;
use crate::types::{Failure, FailureKind, lock};

/// Latencies that are remembered of a side, the latest.
const LATENCIES_MAX: usize = 4096;

/// In which epoch a request began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Began {
    Old,
    New,
}

/// Counts of both sides. Shared by all who answer requests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    old: Mutex<Count>,
    new: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    open: u64,
    failed: u64,
    latencies: Latencies,
}

/// The latest of some times, and how many there were.
#[derive(Debug, Clone, Default)]
pub(super) struct Latencies {
    count: u64,
    /// In no order once there are as many as are remembered.
    latest: Vec<Duration>,
}

/// A request that is counted; one whose client goes away counts for nothing.
#[derive(Debug)]
pub(in crate::app) struct Tallied {
    tally: Arc<Tally>,
    began: Began,
    at: Instant,
}

impl Tally {
    fn count(&self, began: Began) -> MutexGuard<'_, Count> {
        let count = match began {
            Began::Old => &self.old,
            Began::New => &self.new,
        };
        lock(count)
    }

    /// Counts a request that begins.
    pub(super) fn begin(self: &Arc<Self>, began: Began) -> Tallied {
        self.count(began).open += 1;
        Tallied {
            tally: self.clone(),
            began,
            at: Instant::now(),
        }
    }

    /// Counts a request that was not taken.
    pub(super) fn refuse(&self, began: Began, kind: FailureKind) {
        if is_fault(kind) {
            self.count(began).failed += 1;
            metrics_of(began).failed(kind);
        }
    }

    pub(super) fn seen(&self) -> Canaried {
        Canaried {
            old: self.count(Began::Old).side(),
            new: self.count(Began::New).side(),
        }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let place = usize::try_from(self.count).unwrap_or(0) % LATENCIES_MAX;
        match self.latest.get_mut(place) {
            Some(oldest) => *oldest = took,
            None => self.latest.push(took),
        }
        self.count += 1;
    }

    /// Returns the median and the 99th percentile; zeros of none.
    pub(super) fn percentiles(&self) -> [Duration; 2] {
        let mut latest = self.latest.clone();
        [50, 99].map(|percent| percentile(&mut latest, percent))
    }
}

impl Count {
    fn side(&self) -> Side {
        let [median, p99] = self.latencies.percentiles();
        Side {
            open: self.open,
            succeeded: self.latencies.count,
            failed: self.failed,
            median,
            p99,
        }
    }
}

impl Tallied {
    /// Counts how it ended.
    pub(super) fn end(self, reply: &Result<InferReply, Failure>) {
        let took = self.at.elapsed();
        match reply {
            Ok(_) => {
                self.tally.count(self.began).latencies.add(took);
                metrics_of(self.began).succeeded(took);
            }
            Err(failure) => self.tally.refuse(self.began, failure.kind),
        }
    }
}

impl Drop for Tallied {
    fn drop(&mut self) {
        self.tally.count(self.began).open -= 1;
    }
}

fn metrics_of(began: Began) -> &'static metrics::PipelineMetrics {
    let trials = metrics::trials();
    match began {
        Began::Old => &trials.old,
        Began::New => &trials.canary,
    }
}

/// Tells whether a failure is the server's.
pub(super) const fn is_fault(kind: FailureKind) -> bool {
    !matches!(
        kind,
        FailureKind::Invalid | FailureKind::Cancelled | FailureKind::ShuttingDown
    )
}

/// Returns the smallest of some times that so many in a hundred do not exceed; zero of none.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    if times.is_empty() {
        return Duration::ZERO;
    }
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    *times.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 50), Duration::from_millis(50));
        assert_eq!(percentile(&mut times, 99), Duration::from_millis(99));
        assert_eq!(
            percentile(&mut [Duration::from_millis(1)], 99).as_millis(),
            1
        );
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }

    #[test]
    fn the_latest_times_are_remembered() {
        let mut latencies = Latencies::default();
        for time in 0..LATENCIES_MAX as u64 + 10 {
            latencies.add(Duration::from_nanos(time));
        }
        assert_eq!(latencies.latest.len(), LATENCIES_MAX);
        let oldest = latencies.latest.iter().min();
        assert_eq!(oldest, Some(&Duration::from_nanos(10)));
    }

    #[test]
    fn a_request_is_counted_once_and_not_if_its_client_went_away() {
        let tally = Arc::new(Tally::default());
        let (first, second) = (tally.begin(Began::New), tally.begin(Began::New));
        let third = tally.begin(Began::Old);
        assert_eq!(tally.seen().new.open, 2);
        first.end(&Ok(InferReply {
            outputs: Vec::new(),
        }));
        drop(second);
        third.end(&Err(Failure::new(FailureKind::BlockFailed, "")));
        let seen = tally.seen();
        assert_eq!(
            (seen.new.open, seen.new.succeeded, seen.new.failed),
            (0, 1, 0)
        );
        assert_eq!(
            (seen.old.open, seen.old.succeeded, seen.old.failed),
            (0, 0, 1)
        );
    }
}
