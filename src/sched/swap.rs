//! Whether a new epoch takes over, step by step.
//!
//! ```text
//! Preparing ─▶ Warm ─▶ Shadowing ─▶ Canary ─▶ Switching ─▶ Switched
//!     │          │         │           │           │
//!     └──────────┴─────────┴─▶ Rejected            │
//!                                      └───────────┴─▶ RolledBack
//! ```
//!
//! Shadowing and canary are passed over where nobody asked for them. From Switching a stop leads to Rejected where no request
//! began in the new epoch. Times and counts come in as values. What comes after, that the requests of one epoch end and it is
//! freed, happens to either of them and is no decision. Invariants: a last phase stays; after a verdict against it an epoch
//! never takes over; each trial ends by its time.

use std::time::{Duration, Instant};

use crate::types::{CanarySpec, ReloadSpec, ShadowSpec};

/// Answers of each side from which a median is worth comparing.
pub const MEDIAN_ANSWERS_MIN: u64 = 10;
/// Answers of each side from which a 99th percentile is more than the slowest of them.
pub const P99_ANSWERS_MIN: u64 = 100;
/// Latencies that differ by less than this are alike, whatever their ratio.
pub const LATENCY_SLACK: Duration = Duration::from_millis(1);

/// How far an epoch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    Preparing,
    /// Every block is warm and has shown what it has to.
    Warm,
    Shadowing,
    Canary,
    /// It is to take over.
    Switching,
    /// It has.
    Switched,
    /// No request ever began in it.
    Rejected,
    /// Some did; no more do.
    RolledBack,
}

/// What has been compared so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shadowed {
    /// Requests with an answer of the old epoch that the new one had its chance to give, too.
    pub compared: u64,
    /// Of those, the ones with another answer.
    pub different: u64,
    /// Of those, the ones that failed.
    pub failed: u64,
}

/// How one side of a canary has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Side {
    /// Requests that are not over.
    pub open: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Of those that succeeded.
    pub median: Duration,
    pub p99: Duration,
}

/// Both sides within the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Canaried {
    pub old: Side,
    pub new: Side,
}

/// The way of one epoch.
#[derive(Debug, Clone)]
pub struct Swap {
    spec: ReloadSpec,
    phase: Phase,
    /// When the trial of now has to end.
    until: Option<Instant>,
    /// Requests may have begun in it.
    has_served: bool,
    reasons: Vec<String>,
}

impl Phase {
    /// Tells whether nothing comes after it.
    pub const fn is_last(self) -> bool {
        matches!(self, Self::Switched | Self::Rejected | Self::RolledBack)
    }
}

impl Side {
    /// Returns the requests that are over.
    pub const fn answered(&self) -> u64 {
        self.succeeded + self.failed
    }

    /// Returns the share that failed; 0 of none.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn failed_share(&self) -> f64 {
        match self.answered() {
            0 => 0.0,
            answered => self.failed as f64 / answered as f64,
        }
    }
}

