//! An epoch that is prepared is tried, takes over, or is taken back.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::actors::PipelineState;
use crate::app::Runtime;
use crate::app::epoch::Serving;
use crate::app::trial::try_out;
use crate::sched::{Phase, Swap};
use crate::telemetry::{EpochRolledBack, Event};
use crate::types::{Epoch, ReloadSpec, lock};

use super::ask::{Ask, ORDERS_MAX, Order, Outcome};
use super::candidate::Candidate;
use super::source::{Source, files_of};
use super::transaction::{Reloader, check_leaks, fenced, names};

const STOPPING: &str = "the server is stopping";

/// What was served before.
pub(super) struct Replaced {
    pub runtime: Runtime,
    /// Where its requests find it, if they come in here.
    pub serving: Option<Arc<Serving>>,
    /// How long the switch took.
    pub took: Duration,
}

impl<S: Source> Reloader<S> {
    /// Tries an epoch that is prepared, as far as it is to be tried. From now on a stop finds it.
    pub(super) fn try_out(
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
            while next.len() < ORDERS_MAX
                && let Ok(order) = ordered.try_recv()
            {
                next.push_back(order);
            }
            if lock(running).is_none() {
                return Some(STOPPING.to_owned());
            }
            let again = "another reload was asked for before it was over";
            // Who only asks what a reload would do can wait for that.
            let asked = next.iter().any(|order| order.ask != Ask::Plan);
            asked.then(|| again.to_owned())
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
        if swap.phase() == Phase::Switching
            && let Some(reason) = obstacle(&new)
        {
            swap.stop(reason);
        }
    }

    /// Ends an epoch that does not take over, unless a stop has done that.
    pub(super) fn turn_back(
        &mut self,
        epoch: Epoch,
        phase: Phase,
        swap: &Swap,
        took: Duration,
    ) -> Outcome {
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
        self.last = epoch;
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
    pub(super) fn switch_to_candidate(&mut self) -> Option<Replaced> {
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
        let started = Instant::now();
        runtime.set_served(true);
        let old = std::mem::replace(current, runtime);
        old.set_served(false);
        let now = serving.zip(self.front.as_ref());
        let replaced = now.map(|(serving, front)| front.send_replace(serving));
        let took = started.elapsed();
        *lock(&self.files) = files_of(self.source.files(), current);
        Replaced {
            runtime: old,
            serving: replaced,
            took,
        }
    }
}

/// Says what keeps a pipeline of an epoch from being served.
fn obstacle(serving: &Serving) -> Option<String> {
    let gateway = &serving.gateway;
    (0..gateway.pipelines().len()).find_map(|pipeline| match gateway.state(pipeline) {
        PipelineState::Ready => None,
        PipelineState::NotReady { reason } => Some(reason),
    })
}
