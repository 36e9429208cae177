//! Reload as a transaction: what is configured now is prepared and warmed beside what is served, then takes its place.
//!
//! ```text
//! asked ─▶ read ─▶ compared ─▶ prepared, warmed ─▶ switched ─▶ the old epoch drains and is freed
//!            │         │              │
//!            ▼         ▼              ▼
//!        rejected   unchanged      rejected
//! ```
//!
//! An epoch is a whole runtime: its own actors, links and worker processes. So no request can see blocks of two
//! (`REQ-2`), and whatever goes wrong before the switch leaves what is served untouched (`SWAP-2`). What a block is prepared
//! into, weights above all, depends on its contents alone and is shared between epochs: a block that stays as it was is
//! not loaded again, it only gets new sessions. The switch replaces one reference. One reload runs at a time, and at most two
//! epochs exist: the next waits for the one before the last to be gone.
//!
//! What a running program cannot change is refused by name, and so is, where a configuration has several hosts, all but
//! their keys.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::{debug, error, warn};

use super::epoch::Serving;
use super::runtime::{Keys, Known};
use super::worker::renew;
use super::{Loaded, Part, Runtime, StopReport};
use crate::plan::{Diff, Plan, Side};
use crate::telemetry::{self, EpochApplied, EpochRejected, EpochRetired, Event};
use crate::types::{Epoch, HostSpec, panic_message};

/// How long the requests of an old epoch may go on past the longest deadline.
const RETIRE_MARGIN: Duration = Duration::from_secs(10);
/// How often it is looked whether they are over.
const RETIRE_POLL: Duration = Duration::from_millis(5);
/// Reloads that somebody waits for.
const ORDERS_MAX: usize = 64;

/// Where a configuration is read from.
pub trait Source: Send + 'static {
    /// Reads it and the models it names, or says everything that is wrong.
    fn load(&self) -> Result<Loaded, Vec<String>>;

    /// Reads its hosts alone.
    fn hosts(&self) -> Result<Vec<HostSpec>, String>;

    /// Returns the files that it now depends on, those of models included, as far as it can be read.
    fn files(&self) -> Vec<PathBuf>;
}

/// Who wants a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trigger {
    Hangup,
    /// A file of the configuration, or of a model, is another.
    Files,
    Request,
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Applied,
    /// What is configured is what is served.
    Unchanged,
    /// What was served before still is.
    Rejected {
        reasons: Vec<String>,
    },
    Stopping,
}

struct Order {
    trigger: Trigger,
    done: Option<oneshot::Sender<Outcome>>,
}

/// Asks for reloads. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reloads(SyncSender<Order>);

/// What is served and can be stopped; `None` once it is being stopped.
type Running = Arc<Mutex<Option<Runtime>>>;

/// An epoch whose last requests are not over yet.
#[derive(Debug)]
struct Retiring {
    thread: JoinHandle<StopReport>,
    /// Its requests are not waited for any longer.
    now: Arc<AtomicBool>,
}

/// The epoch before the one of now, if its requests are not over yet.
#[derive(Debug, Clone, Default)]
struct LastEpoch(Arc<Mutex<Option<Retiring>>>);

/// The life of a served configuration: reloads on a thread of its own, and the stop.
pub(super) struct Lifecycle {
    reloads: Reloads,
    running: Running,
    retiring: LastEpoch,
    front: Option<watch::Receiver<Arc<Serving>>>,
    files: Arc<Mutex<Vec<PathBuf>>>,
}

struct Reloader<S> {
    source: S,
    part: Part,
    epoch: Epoch,
    running: Running,
    /// Where the gateway lives here.
    front: Option<watch::Sender<Arc<Serving>>>,
    files: Arc<Mutex<Vec<PathBuf>>>,
    retiring: LastEpoch,
}

impl Reloads {
    /// Asks for a reload. Where too many are asked for already, the last of those has what this one wants.
    pub(super) fn ask(&self, trigger: Trigger) {
        let order = Order {
            trigger,
            done: None,
        };
        let _ = self.0.try_send(order);
    }

