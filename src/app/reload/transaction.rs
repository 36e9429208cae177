//! One reload after the other: read, compared, prepared, switched.

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
use crate::app::worker::renew;
use crate::app::{Part, Runtime, memory};
use crate::engine::set_devices;
use crate::plan::{Diff, Plan, Side};
use crate::telemetry::metrics::Names;
use crate::telemetry::{self, EpochApplied, EpochRejected, Event};
use crate::types::{Epoch, LogSpec, panic_message};

use super::ask::{Order, Outcome, Trigger};
use super::lifecycle::{Running, lock};
use super::retired::LastEpoch;
use super::source::{Source, files_of};

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
}

impl<S: Source> Reloader<S> {
    pub(super) fn run(mut self, ordered: &Receiver<Order>) {
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
            Ok(known) => self.apply(known),
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

    fn apply(&mut self, known: Known) -> Outcome {
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
        let passage = match self.passage(&loaded, &known) {
            Ok(passage) => passage,
            Err(reasons) => return Outcome::Rejected { reasons },
        };
        if !passage.overlaps() {
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
        let runtime =
            match fenced(|| Runtime::start_knowing(loaded, self.part.clone(), Some(&known))) {
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

    /// Lets requests begin with another epoch from now on. Returns what they began with before, unless everything is being
    /// stopped.
    pub(super) fn switch(&mut self, runtime: Runtime) -> Option<Replaced> {
        let files = files_of(&self.source, &runtime);
        let gateway = runtime.gateway().cloned();
        let mut running = lock(&self.running);
        let Some(current) = running.as_mut() else {
            drop(running);
            runtime.stop(Duration::ZERO);
            return None;
        };
        runtime.set_served(true);
        let old = std::mem::replace(current, runtime);
        old.set_served(false);
        let now = gateway.zip(self.front.as_ref());
        let serving = now.map(|(gateway, front)| {
            let hold = self.hold.clone();
            front.send_replace(Arc::new(Serving { gateway, hold }))
        });
        drop(running);
        *lock(&self.files) = files;
        Some((old, serving))
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
