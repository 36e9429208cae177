//! The epoch that was replaced: it ends once its requests are over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::error;

use crate::app::epoch::Serving;
use crate::app::steps::Step;
use crate::app::{Runtime, StopReport};
use crate::telemetry::{self, EpochRetired, Event};

use super::lifecycle::lock;

/// How long the requests of an old epoch may go on past the longest deadline.
const RETIRE_MARGIN: Duration = Duration::from_secs(10);
/// How often it is looked whether they are over.
const RETIRE_POLL: Duration = Duration::from_millis(5);

/// An epoch whose last requests are not over yet.
#[derive(Debug)]
struct Retiring {
    thread: JoinHandle<StopReport>,
    /// Its requests are not waited for any longer.
    now: Arc<AtomicBool>,
}

/// The epoch before the one of now, if its requests are not over yet.
#[derive(Debug, Clone, Default)]
pub(super) struct LastEpoch(Arc<Mutex<Option<Retiring>>>);

impl LastEpoch {
    /// Waits for its requests.
    pub(super) fn wait(&self, deadline: Option<Instant>) {
        let is_over = || {
            let retiring = lock(&self.0);
            let thread = retiring.as_ref().map(|retiring| &retiring.thread);
            thread.is_none_or(JoinHandle::is_finished)
        };
        while !is_over() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            thread::sleep(RETIRE_POLL);
        }
    }

    /// Waits for its end; one that ended before, or panicked, which it has told of, has nothing to report.
    pub(super) fn join(&self) -> StopReport {
        let retiring = lock(&self.0).take();
        let nothing = StopReport {
            threads_ended: true,
            ..StopReport::default()
        };
        retiring.map_or(nothing, |retiring| {
            retiring.thread.join().unwrap_or_default()
        })
    }

    /// Does not wait any longer for its requests.
    pub(super) fn hurry(&self) {
        if let Some(retiring) = lock(&self.0).as_ref() {
            retiring.now.store(true, Ordering::Release);
        }
    }

    /// Ends an epoch once its requests are over, in the background. From then on only `names` are counted.
    pub(super) fn retire(
        &self,
        old: Runtime,
        serving: Option<Arc<Serving>>,
        drain: Duration,
        names: (Vec<String>, Vec<String>),
    ) {
        let epoch = old.epoch();
        let now = Arc::new(AtomicBool::new(false));
        let stop = now.clone();
        let retire = move || {
            let started = Instant::now();
            let limit = started + drain + RETIRE_MARGIN;
            let busy = |serving: &Arc<Serving>| {
                Arc::strong_count(serving) > 1 || serving.gateway.in_flight() > 0
            };
            while serving.as_ref().is_some_and(busy)
                && Instant::now() < limit
                && !stop.load(Ordering::Acquire)
            {
                thread::sleep(RETIRE_POLL);
            }
            let report = old.stop(Duration::ZERO);
            telemetry::metrics::registry().keep_only(&names.0, &names.1);
            EpochRetired {
                epoch,
                took: started.elapsed(),
                stragglers: &report.stragglers,
                threads_ended: report.threads_ended,
            }
            .emit();
            Step::Retired.reached();
            report
        };
        match thread::Builder::new()
            .name("blockflow-retire".into())
            .spawn(retire)
        {
            Ok(thread) => *lock(&self.0) = Some(Retiring { thread, now }),
            Err(error) => error!(%error, "no thread to wait for the requests of the old epoch"),
        }
    }
}
