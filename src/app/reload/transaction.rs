//! One reload after the other: read, compared, prepared, tried, switched.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, error, warn};

use crate::app::epoch::Serving;
use crate::app::hold::Hold;
use crate::app::runtime::{Keys, Known};
use crate::app::trial::try_out;
use crate::app::worker::renew;
use crate::app::{Part, Runtime, memory};
use crate::engine::set_devices;
use crate::plan::{Diff, Plan, Side};
use crate::sched::{Phase, Swap};
use crate::telemetry::metrics::Names;
use crate::telemetry::{self, EpochApplied, EpochRejected, EpochRolledBack, Event};
use crate::types::{Epoch, LogSpec, ReloadSpec, panic_message};

use super::ask::{Order, Outcome, Trigger};
use super::candidate::{Candidate, Tried};
use super::lifecycle::{Running, lock};
use super::retired::LastEpoch;
use super::source::{Source, files_of};

const STOPPING: &str = "the server is stopping";

pub(super) struct Reloader<S> {
    pub source: S,
    pub part: Part,
    pub epoch: Epoch,
    pub running: Running,
    /// Where the gateway lives here.
    pub front: Option<watch::Sender<Arc<Serving>>>,
    pub hold: Hold,
    pub files: Arc<Mutex<Vec<PathBuf>>>,
    pub retiring: LastEpoch,
    pub candidate: Tried,
    /// Came while something was tried.
    pub next: Option<Order>,
}

