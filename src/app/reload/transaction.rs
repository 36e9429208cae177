//! One reload after the other: read, compared, prepared, switched.

use std::collections::BTreeSet;
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
use crate::app::runtime::{Keys, Known};
use crate::app::steps::Step;
use crate::app::worker::renew;
use crate::app::{Part, Runtime};
use crate::plan::{Diff, Plan};
use crate::telemetry::{self, EpochApplied, EpochRejected, EpochUnrecorded, Event};
use crate::types::{Epoch, Spec, panic_message};

use super::ask::{Applied, Ask, Order, Outcome};
use super::lifecycle::{Running, lock};
use super::retired::LastEpoch;
use super::source::{Read, Source, files_of};
use super::standing::{Models, Standing};
use super::wanted::Present;

pub(super) struct Reloader<S> {
    pub source: S,
    pub part: Part,
    pub epoch: Epoch,
    pub running: Running,
    /// Where the gateway lives here.
    pub front: Option<watch::Sender<Arc<Serving>>>,
    pub files: Arc<Mutex<Vec<PathBuf>>>,
    pub retiring: LastEpoch,
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

impl<S: Source> Reloader<S> {
    pub(super) fn run(mut self, ordered: &Receiver<Order>, first: Option<Box<Record>>) {
        if let Some(record) = first {
            // A reload that panicked is told; the record of the first epoch must not cost the reloads either.
            let _ = fenced(|| self.write(&record));
        }
        for Order { ask, done } in ordered {
            let reloaded = fenced(|| self.answer(&ask));
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

    fn answer(&mut self, ask: &Ask) -> Outcome {
        debug!(?ask, "reload");
        let started = Instant::now();
        let (applied, pipelines) = match lock(&self.running).as_ref() {
            None => return Outcome::Stopping,
            Some(runtime) if runtime.has_hosts() => (Err(runtime.keys().clone()), Vec::new()),
            Some(runtime) => (Ok(runtime.known().clone()), names(runtime.plan()).1),
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
            Ok(standing) if *ask == Ask::Plan => return self.plan(standing),
            Ok(standing) => self.apply(&known, standing, ask.trigger()),
            Err(reason) => Outcome::rejected(reason),
        };
        match outcome {
            Outcome::Unchanged { .. } => debug!("what is wanted is what is served"),
            Outcome::Rejected { reasons } => {
                self.watch_also();
                return rejected(reasons, started.elapsed());
            }
            Outcome::Applied(_) | Outcome::Planned(_) | Outcome::Stopping => {}
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
    fn renew_keys(&self, ask: &Ask, keys: &Keys) -> Outcome {
        if *ask != Ask::Reload(Trigger::Hangup) {
            let cause = "a configuration of several hosts takes new keys while it runs, and nothing else: start each host again";
            return rejected(vec![cause.to_owned()], Duration::ZERO);
        }
        match self.source.hosts() {
            Ok(hosts) => renew(keys, &hosts),
            Err(problems) => error!(problems, "keys stay as they were"),
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

    fn plan(&mut self, standing: Standing) -> Outcome {
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
        let running = lock(&self.running);
        let Some(runtime) = running.as_ref() else {
            return Outcome::Stopping;
        };
        let diff = Diff::between(runtime.side(), new);
        let weights = [runtime.model_weights(), &next.read.loaded.weights()];
        let mut planned = Planned::of(self.epoch, &diff, new.plan, weights, overrides);
        planned.refused.extend(fixed(&diff));
        Outcome::Planned(Box::new(planned))
    }

    fn apply(&mut self, known: &Known, standing: Standing, trigger: Trigger) -> Outcome {
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
        let epoch = Epoch(self.epoch.0 + 1);
        loaded.plan.epoch = epoch;
        let log = loaded.spec.log.clone();
        let names = names(&loaded.plan);
        let runtime =
            match fenced(|| Runtime::start_knowing(loaded, self.part.clone(), Some(known))) {
                Ok(Ok(runtime)) => runtime,
                Ok(Err(error)) => return Outcome::rejected(error.to_string()),
                Err(panic) => {
                    let cause = format!("a block panicked while it was prepared: {panic}");
                    return Outcome::rejected(cause);
                }
            };
        Step::Prepared.reached();
        let took = started.elapsed();
        let Some((old, serving)) = self.switch(runtime) else {
            return Outcome::Stopping;
        };
        Step::Switched.reached();
        self.epoch = epoch;
        self.stands_on(standing, &spec);
        if let Err(error) = telemetry::set_filter(&log.filter) {
            warn!(%error, "the log stays as it was");
        }
        EpochApplied {
            epoch,
            changes: &diff.to_string(),
            prepared: took,
        }
        .emit();
        self.retiring.retire(old, serving, drain, names);
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

    /// Makes the record of the epoch of now.
    fn record(&mut self, configured: (Trigger, &Spec, Models), seen: &Seen) -> Record {
        let path = self.source.path();
        let record = self
            .served
            .record(&mut self.journal, path, configured, seen);
        record.numbered(self.epoch.0)
    }

    /// Writes a record; whatever prevents that does not concern what is served. Returns it.
    fn write(&mut self, record: &Record) -> Option<String> {
        self.journal.place().ok()?;
        let cause = self.journal.write(record).err()?.to_string();
        EpochUnrecorded {
            epoch: Epoch(record.epoch),
            cause: &cause,
        }
        .emit();
        Some(cause)
    }

    /// Keeps in mind what the epoch of now stands on, where that is not what it stood on before.
    fn note(&mut self, standing: Standing, configured: (Trigger, &Spec, Models), seen: &Seen) {
        let same = |one: &Option<Box<Record>>| one.as_ref().map(|record| record.epoch);
        if standing.overrides == self.served.overrides
            && same(&standing.base) == same(&self.served.base)
        {
            return;
        }
        self.stands_on(standing, configured.1);
        let mut record = self.record(configured, seen);
        let records = self.journal.recorded_aloud().records;
        if let Some(before) = records.into_iter().find(|one| one.epoch == record.epoch) {
            // It is the same epoch still, however it came about.
            (record.trigger, record.changes) = (before.trigger, before.changes);
            record.time_ms = before.time_ms;
        }
        self.write(&record);
    }

    fn stands_on(&mut self, standing: Standing, spec: &Spec) {
        self.served = standing;
        let Standing { overrides, base } = &self.served;
        let previous = base.is_some() && overrides.rollback.is_none();
        telemetry::metrics::lifecycle()
            .previous
            .set(previous.into());
        let configured = spec.pipelines.iter().map(|pipeline| &pipeline.name);
        let unloaded = &overrides.unloaded;
        let shown = configured.filter(|name| unloaded.contains(*name)).cloned();
        *lock(&self.unloaded) = shown.collect();
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
