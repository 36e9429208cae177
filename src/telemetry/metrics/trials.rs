//! Metrics of configurations that are tried on live requests before they take over.

use std::sync::Arc;

use super::text::Page;
use super::{Counter, Gauge, Number, PipelineMetrics};

/// Counts of all trials.
#[derive(Debug, Default)]
pub struct TrialMetrics {
    /// 1 while requests are shadowed.
    pub shadowing: Gauge,
    /// 1 while requests begin in a configuration that is tried.
    pub canarying: Gauge,
    /// Shadows, which no client asked for, all pipelines together.
    pub shadows: Arc<PipelineMetrics>,
    pub equal: Counter,
    pub different: Counter,
    /// Shadows that failed where the request did not.
    pub failed: Counter,
    /// Shadows whose request failed, or whose client went away.
    pub alone: Counter,
    /// Requests that have no shadow, because there was no room for it.
    pub dropped: Counter,
    /// Largest difference of two floats in the last trial, as a share of the larger one.
    pub relative_max: Number,
    /// Requests that began in a configuration that was tried, and those beside them.
    pub canary: PipelineMetrics,
    pub old: PipelineMetrics,
}

impl TrialMetrics {
    pub(super) fn render(&self, page: &mut Page) {
        let help = "Whether a new configuration is being tried.";
        page.family("blockflow_trial_running", "gauge", help);
        page.sample(&[("kind", "shadow")], self.shadowing.get());
        page.sample(&[("kind", "canary")], self.canarying.get());
        let help = "Shadowed requests, by how the new answer compares.";
        page.family("blockflow_shadow_comparisons_total", "counter", help);
        for (outcome, counter) in [
            ("equal", &self.equal),
            ("different", &self.different),
            ("failed", &self.failed),
            ("alone", &self.alone),
            ("dropped", &self.dropped),
        ] {
            page.sample(&[("outcome", outcome)], counter.get());
        }
        let help = "Shadows that are not over.";
        page.single(
            "blockflow_shadow_requests_in_flight",
            "gauge",
            help,
            self.shadows.in_flight.get(),
        );
        let help = "Largest difference in the last trial, as a share.";
        page.single(
            "blockflow_shadow_relative_difference_max",
            "gauge",
            help,
            self.relative_max.get(),
        );
        let sides = [
            ("shadow", &*self.shadows),
            ("new", &self.canary),
            ("old", &self.old),
        ];
        let help = "Requests of a canary by side and outcome.";
        page.family("blockflow_canary_requests_total", "counter", help);
        for (side, metrics) in &sides[1..] {
            for (outcome, count) in metrics.outcomes() {
                page.sample(&[("side", side), ("outcome", outcome)], count);
            }
        }
        let help = "Time to a result while a configuration is tried.";
        page.family("blockflow_trial_request_seconds", "histogram", help);
        for (side, metrics) in sides {
            page.histogram(("side", side), &metrics.latency);
        }
    }
}