    /// Asks for a reload and waits for what becomes of it.
    pub(super) async fn wait(&self, trigger: Trigger) -> Outcome {
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

impl Lifecycle {
    /// Takes over what runs. From now on it can be replaced.
    pub(super) fn start(runtime: Runtime, part: Part, source: impl Source) -> io::Result<Self> {
        let (orders, ordered) = sync_channel(ORDERS_MAX);
        let gateway = runtime.gateway().cloned();
        let (sender, receiver) = gateway
            .map(|gateway| watch::channel(Arc::new(Serving { gateway })))
            .unzip();
        let files = Arc::new(Mutex::new(files_of(&source, &runtime)));
        let running = Arc::new(Mutex::new(Some(runtime)));
        let retiring = LastEpoch::default();
        let reloader = Reloader {
            source,
            part,
            epoch: Epoch(1),
            running: running.clone(),
            front: sender,
            files: files.clone(),
            retiring: retiring.clone(),
        };
        telemetry::metrics::lifecycle().epoch.set(1);
        thread::Builder::new()
            .name("blockflow-reload".into())
            .spawn(move || reloader.run(&ordered))?;
        Ok(Self {
            reloads: Reloads(orders),
            running,
            retiring,
            front: receiver,
            files,
        })
    }

    pub(super) fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    /// Returns what tells the epoch of now, if the gateway lives here.
    pub(super) fn front(&self) -> Option<watch::Receiver<Arc<Serving>>> {
        self.front.clone()
    }

    /// Returns the files on which what is served depends, as they are at any time.
    pub(super) fn files(&self) -> Arc<Mutex<Vec<PathBuf>>> {
        self.files.clone()
    }

    /// Takes what runs, to stop it: no reload takes effect any more.
    pub(super) fn take(&self) -> Option<Runtime> {
        lock(&self.running).take()
    }

    /// Waits for the requests of an epoch that was replaced. Blocks the calling thread.
    pub(super) fn wait_retired(&self, deadline: Instant) {
        self.retiring.wait(Some(deadline));
    }

    /// Ends an epoch that was replaced; what is left of its requests is answered with a refusal. Blocks the calling thread.
    pub(super) fn end_retired(&self) -> StopReport {
        if let Some(retiring) = lock(&self.retiring.0).as_ref() {
            retiring.now.store(true, Ordering::Release);
        }
        self.retiring.join()
    }
}

impl LastEpoch {
    /// Waits for its requests.
    fn wait(&self, deadline: Option<Instant>) {
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
    fn join(&self) -> StopReport {
        let retiring = lock(&self.0).take();
        let nothing = StopReport {
            threads_ended: true,
            ..StopReport::default()
        };
        retiring.map_or(nothing, |retiring| {
            retiring.thread.join().unwrap_or_default()
        })
    }
}

impl<S: Source> Reloader<S> {
    fn run(mut self, ordered: &Receiver<Order>) {
        for Order { trigger, done } in ordered {
            let reloaded = fenced(|| self.reload(trigger));
            let outcome = reloaded.unwrap_or_else(|panic| {
                let reasons = vec![format!("the reload panicked: {panic}")];
                rejected(reasons, Duration::ZERO)
            });
            if outcome == Outcome::Stopping {
                return;
            }
            if let Some(done) = done {
                // Whoever asked may be gone.
                let _ = done.send(outcome);
            }
        }
    }

    fn reload(&mut self, trigger: Trigger) -> Outcome {
        debug!(?trigger, "reload");
        let started = Instant::now();
        let applied = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) if runtime.has_hosts() => Err(runtime.keys().clone()),
            Some(runtime) => Ok(runtime.known().clone()),
        };
        let outcome = match applied {
            Err(keys) => return self.renew_keys(trigger, &keys),
            Ok(known) => self.apply(&known),
        };
        match outcome {
            Outcome::Unchanged => debug!("what is configured is what is served"),
            Outcome::Rejected { reasons } => {
                self.watch_also();
                return rejected(reasons, started.elapsed());
            }
            Outcome::Applied | Outcome::Stopping => {}
        }
        outcome
    }

    /// What was rejected may be served once another of its files is there, or whole.
    fn watch_also(&self) {
        if let Some(runtime) = lock(&self.running).as_ref() {
            *lock(&self.files) = files_of(&self.source, runtime);
        }
    }

    /// Where several hosts have to agree, only keys can be replaced.
    fn renew_keys(&self, trigger: Trigger, keys: &Keys) -> Outcome {
        if trigger != Trigger::Hangup {
            let cause = "a configuration of several hosts takes new keys while it runs, and nothing else: start each host again";
            return rejected(vec![cause.to_owned()], Duration::ZERO);
        }
        match self.source.hosts() {
            Ok(hosts) => renew(keys, &hosts),
            Err(problems) => error!(problems, "keys stay as they were"),
        }
        Outcome::Unchanged
    }

    fn apply(&mut self, known: &Known) -> Outcome {
        let started = Instant::now();
        let rejected = |reason: String| Outcome::Rejected {
            reasons: vec![reason],
        };
        let mut loaded = match fenced(|| self.source.load()) {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(reasons)) => return Outcome::Rejected { reasons },
            Err(panic) => return rejected(format!("reading the models panicked: {panic}")),
        };
        let contents = loaded.contents();
        let new = Side {
            plan: &loaded.plan,
            log: &loaded.spec.log,
            contents: &contents,
        };
        let (diff, drain) = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) => {
                let old = runtime.side();
                (Diff::between(old, new), old.plan.deadline_max())
            }
        };
        if diff.is_empty() {
            return Outcome::Unchanged;
        }
        if let Some(reason) = fixed(&diff) {
            return rejected(reason);
        }
        // It stays where a stop finds it meanwhile.
        self.retiring.wait(None);
        self.retiring.join();
        let epoch = Epoch(self.epoch.0 + 1);
        loaded.plan.epoch = epoch;
        let log = loaded.spec.log.clone();
        let names = names(&loaded.plan);
        let runtime =
            match fenced(|| Runtime::start_knowing(loaded, self.part.clone(), Some(known))) {
                Ok(Ok(runtime)) => runtime,
                Ok(Err(error)) => return rejected(error.to_string()),
                Err(panic) => {
                    return rejected(format!("a block panicked while it was prepared: {panic}"));
                }
            };
        let prepared = started.elapsed();
        let Some((old, serving)) = self.switch(runtime) else {
            return Outcome::Stopping;
        };
        self.epoch = epoch;
        if let Err(error) = telemetry::set_filter(&log.filter) {
            warn!(%error, "the log stays as it was");
        }
        EpochApplied {
            epoch,
            changes: &diff.to_string(),
            prepared,
        }
        .emit();
        self.retire(old, serving, drain, names);
        Outcome::Applied
    }

    /// Lets requests begin with another epoch from now on. Returns what they began with before, unless everything is being
    /// stopped.
    fn switch(&mut self, runtime: Runtime) -> Option<(Runtime, Option<Arc<Serving>>)> {
        let files = files_of(&self.source, &runtime);
        let gateway = runtime.gateway().cloned();
        let mut running = lock(&self.running);
        let Some(current) = running.as_mut() else {
            drop(running);
            runtime.stop(Duration::ZERO);
            return None;
        };
        let old = std::mem::replace(current, runtime);
        let now = gateway.zip(self.front.as_ref());
        let serving = now.map(|(gateway, front)| front.send_replace(Arc::new(Serving { gateway })));
        drop(running);
        *lock(&self.files) = files;
        Some((old, serving))
    }

    /// Ends an epoch once its requests are over, in the background. From then on only `names` are counted.
    fn retire(
        &mut self,
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
            report
        };
        match thread::Builder::new()
            .name("blockflow-retire".into())
            .spawn(retire)
        {
            Ok(thread) => *lock(&self.retiring.0) = Some(Retiring { thread, now }),
            Err(error) => error!(%error, "no thread to wait for the requests of the old epoch"),
        }
    }
}

/// Returns the files of what is configured and of what runs.
fn files_of(source: &impl Source, runtime: &Runtime) -> Vec<PathBuf> {
    let mut files = source.files();
    files.extend(runtime.files().iter().cloned());
    files
}

/// Returns the names of blocks and pipelines.
fn names(plan: &Plan) -> (Vec<String>, Vec<String>) {
    let blocks = plan.blocks.iter().map(|block| block.spec.name.clone());
    let pipelines = plan.pipelines.iter().map(|pipeline| pipeline.name.clone());
    (blocks.collect(), pipelines.collect())
}

fn rejected(reasons: Vec<String>, took: Duration) -> Outcome {
    EpochRejected {
        reasons: &reasons,
        took,
    }
    .emit();
    Outcome::Rejected { reasons }
}

/// Says what a running program cannot change.
fn fixed(diff: &Diff) -> Option<String> {
    let values: Vec<_> = diff.fixed.iter().map(ToString::to_string).collect();
    let all = values.join(", ");
    (!values.is_empty())
        .then(|| format!("cannot be changed while running: {all}; start again for that"))
}

/// Runs something that may panic; returns what it said then.
fn fenced<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panic_message(&*panic).to_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
