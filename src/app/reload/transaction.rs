//! One reload after the other: read, compared, prepared, tried, switched, recorded.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, error, warn};

use crate::app::begin::restore;
use crate::app::control::Planned;
use crate::app::epoch::Serving;
use crate::app::history::{Journal, Record, Seen, Trigger};
use crate::app::hold::Hold;
use crate::app::prepared::Known;
use crate::app::runtime::Keys;
use crate::app::steps::Step;
use crate::app::worker::renew;
use crate::app::{Part, Runtime, memory};
use crate::engine::set_devices;
use crate::plan::{Diff, Plan};
use crate::sched::{Phase, Swap};
use crate::telemetry::metrics::Names;
use crate::telemetry::{self, EpochApplied, EpochRejected, Event};
use crate::types::{Epoch, LogSpec, Spec, lock, panic_message};

use super::ask::{Applied, Ask, Order, Outcome};
use super::candidate::Tried;
use super::lifecycle::Running;
use super::retired::LastEpoch;
use super::source::{Read, Source, files_of};
use super::standing::{Models, Standing};
use super::switch::Replaced;
use super::wanted::Present;

pub(super) struct Reloader<S> {
    pub source: S,
    pub part: Part,
    /// What is served.
    pub epoch: Epoch,
    /// The highest number that was given.
    pub last: Epoch,
    pub running: Running,
    /// Where the gateway lives here.
    pub front: Option<watch::Sender<Arc<Serving>>>,
    pub hold: Hold,
    pub files: Arc<Mutex<Vec<PathBuf>>>,
    pub retiring: LastEpoch,
    pub candidate: Tried,
    /// Came while something was tried, in that order.
    pub next: VecDeque<Order>,
    pub journal: Journal,
    /// What the epoch of now stands on.
    pub served: Standing,
    /// Pipelines that are configured and were unloaded.
    pub unloaded: Arc<Mutex<BTreeSet<String>>>,
}

/// A configuration that was read, on its way to be served.
struct Next {
    read: Read,
    standing: Standing,
    /// Files as they were before they were read.
    seen: Seen,
}

/// What is left to be told of an epoch once it is served.
struct New {
    epoch: Epoch,
    trigger: Trigger,
    log: LogSpec,
    names: Names,
    diff: Diff,
    standing: Standing,
    /// As configured, without what an operator has set over it.
    spec: Spec,
    models: Models,
    seen: Seen,
}

impl<S: Source> Reloader<S> {
    pub(super) fn run(mut self, ordered: &Receiver<Order>, first: Option<Box<Record>>) {
        if let Some(record) = first {
            // A reload that panicked is told; the record of the first epoch must not cost the reloads either.
            let _ = fenced(|| self.write(&record));
        }
        while let Some(Order { ask, done }) = self.next.pop_front().or_else(|| ordered.recv().ok())
        {
            let reloaded = fenced(|| self.answer(&ask, ordered));
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

    fn answer(&mut self, ask: &Ask, ordered: &Receiver<Order>) -> Outcome {
        debug!(?ask, "reload");
        let started = Instant::now();
        let (applied, pipelines) = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) if runtime.has_hosts() => (Err(runtime.keys().clone()), Vec::new()),
            Some(runtime) => (Ok(runtime.known().clone()), names(runtime.plan()).pipelines),
        };
        let known = match applied {
            Err(keys) => return self.renew_keys(ask, &keys),
            Ok(known) => known,
        };
        let present = Present {
            source: &self.source,
            journal: &mut self.journal,
            served: &self.served,
            epoch: self.epoch,
            pipelines,
        };
        let outcome = match present.wanted(ask) {
            Ok(standing) if *ask == Ask::Plan => return self.plan(&known, standing),
            Ok(standing) => self.apply(known, standing, ask.trigger(), ordered),
            Err(reason) => Outcome::rejected(reason),
        };
        let took = started.elapsed();
        if let Outcome::Rejected { .. } | Outcome::RolledBack { .. } = &outcome {
            self.watch_also();
            self.settle();
        }
        match outcome {
            Outcome::Rejected { reasons } => rejected(reasons, took),
            other => other,
        }
    }

    /// What was rejected may be served once another of the files that it names is there, or whole.
    fn watch_also(&self) {
        let files = self.source.files();
        if let Some(runtime) = lock(&self.running).as_ref() {
            *lock(&self.files) = files_of(files, runtime);
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
            if let Some(runtime) = lock(&self.running).as_ref() {
                telemetry::metrics::registry().keep_only(&names(runtime.plan()));
            }
        }
    }

    /// Where several hosts have to agree, only keys can be replaced.
    fn renew_keys(&self, ask: &Ask, keys: &Keys) -> Outcome {
        if *ask != Ask::Reload(Trigger::Hangup) {
            let cause = "a configuration of several hosts takes new keys while it runs, and nothing else: start each host again";
            if *ask == Ask::Plan {
                return Outcome::rejected(cause.to_owned());
            }
            return rejected(vec![cause.to_owned()], Duration::ZERO);
        }
        match self.source.spec() {
            Ok(spec) => renew(keys, &spec.hosts),
            Err(problems) => {
                let problems = problems.join("; ");
                error!(problems, "keys stay as they were");
            }
        }
        Outcome::Unchanged { epoch: self.epoch }
    }

    /// Reads what is to be served.
    fn read(&mut self, standing: Standing) -> Result<Next, Vec<String>> {
        let seen = Seen::now(self.source.files());
        let read = fenced(|| match &standing.base {
            Some(base) => restore(&self.source, &mut self.journal, base, &standing.overrides),
            None => self.source.load(&standing.overrides),
        });
        match read {
            Ok(Ok(read)) => Ok(Next {
                read,
                standing,
                seen,
            }),
            Ok(Err(reasons)) => Err(reasons),
            Err(panic) => Err(vec![format!("reading the models panicked: {panic}")]),
        }
    }

