//! What is kept of each epoch that is served, and what it stands on.

use crate::app::history::{Record, Seen, Trigger};
use crate::telemetry::{self, EpochUnrecorded, Event};
use crate::types::{Epoch, Spec, lock};

use super::source::Source;
use super::standing::{Models, Standing};
use super::transaction::Reloader;

impl<S: Source> Reloader<S> {
    /// Makes the record of the epoch of now.
    pub(super) fn record(&mut self, configured: (Trigger, &Spec, Models), seen: &Seen) -> Record {
        let path = self.source.path();
        let record = self
            .served
            .record(&mut self.journal, path, configured, seen);
        record.numbered(self.epoch.0)
    }

    /// Writes a record; whatever prevents that does not concern what is served. Returns it.
    pub(super) fn write(&mut self, record: &Record) -> Option<String> {
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
    pub(super) fn note(
        &mut self,
        standing: Standing,
        configured: (Trigger, &Spec, Models),
        seen: &Seen,
    ) {
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

    pub(super) fn stands_on(&mut self, standing: Standing, spec: &Spec) {
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
}
