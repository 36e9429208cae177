//! One configuration goes before the next comes, where memory does not allow both. Requests wait meanwhile.
//!
//! ```text
//! way back secured ─▶ made on the host ─▶ requests held ─▶ the old drains and goes ─▶ the new comes ─▶ requests go on
//!        │                  │                                                             │
//!        ▼                  ▼                                                             ▼
//!     rejected           rejected                                        the old comes again: rolled back
//! ```
//!
//! Nothing goes before it is certain that it can come again: a block that waits on the host meanwhile can, and another one if
//! its files still are what they were.

use std::time::{Duration, Instant};

use tracing::{error, warn};

use crate::actors::Gateway;
use crate::app::hold::Held;
use crate::app::load::Loaded;
use crate::app::prepared::{Known, seat};
use crate::app::steps::Step;
use crate::app::{Runtime, StartError, memory};
use crate::engine::{Prepared, Staged, set_devices, stage};
use crate::graph::Digest;
use crate::plan::{Fit, Misfit, Need, Strategy, fit, overall};
use crate::telemetry::{EpochExchanged, EpochRolledBack, Event};
use crate::types::{Device, Epoch, Failure, FailureKind, lock};

use super::ask::Outcome;
use super::source::Source;
use super::switch::Replaced;
use super::transaction::{Reloader, preparing};

/// How long the requests of the old epoch may go on past the longest deadline.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);
/// How often it is looked whether everything is being stopped.
const STOP_POLL: Duration = Duration::from_millis(20);

/// How one configuration takes the place of another, and what both need.
#[derive(Debug, Default)]
pub(super) struct Passage {
    fits: Vec<Fit>,
    old: Vec<Need>,
    new: Vec<Need>,
}

/// Blocks of the old epoch, parted by what becomes of them; those that are in neither part are gone.
struct Parted {
    /// They are in the new one too.
    kept: Known,
    /// They wait for what becomes of the new one.
    waiting: Known,
}

impl Passage {
    /// Returns what is done on each device, and what it holds on the way; none: nothing is bounded.
    pub(super) fn fits(&self) -> &[Fit] {
        &self.fits
    }

    /// Tells whether both are there for a while.
    pub(super) fn overlaps(&self) -> bool {
        overall(&self.fits) == Strategy::Overlap
    }

    fn strategy(&self, device: Device) -> Strategy {
        let mut fits = self.fits.iter();
        let fit = fits.find(|fit| fit.device == device);
        fit.map_or(Strategy::Overlap, |fit| fit.strategy)
    }

    fn stays(&self, identity: Digest) -> bool {
        let mut new = self.new.iter();
        new.any(|need| need.identity == identity && need.is_in_main())
    }

    /// Tells whether a block of the old epoch has to be read again to come back.
    fn is_lost(&self, need: &Need) -> bool {
        let evicted = self.strategy(need.device) == Strategy::EvictFirst;
        !need.is_in_main() || (evicted && !self.stays(need.identity))
    }

    /// Parts what the old epoch knows. What is to wait on the host is brought there.
    fn part(&self, known: Known) -> Parted {
        let (kept, gone): (Known, Known) = known
            .into_iter()
            .partition(|(identity, _)| self.stays(*identity));
        let mut waiting = Known::new();
        for (identity, prepared) in gone {
            let mut old = self.old.iter();
            let device = old.find(|need| need.identity == identity);
            match device.map(|need| self.strategy(need.device)) {
                Some(Strategy::EvictFirst) | None => continue,
                Some(Strategy::Overlap) => {}
                Some(Strategy::StageOnHost) => move_to(&*prepared, Device::Cpu),
            }
            waiting.insert(identity, prepared);
        }
        Parted { kept, waiting }
    }

    /// Returns all that was known before, with what waited where it was.
    fn unpart(&self, parted: Parted) -> Known {
        let Parted { mut kept, waiting } = parted;
        for (identity, prepared) in waiting {
            let mut old = self.old.iter();
            if let Some(need) = old.find(|need| need.identity == identity) {
                move_to(&*prepared, need.device);
            }
            kept.insert(identity, prepared);
        }
        kept
    }
}

