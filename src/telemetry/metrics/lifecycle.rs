//! Counts of what becomes of configurations.

use super::text::Page;
use super::{Counter, Gauge, Number};

/// Counts of configurations.
#[derive(Debug, Default)]
pub struct LifecycleMetrics {
    /// Number of the configuration that is served, from 1.
    pub epoch: Gauge,
    /// Reloads that changed what is served.
    pub applied: Counter,
    /// Reloads that did not, because something was wrong.
    pub rejected: Counter,
    /// Reloads that did not, though requests had begun in what they brought, or what was served before had gone for it.
    pub rolled_back: Counter,
    /// Requests that waited while configurations changed places.
    pub held: Counter,
    /// Of the last such wait.
    pub pause_seconds: Number,
    /// How long the last switch took, from the lock that a stop takes to the reference that requests take.
    pub switch_seconds: Number,
    /// How often the program has taken its own place.
    pub replaced: Counter,
    /// 1 while a recorded epoch is served because what is configured could not be when the server was started.
    pub previous: Gauge,
    /// 1 where applied epochs are recorded.
    pub history: Gauge,
    /// Applied epochs that could not be recorded.
    pub unrecorded: Counter,
}

impl LifecycleMetrics {
    pub(super) fn render(&self, page: &mut Page) {
        let Self {
            epoch,
            applied,
            rejected,
            rolled_back,
            held,
            pause_seconds,
            switch_seconds,
            replaced,
            previous,
            history,
            unrecorded,
        } = self;
        let help = "Number of the configuration that is served.";
        page.single("blockflow_epoch", "gauge", help, epoch.get());
        page.family(
            "blockflow_reloads_total",
            "counter",
            "Reloads that changed what is served, were rejected, or were taken back.",
        );
        page.sample(&[("outcome", "applied")], applied.get());
        page.sample(&[("outcome", "rejected")], rejected.get());
        page.sample(&[("outcome", "rolled_back")], rolled_back.get());
        let help = "How long requests waited in the last reload that had them wait.";
        let pause = pause_seconds.get();
        page.single("blockflow_reload_pause_seconds", "gauge", help, pause);
        let help = "How long the last switch from one configuration to the next took.";
        let switch = switch_seconds.get();
        page.single("blockflow_reload_switch_seconds", "gauge", help, switch);
        let help = "Requests that waited in reloads.";
        page.single("blockflow_requests_held_total", "counter", help, held.get());
        let help = "Times that the program has started itself again.";
        page.single(
            "blockflow_replacements_total",
            "counter",
            help,
            replaced.get(),
        );
        let help = "1 while an epoch of before is served in place of a bad configuration.";
        page.single(
            "blockflow_previous_epoch_served",
            "gauge",
            help,
            previous.get(),
        );
        let help = "1 where applied epochs are recorded.";
        page.single("blockflow_history_kept", "gauge", help, history.get());
        let help = "Applied epochs that could not be recorded.";
        page.single(
            "blockflow_epochs_unrecorded_total",
            "counter",
            help,
            unrecorded.get(),
        );
    }
}