impl Swap {
    pub const fn new(spec: ReloadSpec) -> Self {
        Self {
            spec,
            phase: Phase::Preparing,
            until: None,
            has_served: false,
            reasons: Vec::new(),
        }
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns why it does not take over.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Notes that every block is warm.
    pub fn prepared(&mut self) -> Phase {
        if self.phase == Phase::Preparing {
            self.phase = Phase::Warm;
        }
        self.phase
    }

    /// Goes on to the first trial, if there is one and requests that it can be `tried` on.
    pub fn begin(&mut self, now: Instant, tried: bool) -> Phase {
        if self.phase != Phase::Warm {
            return self.phase;
        }
        match &self.spec.shadow {
            _ if !tried => self.phase = Phase::Switching,
            Some(spec) => self.enter(Phase::Shadowing, now + spec.time_max),
            None => self.go_on(now),
        }
        self.phase
    }

    /// Judges by what has been compared.
    pub fn shadowed(&mut self, now: Instant, seen: &Shadowed) -> Phase {
        if let (Phase::Shadowing, Some(spec)) = (self.phase, &self.spec.shadow) {
            let reasons = judge_shadow(spec, seen);
            if !reasons.is_empty() {
                self.turn_against(reasons);
            } else if seen.compared >= spec.requests || self.is_due(now) {
                self.go_on(now);
            }
        }
        self.phase
    }

    /// Judges by how both sides have done.
    pub fn canaried(&mut self, now: Instant, seen: &Canaried) -> Phase {
        if let (Phase::Canary, Some(spec)) = (self.phase, &self.spec.canary) {
            let is_over = seen.new.answered() >= spec.requests || self.is_due(now);
            let reasons = match is_over {
                true => judge_canary(spec, seen),
                false => give_up(spec, seen),
            };
            if !reasons.is_empty() {
                self.turn_against(reasons);
            } else if is_over {
                self.enter(Phase::Switching, now);
            }
        }
        self.phase
    }

    /// Ends it, whatever has been seen, unless it has taken over.
    pub fn stop(&mut self, reason: impl Into<String>) -> Phase {
        if !self.phase.is_last() {
            self.turn_against(vec![reason.into()]);
        }
        self.phase
    }

    /// Adds to the reasons why it does not take over.
    pub fn explain(&mut self, reason: String) {
        if !self.reasons.is_empty() {
            self.reasons.push(reason);
        }
    }

    /// Notes that new requests begin in it.
    pub fn switched(&mut self) -> Phase {
        if self.phase == Phase::Switching {
            self.phase = Phase::Switched;
        }
        self.phase
    }

    fn is_due(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    fn enter(&mut self, phase: Phase, until: Instant) {
        self.phase = phase;
        self.until = (phase != Phase::Switching).then_some(until);
        self.has_served |= phase == Phase::Canary;
    }

    /// Goes on from shadowing, or from where it would be.
    fn go_on(&mut self, now: Instant) {
        match &self.spec.canary {
            Some(spec) => self.enter(Phase::Canary, now + spec.time_max),
            None => self.enter(Phase::Switching, now),
        }
    }

    fn turn_against(&mut self, reasons: Vec<String>) {
        self.phase = match self.has_served {
            true => Phase::RolledBack,
            false => Phase::Rejected,
        };
        self.until = None;
        self.reasons = reasons;
    }
}

fn judge_shadow(spec: &ShadowSpec, seen: &Shadowed) -> Vec<String> {
    let Shadowed {
        compared,
        different,
        failed,
    } = *seen;
    if different.saturating_add(failed) <= spec.mismatches_max {
        return Vec::new();
    }
    vec![format!(
        "of {compared} shadowed requests {different} got another answer and {failed} failed; \
         reload.shadow.mismatches_max is {}",
        spec.mismatches_max
    )]
}

fn judge_canary(spec: &CanarySpec, seen: &Canaried) -> Vec<String> {
    let Canaried { old, new } = seen;
    let mut reasons = Vec::new();
    if new.answered() == 0 && new.open > 0 {
        reasons.push(format!(
            "none of {} requests was answered within reload.canary.time_max_ms",
            new.open
        ));
    }
    if new.failed_share() > old.failed_share() + f64::from(spec.error_ratio_max) {
        reasons.push(too_many_failed(spec, seen));
    }
    let least = |old: &Side, new: &Side| old.succeeded.min(new.succeeded);
    for (name, needed, was, is) in [
        ("median", MEDIAN_ANSWERS_MIN, old.median, new.median),
        ("99th percentile", P99_ANSWERS_MIN, old.p99, new.p99),
    ] {
        let limit = was
            .mul_f64(spec.latency_ratio_max.into())
            .max(was + LATENCY_SLACK);
        if least(old, new) >= needed && is > limit {
            reasons.push(format!(
                "the {name} of the latency is {:.1} ms, of the old one {:.1} ms ({} and {} answers); \
                 reload.canary.latency_ratio_max is {}",
                is.as_secs_f64() * 1000.0,
                was.as_secs_f64() * 1000.0,
                new.succeeded,
                old.succeeded,
                spec.latency_ratio_max
            ));
        }
    }
    reasons
}

/// Says what cannot become good any more, even if all requests to come succeed.
fn give_up(spec: &CanarySpec, seen: &Canaried) -> Vec<String> {
    #[expect(clippy::cast_precision_loss, reason = "a bound")]
    let allowed =
        (seen.old.failed_share() + f64::from(spec.error_ratio_max)) * spec.requests as f64;
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    let failed = seen.new.failed as f64;
    if failed > allowed {
        vec![too_many_failed(spec, seen)]
    } else {
        Vec::new()
    }
}

fn too_many_failed(spec: &CanarySpec, Canaried { old, new }: &Canaried) -> String {
    format!(
        "{} of {} requests failed, of the old one {} of {}; reload.canary.error_ratio_max is {}",
        new.failed,
        new.answered(),
        old.failed,
        old.answered(),
        spec.error_ratio_max
    )
}