impl<S: Source> Reloader<S> {
    pub(super) fn run(mut self, ordered: &Receiver<Order>) {
        while let Some(Order { trigger, done }) = self.next.take().or_else(|| ordered.recv().ok()) {
            let reloaded = fenced(|| self.reload(trigger, ordered));
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

    fn reload(&mut self, trigger: Trigger, ordered: &Receiver<Order>) -> Outcome {
        debug!(?trigger, "reload");
        let started = Instant::now();
        let applied = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) if runtime.has_hosts() => Err(runtime.keys().clone()),
            Some(runtime) => Ok(runtime.known().clone()),
        };
        let outcome = match applied {
            Err(keys) => return self.renew_keys(trigger, &keys),
            Ok(known) => self.apply(known, ordered),
        };
        match outcome {
            Outcome::Unchanged => debug!("what is configured is what is served"),
            Outcome::Rejected { reasons } => {
                self.watch_also();
                self.settle();
                return rejected(reasons, started.elapsed());
            }
            Outcome::RolledBack { .. } => {
                self.watch_also();
                self.settle();
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

    /// Devices are again as what is served has them, and nothing is left of what is not.
    fn settle(&self) {
        if let Some(runtime) = lock(&self.running).as_ref() {
            set_devices(runtime.devices());
        }
        // What drains still may hold what it likes.
        if self.retiring.is_over() {
            check_leaks(&self.running);
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

    fn apply(&mut self, known: Known, ordered: &Receiver<Order>) -> Outcome {
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
        let reload = loaded.plan.reload.clone();
        let passage = match self.passage(&loaded, &known) {
            Ok(passage) => passage,
            Err(reasons) => return Outcome::Rejected { reasons },
        };
        if !passage.overlaps() {
            if reload.is_trial() {
                warn!(
                    "there is no room for both configurations, so the new one is not tried on requests first"
                );
            }
            let exchanged = self.exchange(loaded, known, &passage, drain);
            let applied = Applied {
                epoch,
                log,
                changes: diff.to_string(),
                prepared: started.elapsed(),
            };
            return match exchanged {
                // Its requests are over.
                Ok((old, _)) => self.applied(applied, (old, None), Duration::ZERO, names),
                Err(outcome) => outcome,
            };
        }
        let mut swap = Swap::new(reload.clone());
        let runtime =
            match fenced(|| Runtime::start_knowing(loaded, self.part.clone(), Some(&known))) {
                Ok(Ok(runtime)) => runtime,
                Ok(Err(error)) => return rejected(error.to_string()),
                Err(panic) => {
                    return rejected(format!("a block panicked while it was prepared: {panic}"));
                }
            };
        let prepared = started.elapsed();
        swap.prepared();
        self.try_out(runtime, &reload, &mut swap, ordered);
        match swap.phase() {
            Phase::Switching => {}
            phase => return self.turn_back(epoch, phase, &swap, started.elapsed()),
        }
        let Some((old, serving)) = self.switch_to_candidate() else {
            return Outcome::Stopping;
        };
        swap.switched();
        drop(known);
        let applied = Applied {
            epoch,
            log,
            changes: diff.to_string(),
            prepared,
        };
        self.applied(applied, (old, serving), drain, names)
    }

    /// Goes on from the switch. `drain` is what requests of the old epoch may take.
    fn applied(
        &mut self,
        applied: Applied,
        (old, serving): Replaced,
        drain: Duration,
        names: Names,
    ) -> Outcome {
        let Applied {
            epoch,
            log,
            changes,
            prepared,
        } = applied;
        self.epoch = epoch;
        if let Err(error) = telemetry::set_filter(&log.filter) {
            warn!(%error, "the log stays as it was");
        }
        EpochApplied {
            epoch,
            changes: &changes,
            prepared,
        }
        .emit();
        let running = self.running.clone();
        self.retiring
            .retire(old, serving, drain, names, move || check_leaks(&running));
        Outcome::Applied
    }

    /// Tries an epoch that is prepared, as far as it is to be tried. From now on a stop finds it.
    fn try_out(
        &mut self,
        runtime: Runtime,
        reload: &ReloadSpec,
        swap: &mut Swap,
        ordered: &Receiver<Order>,
    ) {
        let epoch = runtime.epoch();
        let serving = self.serving_of(&runtime);
        let old = self.front.as_ref().map(|front| front.borrow().clone());
        let running = lock(&self.running);
        let Some(served) = running.as_ref() else {
            drop(running);
            runtime.stop(Duration::ZERO);
            swap.stop(STOPPING);
            return;
        };
        *lock(&self.candidate) = Some(Candidate {
            drain: runtime.side().plan.deadline_max(),
            runtime,
            serving: serving.clone(),
            names: names(served.side().plan),
        });
        drop(running);
        let (Some(old), Some(new), true) = (old, serving, reload.is_trial()) else {
            swap.begin(Instant::now(), false);
            return;
        };
        let (running, next) = (&self.running, &mut self.next);
        let stop = || {
            if next.is_none() {
                *next = ordered.try_recv().ok();
            }
            if lock(running).is_none() {
                return Some(STOPPING.to_owned());
            }
            let again = "another reload was asked for before it was over";
            next.as_ref().map(|_| again.to_owned())
        };
        match fenced(|| try_out([&old, &new], epoch, reload, swap, stop)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                swap.stop(format!("it cannot be tried: {error}"));
            }
            Err(panic) => {
                swap.stop(format!("the trial panicked: {panic}"));
            }
        }
    }

    /// Ends an epoch that does not take over, unless a stop has done that.
    fn turn_back(&mut self, epoch: Epoch, phase: Phase, swap: &Swap, took: Duration) -> Outcome {
        let running = lock(&self.running);
        let Some(old) = running.as_ref() else {
            return Outcome::Stopping;
        };
        let candidate = lock(&self.candidate).take();
        old.restate();
        drop(running);
        if let Some(candidate) = candidate {
            let running = self.running.clone();
            candidate.end(&self.retiring, move || check_leaks(&running));
        }
        let reasons = swap.reasons().to_vec();
        if phase != Phase::RolledBack {
            return Outcome::Rejected { reasons };
        }
        // Its number was seen by requests.
        self.epoch = epoch;
        EpochRolledBack {
            epoch,
            reasons: &reasons,
            took,
            pause: None,
        }
        .emit();
        Outcome::RolledBack { reasons }
    }

    fn serving_of(&self, runtime: &Runtime) -> Option<Arc<Serving>> {
        let gateway = runtime.gateway().cloned()?;
        Some(Arc::new(Serving::new(gateway, self.hold.clone())))
    }

    /// Lets requests begin with another epoch from now on. Returns what they began with before, unless everything is being
    /// stopped.
    pub(super) fn switch(&mut self, runtime: Runtime) -> Option<Replaced> {
        let serving = self.serving_of(&runtime);
        let mut running = lock(&self.running);
        let Some(current) = running.as_mut() else {
            drop(running);
            runtime.stop(Duration::ZERO);
            return None;
        };
        Some(self.replace(current, runtime, serving))
    }

    /// Does the same with the epoch that was tried.
    fn switch_to_candidate(&mut self) -> Option<Replaced> {
        let mut running = lock(&self.running);
        let current = running.as_mut()?;
        let Candidate {
            runtime, serving, ..
        } = lock(&self.candidate).take()?;
        Some(self.replace(current, runtime, serving))
    }

    fn replace(
        &self,
        current: &mut Runtime,
        runtime: Runtime,
        serving: Option<Arc<Serving>>,
    ) -> Replaced {
        runtime.set_served(true);
        let old = std::mem::replace(current, runtime);
        old.set_served(false);
        let now = serving.zip(self.front.as_ref());
        let replaced = now.map(|(serving, front)| front.send_replace(serving));
        *lock(&self.files) = files_of(&self.source, current);
        (old, replaced)
    }
}

/// What was served before, and where its requests find it.
pub(super) type Replaced = (Runtime, Option<Arc<Serving>>);

/// What is told of an epoch that is served now.
struct Applied {
    epoch: Epoch,
    log: LogSpec,
    changes: String,
    /// Reading, preparing and warming.
    prepared: Duration,
}

/// Tells what outlived its block, once it has had a moment to go.
fn check_leaks(running: &Running) {
    let live = match lock(running).as_ref() {
        None => return,
        Some(runtime) => runtime.tenants().clone(),
    };
    memory::watch_leaks(&live);
}

/// Returns the names by which a configuration is counted.
fn names(plan: &Plan) -> Names {
    let blocks = plan.blocks.iter();
    let pipelines = plan.pipelines.iter();
    Names {
        processes: blocks
            .clone()
            .map(|block| block.placement.process.clone())
            .collect(),
        blocks: blocks.map(|block| block.spec.name.clone()).collect(),
        pipelines: pipelines.map(|pipeline| pipeline.name.clone()).collect(),
    }
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
pub(super) fn fenced<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panic_message(&*panic).to_owned())
}