fn move_to(prepared: &dyn Prepared, device: Device) {
    if let Err(error) = prepared.move_to(device) {
        warn!(%error, %device, "a block stays where it is");
    }
}

impl<S: Source> Reloader<S> {
    /// Decides how another configuration takes the place of the one of now, or says why it cannot. Without a limit there is
    /// nothing to decide.
    pub(super) fn passage(&self, loaded: &Loaded, known: &Known) -> Result<Passage, Vec<String>> {
        let devices = &loaded.plan.devices;
        if devices.iter().all(|spec| spec.memory_bytes.is_none()) {
            return Ok(Passage::default());
        }
        let old = lock(&self.running).as_ref().map(Runtime::needs);
        let old = old.unwrap_or_default();
        let contents = loaded.contents();
        let new = memory::needs(&loaded.plan, &contents, known, |block| {
            loaded.estimate(block)
        });
        let told = |misfits: Vec<Misfit>| {
            let misfits = misfits.iter().map(ToString::to_string);
            misfits.collect::<Vec<_>>()
        };
        let fits = fit(&old, &new, devices).map_err(told)?;
        Ok(Passage { fits, old, new })
    }

    /// Has a configuration take the place of the one of now, which goes first. `drain` is what its requests may take.
    pub(super) fn exchange(
        &mut self,
        loaded: Loaded,
        known: Known,
        passage: &Passage,
        drain: Duration,
    ) -> Result<Replaced, Outcome> {
        let back = self
            .way_back(passage)
            .map_err(|reasons| Outcome::Rejected { reasons })?;
        let staged = preparing(|| staged(&loaded, &known, passage)).map_err(Outcome::rejected)?;
        let gateway = match lock(&self.running).as_ref() {
            None => return Err(Outcome::Stopping),
            Some(runtime) => runtime.gateway().cloned(),
        };
        let gateway = gateway
            .ok_or_else(|| Outcome::rejected("requests come in elsewhere, and cannot wait"))?;
        let epoch = loaded.plan.epoch;
        let held = self.hold.begin(loaded.plan.limits.in_flight_max);
        if let Some(front) = &self.front {
            front.borrow().leave();
        }
        if self.end(&gateway, drain).is_none() {
            return Err(stopping(held));
        }
        let parted = passage.part(known);
        set_devices(&loaded.plan.devices);
        let runtime = match preparing(|| self.come(loaded, &parted.kept, staged)) {
            Ok(runtime) => runtime,
            Err(reason) => return Err(self.go_back((epoch, back), parted, passage, held, reason)),
        };
        drop(parted);
        Step::Prepared.reached();
        let Some(replaced) = self.switch(runtime) else {
            return Err(stopping(held));
        };
        let (pause, waiting) = held.release();
        let plan: Vec<_> = passage.fits().iter().map(ToString::to_string).collect();
        EpochExchanged {
            epoch,
            plan: &plan.join("; "),
            pause,
            expected: passage.fits.iter().map(|fit| fit.pause).sum(),
            waiting,
        }
        .emit();
        Ok(replaced)
    }

    /// Lets the requests of the old epoch end, and then its blocks. `None`: everything is being stopped.
    fn end(&self, gateway: &Gateway, drain: Duration) -> Option<()> {
        let limit = Instant::now() + drain + DRAIN_MARGIN;
        while !gateway.wait_idle(STOP_POLL) && Instant::now() < limit {
            lock(&self.running).as_ref()?;
        }
        let report = lock(&self.running).as_mut()?.end();
        if !report.stragglers.is_empty() || !report.threads_ended {
            let stragglers = report.stragglers.join(", ");
            let threads_ended = report.threads_ended;
            error!(
                stragglers,
                threads_ended, "the old configuration did not end in good order"
            );
        }
        Some(())
    }

