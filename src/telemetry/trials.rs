//! Events of configurations that are tried on live requests.

use std::time::Duration;

use tracing::{error, info};

use crate::types::Epoch;

use super::{Event, metrics};

/// Requests are not shadowed any more.
#[derive(Debug, Clone)]
pub struct ShadowJudged {
    pub epoch: Epoch,
    /// `good`, or what becomes of the epoch.
    pub verdict: &'static str,
    pub took: Duration,
    pub compared: u64,
    pub different: u64,
    /// Shadows that failed where the request did not.
    pub failed: u64,
    /// Shadows whose request failed, or whose client went away.
    pub alone: u64,
    /// Shadows that there was no room for.
    pub dropped: u64,
    /// Largest difference of two floats, as a share of the larger one.
    pub relative_max: f64,
    /// Median and 99th percentile, of requests that both answered.
    pub new_latency: [Duration; 2],
    pub old_latency: [Duration; 2],
}

/// No more requests begin in an epoch because it is tried.
#[derive(Debug, Clone)]
pub struct CanaryJudged {
    pub epoch: Epoch,
    /// `good`, or what becomes of the epoch.
    pub verdict: &'static str,
    pub took: Duration,
    /// Succeeded and failed.
    pub new: [u64; 2],
    pub old: [u64; 2],
    /// Median and 99th percentile.
    pub new_latency: [Duration; 2],
    pub old_latency: [Duration; 2],
}

/// Requests had begun in a configuration, or it had taken the room of what was served before: that is served again.
#[derive(Debug, Clone)]
pub struct EpochRolledBack<'a> {
    pub epoch: Epoch,
    pub reasons: &'a [String],
    pub took: Duration,
    /// How long requests had to wait for that.
    pub pause: Option<Duration>,
}

impl Event for ShadowJudged {
    fn emit(&self) {
        let Self {
            epoch,
            verdict,
            took,
            compared,
            different,
            failed,
            alone,
            dropped,
            relative_max,
            new_latency: [new_median, new_p99],
            old_latency: [old_median, old_p99],
        } = self;
        info!(
            %epoch, verdict, ?took, compared, different, failed, alone, dropped, relative_max,
            ?new_median, ?old_median, ?new_p99, ?old_p99,
            "shadowing is over"
        );
    }
}

impl Event for CanaryJudged {
    fn emit(&self) {
        let Self {
            epoch,
            verdict,
            took,
            new: [new, new_failed],
            old: [old, old_failed],
            new_latency: [new_median, new_p99],
            old_latency: [old_median, old_p99],
        } = self;
        info!(
            %epoch, verdict, ?took, new, new_failed, old, old_failed,
            ?new_median, ?old_median, ?new_p99, ?old_p99,
            "the canary is over"
        );
    }
}

impl Event for EpochRolledBack<'_> {
    fn emit(&self) {
        let Self {
            epoch,
            reasons,
            took,
            pause,
        } = self;
        let metrics = metrics::lifecycle();
        metrics.rolled_back.add(1);
        if let Some(pause) = pause {
            metrics.pause_seconds.set(pause.as_secs_f64());
        }
        let reasons = reasons.join("; ");
        error!(
            %epoch,
            ?took,
            ?pause,
            reasons,
            "configuration rolled back, what was served before is served again"
        );
    }
}
