//! The course of a trial, on the thread of reloads.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, Receiver};

use crate::app::epoch::Serving;
use crate::sched::{Phase, Shadowed, Swap};
use crate::telemetry::metrics::{self, Gauge};
use crate::telemetry::{CanaryJudged, Event, ShadowJudged};
use crate::types::{CanarySpec, Epoch, ReloadSpec, ShadowSpec};

use super::door::{Door, Trial, common};
use super::shadow::{Followed, Shadow, Shadowing, follow};
use super::tally::{Latencies, Tally};

/// Shadows that wait, and as many again whose answers are waited for.
const SHADOWS_MAX: usize = 32;
/// How often it is looked how things stand.
const TICK: Duration = Duration::from_millis(10);

/// Tries the `new` epoch on what is asked of the `old` one, as far as `spec` says; how that went is written in `swap`, which
/// comes in warm. A reason from `stop`, which is asked now and then, ends it. Blocks the calling thread.
pub(in crate::app) fn try_out(
    [old, new]: [&Arc<Serving>; 2],
    epoch: Epoch,
    spec: &ReloadSpec,
    swap: &mut Swap,
    stop: impl FnMut() -> Option<String>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let mut course = Course {
        old,
        new,
        epoch,
        stop,
    };
    let tried = common(old, new) > 0;
    if !tried {
        tracing::info!(%epoch, "no pipeline is in both configurations alike: there is nothing to try");
    }
    swap.begin(Instant::now(), tried);
    if let (Phase::Shadowing, Some(shadow)) = (swap.phase(), &spec.shadow) {
        runtime.block_on(course.shadow(shadow, swap));
    }
    if let (Phase::Canary, Some(canary)) = (swap.phase(), &spec.canary) {
        runtime.block_on(course.canary(canary, swap));
    }
    Ok(())
}

struct Course<'a, F> {
    old: &'a Arc<Serving>,
    new: &'a Arc<Serving>,
    epoch: Epoch,
    stop: F,
}

/// A door that is taken away again, however a trial ends.
struct Opened<'a> {
    serving: &'a Serving,
    running: &'static Gauge,
}

impl<'a> Opened<'a> {
    /// `running` is 1 meanwhile.
    fn at(serving: &'a Serving, door: Door, running: &'static Gauge) -> Self {
        serving.set_door(Some(Arc::new(door)));
        running.set(1);
        Self { serving, running }
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.running.set(0);
        self.serving.set_door(None);
    }
}

/// All that was seen of shadows.
#[derive(Debug, Default)]
struct Sum {
    seen: Shadowed,
    alone: u64,
    relative_max: f64,
    example: Option<String>,
    old: Latencies,
    new: Latencies,
}

impl Sum {
    fn add(
        &mut self,
        Followed {
            shadowing: one,
            old,
            new,
        }: Followed,
    ) {
        if let (Some(old), Some(new)) = (old, new) {
            self.old.add(old);
            self.new.add(new);
        }
        let trials = metrics::trials();
        let counter = match &one {
            Shadowing::Equal { .. } => &trials.equal,
            Shadowing::Different { .. } => &trials.different,
            Shadowing::Failed { .. } => &trials.failed,
            Shadowing::Alone => &trials.alone,
            Shadowing::Dropped => &trials.dropped,
        };
        counter.add(1);
        let (relative_max, example) = match one {
            Shadowing::Alone => {
                self.alone += 1;
                return;
            }
            Shadowing::Dropped => return,
            Shadowing::Equal { relative_max } => (relative_max, None),
            Shadowing::Different {
                relative_max,
                example,
            } => {
                self.seen.different += 1;
                (relative_max, Some(example))
            }
            Shadowing::Failed { example } => {
                self.seen.failed += 1;
                (0.0, Some(example))
            }
        };
        self.seen.compared += 1;
        self.relative_max = self.relative_max.max(relative_max);
        trials.relative_max.raise(relative_max);
        if self.example.is_none() {
            self.example = example;
        }
    }
}

impl<F: FnMut() -> Option<String>> Course<'_, F> {
    async fn shadow(&mut self, spec: &ShadowSpec, swap: &mut Swap) {
        let began = Instant::now();
        let trials = metrics::trials();
        trials.relative_max.set(0.0);
        let dropped = trials.dropped.get();
        let (sender, mut shadows) = mpsc::channel(SHADOWS_MAX);
        let door = Door::new(self.old, self.new, spec.share, Trial::Shadow(sender));
        let opened = Opened::at(self.old, door, &trials.shadowing);
        let mut sum = Sum::default();
        self.follow_all(&mut shadows, spec, swap, &mut sum).await;
        drop(opened);
        if let (Phase::Rejected, Some(example)) = (swap.phase(), &sum.example) {
            swap.explain(format!("for example {example}"));
        }
        ShadowJudged {
            epoch: self.epoch,
            verdict: verdict(swap),
            took: began.elapsed(),
            compared: sum.seen.compared,
            different: sum.seen.different,
            failed: sum.seen.failed,
            alone: sum.alone,
            dropped: trials.dropped.get() - dropped,
            relative_max: sum.relative_max,
            new_latency: sum.new.percentiles(),
            old_latency: sum.old.percentiles(),
        }
        .emit();
    }

    async fn follow_all(
        &mut self,
        shadows: &mut Receiver<Shadow>,
        spec: &ShadowSpec,
        swap: &mut Swap,
        sum: &mut Sum,
    ) {
        let mut followed = FuturesUnordered::new();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some(one) = followed.next(), if !followed.is_empty() => sum.add(one),
                Some(shadow) = shadows.recv(), if followed.len() < SHADOWS_MAX => {
                    followed.push(follow(shadow, self.new.gateway.clone(), spec.tolerance));
                    continue;
                }
                _ = ticks.tick() => {
                    if let Some(reason) = (self.stop)() {
                        swap.stop(reason);
                    }
                }
            }
            if swap.shadowed(Instant::now(), &sum.seen) != Phase::Shadowing {
                return;
            }
        }
    }

    async fn canary(&mut self, spec: &CanarySpec, swap: &mut Swap) {
        let began = Instant::now();
        let tally = Arc::new(Tally::default());
        let trial = Trial::Canary {
            new: self.new.clone(),
            tally: tally.clone(),
        };
        let door = Door::new(self.old, self.new, spec.share, trial);
        let opened = Opened::at(self.old, door, &metrics::trials().canarying);
        let mut ticks = tokio::time::interval(TICK);
        while swap.phase() == Phase::Canary {
            ticks.tick().await;
            if let Some(reason) = (self.stop)() {
                swap.stop(reason);
            }
            swap.canaried(Instant::now(), &tally.seen());
        }
        drop(opened);
        let seen = tally.seen();
        CanaryJudged {
            epoch: self.epoch,
            verdict: verdict(swap),
            took: began.elapsed(),
            new: [seen.new.succeeded, seen.new.failed],
            old: [seen.old.succeeded, seen.old.failed],
            new_latency: [seen.new.median, seen.new.p99],
            old_latency: [seen.old.median, seen.old.p99],
        }
        .emit();
    }
}

/// Returns what the trial came to, in a word.
fn verdict(swap: &Swap) -> &'static str {
    match swap.phase() {
        Phase::Rejected => "rejected",
        Phase::RolledBack => "rolled back",
        _ => "good",
    }
}