    fn plan(&mut self, known: &Known, standing: Standing) -> Outcome {
        let overrides = standing.overrides.clone();
        let next = match self.read(standing) {
            Ok(next) => next,
            Err(reasons) => {
                return Outcome::Planned(Box::new(Planned::refused(
                    self.epoch, reasons, overrides,
                )));
            }
        };
        let contents = next.read.loaded.contents();
        let new = next.read.loaded.side(&contents);
        let passage = self.passage(&next.read.loaded, known);
        let running = lock(&self.running);
        let Some(runtime) = running.as_ref() else {
            return Outcome::Stopping;
        };
        let diff = Diff::between(runtime.side(), new);
        let weights = [runtime.model_weights(), &next.read.loaded.weights()];
        let mut planned = Planned::of(self.epoch, &diff, new.plan, weights, overrides);
        planned.refused.extend(fixed(&diff));
        match passage {
            Ok(passage) => {
                let fits = passage.fits().iter();
                planned.devices = fits.map(ToString::to_string).collect();
            }
            Err(reasons) => planned.refused.extend(reasons),
        }
        Outcome::Planned(Box::new(planned))
    }

    fn apply(
        &mut self,
        known: Known,
        standing: Standing,
        trigger: Trigger,
        ordered: &Receiver<Order>,
    ) -> Outcome {
        let started = Instant::now();
        let Next {
            read: Read { mut loaded, spec },
            standing,
            seen,
        } = match self.read(standing) {
            Ok(next) => next,
            Err(reasons) => return Outcome::Rejected { reasons },
        };
        Step::Read.reached();
        let models = loaded.models();
        let contents = loaded.contents();
        let new = loaded.side(&contents);
        let (diff, drain) = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) => {
                let old = runtime.side();
                (Diff::between(old, new), old.plan.deadline_max())
            }
        };
        if diff.is_empty() {
            self.note(standing, (trigger, &spec, models), &seen);
            return Outcome::Unchanged { epoch: self.epoch };
        }
        Step::Compared.reached();
        if let Some(reason) = fixed(&diff) {
            return Outcome::rejected(reason);
        }
        // It stays where a stop finds it meanwhile.
        self.retiring.wait(None);
        self.retiring.join();
        let epoch = Epoch(self.last.0 + 1);
        loaded.plan.epoch = epoch;
        let new = New {
            epoch,
            trigger,
            log: loaded.spec.log.clone(),
            names: names(&loaded.plan),
            diff,
            standing,
            spec,
            models,
            seen,
        };
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
            return match self.exchange(loaded, known, &passage, drain) {
                Ok(replaced) => {
                    // Its requests are over.
                    let replaced = Replaced {
                        serving: None,
                        ..replaced
                    };
                    self.applied(new, replaced, Duration::ZERO, started.elapsed())
                }
                Err(outcome) => outcome,
            };
        }
        let mut swap = Swap::new(reload.clone());
        let started_beside = preparing(|| {
            let started = Runtime::start_beside(loaded, self.part.clone(), &known);
            started.map_err(|error| error.to_string())
        });
        let runtime = match started_beside {
            Ok(runtime) => runtime,
            Err(reason) => return Outcome::rejected(reason),
        };
        Step::Prepared.reached();
        let took = started.elapsed();
        swap.prepared();
        self.try_out(runtime, &reload, &mut swap, ordered);
        match swap.phase() {
            Phase::Switching => {}
            phase => return self.turn_back(epoch, phase, &swap, started.elapsed()),
        }
        let Some(replaced) = self.switch_to_candidate() else {
            return Outcome::Stopping;
        };
        swap.switched();
        drop(known);
        self.applied(new, replaced, drain, took)
    }

    /// Goes on from the switch. `drain` is what requests of the old epoch may take.
    fn applied(
        &mut self,
        new: New,
        replaced: Replaced,
        drain: Duration,
        took: Duration,
    ) -> Outcome {
        Step::Switched.reached();
        let New {
            epoch,
            trigger,
            log,
            names,
            diff,
            standing,
            spec,
            models,
            seen,
        } = new;
        // At once: a stop waits for what it finds there.
        let running = self.running.clone();
        self.retiring.retire(
            replaced.runtime,
            replaced.serving,
            drain,
            names,
            move || check_leaks(&running),
        );
        (self.epoch, self.last) = (epoch, epoch);
        self.stands_on(standing, &spec);
        if let Err(error) = telemetry::set_filter(&log.filter) {
            warn!(%error, "the log stays as it was");
        }
        EpochApplied {
            epoch,
            changes: &diff.to_string(),
            prepared: took,
            switched: replaced.took,
        }
        .emit();
        let record = self.record((trigger, &spec, models), &seen);
        let changes = diff.lines();
        let unrecorded = self.write(&record.changed(&changes));
        Step::Recorded.reached();
        Outcome::Applied(Applied {
            epoch,
            changes,
            took,
            unrecorded,
        })
    }
}

/// Tells what outlived its block, once it has had a moment to go.
pub(super) fn check_leaks(running: &Running) {
    let live = match lock(running).as_ref() {
        None => return,
        Some(runtime) => runtime.tenants().clone(),
    };
    memory::watch_leaks(&live);
}

/// Returns the names by which a configuration is counted.
pub(super) fn names(plan: &Plan) -> Names {
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

/// Makes blocks, which may panic.
pub(super) fn preparing<T>(make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let made = fenced(make);
    made.unwrap_or_else(|panic| Err(format!("a block panicked while it was prepared: {panic}")))
}

/// Runs something that may panic; returns what it said then.
pub(super) fn fenced<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| panic_message(&*panic).to_owned())
}
