//! Counts of what becomes of configurations.

use std::time::Duration;

use super::text::Page;
use super::{Counter, Gauge};

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
    /// Microseconds of the last such wait.
    pause_us: Gauge,
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
    /// Takes down how long requests had to wait.
    pub fn paused(&self, pause: Duration) {
        self.pause_us
            .set(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX));
    }

    pub(super) fn render(&self, page: &mut Page) {
        let Self {
            epoch,
            applied,
            rejected,
            rolled_back,
            held,
            pause_us,
            replaced,
            previous,
            history,
            unrecorded,
        } = self;
        page.family(
            "blockflow_epoch",
            "gauge",
            "Number of the configuration that is served.",
        );
        page.sample(&[], epoch.get());
        page.family(
            "blockflow_reloads_total",
            "counter",
            "Reloads that changed what is served, were rejected, or were taken back.",
        );
        page.sample(&[("outcome", "applied")], applied.get());
        page.sample(&[("outcome", "rejected")], rejected.get());
        page.sample(&[("outcome", "rolled_back")], rolled_back.get());
        let help = "How long requests waited in the last reload that had them wait.";
        page.family("blockflow_reload_pause_seconds", "gauge", help);
        let pause = u64::try_from(pause_us.get()).unwrap_or_default();
        page.sample(&[], Duration::from_micros(pause).as_secs_f64());
        let help = "Requests that waited in reloads.";
        page.family("blockflow_requests_held_total", "counter", help);
        page.sample(&[], held.get());
        let help = "Times that the program has started itself again.";
        page.family("blockflow_replacements_total", "counter", help);
        page.sample(&[], replaced.get());
        let help = "1 while an epoch of before is served in place of a bad configuration.";
        page.family("blockflow_previous_epoch_served", "gauge", help);
        page.sample(&[], previous.get());
        let help = "1 where applied epochs are recorded.";
        page.family("blockflow_history_kept", "gauge", help);
        page.sample(&[], history.get());
        let help = "Applied epochs that could not be recorded.";
        page.family("blockflow_epochs_unrecorded_total", "counter", help);
        page.sample(&[], unrecorded.get());
    }
}