    /// Starts the new epoch where the old one was.
    fn come(
        &self,
        loaded: Loaded,
        kept: &Known,
        staged: Vec<(Digest, Staged)>,
    ) -> Result<Runtime, String> {
        let mut known = kept.clone();
        for (identity, staged) in staged {
            let block = staged.block().to_owned();
            let placed = staged.place();
            let placed =
                placed.map_err(|cause| format!("block {block:?} could not be placed: {cause}"))?;
            known.insert(identity, placed);
        }
        Runtime::start_knowing(loaded, self.part.clone(), Some(&known))
            .map_err(|error| error.to_string())
    }

    /// Makes sure that the old epoch can come again: what does not wait must be read as what it was.
    fn way_back(&self, passage: &Passage) -> Result<Loaded, Vec<String>> {
        let (configured, before) = match lock(&self.running).as_ref() {
            None => return Err(vec!["the server is shutting down".to_owned()]),
            Some(runtime) => runtime.configuration(),
        };
        let lost = passage.old.iter().enumerate();
        let lost: Vec<_> = lost.filter(|(_, need)| passage.is_lost(need)).collect();
        if lost.is_empty() {
            return Ok(Loaded::known(configured, before, None));
        }
        let why = |block: &str, what: String| {
            format!(
                "both configurations do not fit, and the old one could not come again if the new one failed: block {block:?} \
                 {what}; leave its model where it is and give the new one another name, or raise memory_mb"
            )
        };
        let first = lost.first().map_or("", |(_, need)| need.block.as_str());
        let again = Loaded::from_spec(&configured.1).map_err(|problems| {
            let problems = problems.into_iter();
            problems
                .map(|problem| why(first, format!("cannot be read again: {problem}")))
                .collect::<Vec<_>>()
        })?;
        let replaced = lost
            .iter()
            .filter(|(block, _)| again.content(*block) != before.contents[*block]);
        let replaced: Vec<_> = replaced
            .map(|(_, need)| {
                why(
                    &need.block,
                    "has another model in its file by now".to_owned(),
                )
            })
            .collect();
        if replaced.is_empty() {
            Ok(Loaded::known(configured, before, Some(again)))
        } else {
            Err(replaced)
        }
    }

    /// Has the old epoch come again, because the new one could not.
    fn go_back(
        &mut self,
        (epoch, back): (Epoch, Loaded),
        parted: Parted,
        passage: &Passage,
        held: Held,
        reason: String,
    ) -> Outcome {
        set_devices(&back.plan.devices);
        let came = preparing(|| {
            let known = passage.unpart(parted);
            let came = Runtime::start_knowing(back, self.part.clone(), Some(&known));
            came.map_err(|error| error.to_string())
        });
        let switched = match came {
            Ok(runtime) => self.switch(runtime),
            Err(error) => {
                let cause = format!(
                    "the new configuration failed ({reason}), and the old one could not be loaded again ({error})"
                );
                error!(cause, "nothing is served any more");
                // Which ends the server.
                held.give_up(Failure::new(FailureKind::Unavailable, cause));
                return Outcome::Stopping;
            }
        };
        if switched.is_none() {
            return stopping(held);
        }
        let (pause, _) = held.release();
        let reasons = vec![reason];
        EpochRolledBack {
            epoch,
            reasons: &reasons,
            took: pause,
            pause: Some(pause),
        }
        .emit();
        Outcome::RolledBack { reasons }
    }
}

/// Makes on the host what is going to be placed, before anything goes.
fn staged(
    loaded: &Loaded,
    known: &Known,
    passage: &Passage,
) -> Result<Vec<(Digest, Staged)>, String> {
    let mut all = Vec::new();
    for (block, need) in passage.new.iter().enumerate() {
        let waits = need.is_in_main()
            && passage.strategy(need.device) != Strategy::EvictFirst
            && !known.contains_key(&need.identity);
        if !waits {
            continue;
        }
        let spec = &loaded.plan.blocks[block].spec;
        let staged = stage(loaded.source(block), spec.threads, seat(spec));
        let staged = staged.map_err(|cause| StartError::of(spec, cause).to_string())?;
        all.push((need.identity, staged));
    }
    Ok(all)
}

fn stopping(held: Held) -> Outcome {
    held.give_up(Failure::shutting_down());
    Outcome::Stopping
}
