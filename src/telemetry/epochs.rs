//! Events in the life of a configuration.

use std::time::Duration;

use tracing::{error, info, warn};

use crate::types::Epoch;

use super::{Event, metrics};

/// Another configuration is served.
#[derive(Debug, Clone)]
pub struct EpochApplied<'a> {
    pub epoch: Epoch,
    /// What is different.
    pub changes: &'a str,
    /// Reading, preparing and warming.
    pub prepared: Duration,
    /// Having requests begin in it.
    pub switched: Duration,
}

/// Requests waited while one configuration went and another came.
#[derive(Debug, Clone)]
pub struct EpochExchanged<'a> {
    pub epoch: Epoch,
    /// What was done on each device, and why.
    pub plan: &'a str,
    /// How long requests waited at most.
    pub pause: Duration,
    pub expected: Duration,
    /// Requests that waited at the end.
    pub waiting: usize,
}

/// A configuration was read that cannot be served; what was served before still is.
#[derive(Debug, Clone)]
pub struct EpochRejected<'a> {
    pub reasons: &'a [String],
    pub took: Duration,
}

/// What is configured cannot be served when the server starts; an epoch that was applied before is.
#[derive(Debug, Clone)]
pub struct PreviousServed<'a> {
    pub epoch: Epoch,
    /// What is wrong with what is configured.
    pub reasons: &'a [String],
}

/// No history is kept.
#[derive(Debug, Clone)]
pub struct HistoryOff<'a> {
    pub cause: &'a str,
}

/// An epoch is served and could not be recorded.
#[derive(Debug, Clone)]
pub struct EpochUnrecorded<'a> {
    pub epoch: Epoch,
    pub cause: &'a str,
}

/// The last request of a configuration that was replaced, or taken back, is over, and what it held is free.
#[derive(Debug, Clone)]
pub struct EpochRetired<'a> {
    pub epoch: Epoch,
    pub took: Duration,
    /// Requests that were still unanswered.
    pub stragglers: &'a [String],
    pub threads_ended: bool,
}

impl Event for EpochApplied<'_> {
    fn emit(&self) {
        let Self {
            epoch,
            changes,
            prepared,
            switched,
        } = self;
        let metrics = metrics::lifecycle();
        metrics.applied.add(1);
        metrics.epoch.set(epoch.0.into());
        metrics.switch_seconds.set(switched.as_secs_f64());
        info!(%epoch, ?prepared, ?switched, changes, "configuration applied");
    }
}

impl Event for EpochExchanged<'_> {
    fn emit(&self) {
        let Self {
            epoch,
            plan,
            pause,
            expected,
            waiting,
        } = self;
        let metrics = metrics::lifecycle();
        metrics.pause_seconds.set(pause.as_secs_f64());
        info!(%epoch, ?pause, ?expected, waiting, plan, "requests waited while configurations changed places");
    }
}

impl Event for EpochRejected<'_> {
    fn emit(&self) {
        let Self { reasons, took } = self;
        metrics::lifecycle().rejected.add(1);
        let reasons = reasons.join("; ");
        error!(
            ?took,
            reasons, "configuration rejected, what was served before still is"
        );
    }
}

impl Event for PreviousServed<'_> {
    fn emit(&self) {
        let Self { epoch, reasons } = self;
        metrics::lifecycle().previous.set(1);
        let reasons = reasons.join("; ");
        error!(
            %epoch,
            reasons, "what is configured cannot be served, the last epoch that was applied is"
        );
    }
}

impl Event for HistoryOff<'_> {
    fn emit(&self) {
        let Self { cause } = self;
        metrics::lifecycle().history.set(0);
        warn!(cause, "no history is kept, and no commands are taken");
    }
}

impl Event for EpochUnrecorded<'_> {
    fn emit(&self) {
        let Self { epoch, cause } = self;
        metrics::lifecycle().unrecorded.add(1);
        warn!(%epoch, cause, "an epoch is served and not in the history");
    }
}

impl Event for EpochRetired<'_> {
    fn emit(&self) {
        let Self {
            epoch,
            took,
            stragglers,
            threads_ended,
        } = self;
        if stragglers.is_empty() && *threads_ended {
            info!(%epoch, ?took, "configuration retired");
        } else {
            let stragglers = stragglers.join(", ");
            error!(
                %epoch,
                ?took,
                stragglers,
                threads_ended,
                "a configuration did not retire in good order: a block may be stuck, and what it holds stays"
            );
        }
    }
}
