//! The epoch that was replaced: it ends once its requests are over.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::app::epoch::Serving;
use crate::app::steps::Step;
use crate::app::{Runtime, StopReport};
use crate::engine::torch::give_back_memory;
use crate::telemetry::metrics::Names;
use crate::telemetry::{self, EpochRetired, Event};

use crate::types::lock;

use super::leaving::Leaving;

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
        while !self.is_over() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            thread::sleep(RETIRE_POLL);
        }
    }

    /// Tells whether there is none, or it has ended.
    pub(super) fn is_over(&self) -> bool {
        let retiring = lock(&self.0);
        let thread = retiring.as_ref().map(|retiring| &retiring.thread);
        thread.is_none_or(JoinHandle::is_finished)
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

    /// Ends an epoch once its requests are over, in the background. From then on only `names` are counted; `over` is called last.
    pub(super) fn retire(
        &self,
        old: Runtime,
        serving: Option<Arc<Serving>>,
        drain: Duration,
        names: Names,
        over: impl FnOnce() + Send + 'static,
    ) {
        let epoch = old.epoch();
        let now = Arc::new(AtomicBool::new(false));
        let stop = now.clone();
        let retire = move || {
            let started = Instant::now();
            let limit = started + drain + RETIRE_MARGIN;
            let mut serving = serving.map(Leaving::new);
            let mut busy = || {
                let idle = |serving: &mut Serving| serving.gateway.in_flight() == 0;
                let over = |serving: &mut Leaving<Serving>| serving.alone().is_some_and(idle);
                !serving.as_mut().is_none_or(over)
            };
            while busy() && Instant::now() < limit && !stop.load(Ordering::Acquire) {
                thread::sleep(RETIRE_POLL);
            }
            let report = old.stop(Duration::ZERO);
            give_back_memory();
            telemetry::metrics::registry().keep_only(&names);
            EpochRetired {
                epoch,
                took: started.elapsed(),
                stragglers: &report.stragglers,
                threads_ended: report.threads_ended,
            }
            .emit();
            over();
            Step::Retired.reached();
            report
        };
        let spawn = |work| {
            thread::Builder::new()
                .name("blockflow-retire".into())
                .spawn(work)
        };
        if let Some(thread) = aside(retire, spawn) {
            *lock(&self.0) = Some(Retiring { thread, now });
        }
    }
}

/// Does something on a thread of its own or, where there is none to be had, on this one.
fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    spawn: impl FnOnce(Box<dyn FnOnce() -> T + Send>) -> io::Result<JoinHandle<T>>,
) -> Option<JoinHandle<T>> {
    // A thread that is not started would drop it, and with it what it was to wait for.
    let work = Arc::new(Mutex::new(Some(work)));
    let own = work.clone();
    let started = spawn(Box::new(move || {
        let work = lock(&own).take();
        work.expect("it is only taken where no thread was started")()
    }));
    match started {
        Ok(thread) => Some(thread),
        Err(error) => {
            warn!(%error, "no thread to wait for the requests of the old epoch, no reload until they are over");
            let work = lock(&work).take();
            work.map(|work| work());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_waited_for_is_waited_for_without_a_thread_too() {
        let waited = Arc::new(AtomicBool::new(false));
        let noted = waited.clone();
        let work = move || noted.store(true, Ordering::Release);
        let none = aside(work, |_| Err(io::Error::other("no thread left")));
        assert!(none.is_none());
        assert!(waited.load(Ordering::Acquire));
        let thread = aside(|| 7, |work| thread::Builder::new().spawn(work));
        let outcome = thread.map(JoinHandle::join);
        assert!(matches!(outcome, Some(Ok(7))));
    }
}
