//! What a server begins with: what is configured, or, where that cannot be served, the last epoch that was applied.

use tracing::warn;

use super::history::{Journal, Record, Recorded, Seen, Trigger};
use super::prepared::Known;
use super::reload::{Read, Source, Standing};
use super::{Loaded, Overrides, Part, Runtime, StartError};
use crate::telemetry::{Event, HistoryOff, PreviousServed, metrics};
use crate::types::{Epoch, LogSpec};

/// What a server begins with.
#[derive(Debug)]
pub struct Beginning {
    attempt: Attempt,
    journal: Journal,
    recorded: Recorded,
    seen: Seen,
    /// What an operator had set and does not hold any more, with the reasons.
    lost: Vec<String>,
    strict: bool,
}

/// A configuration to start.
#[derive(Debug)]
struct Attempt {
    read: Read,
    served: Standing,
    /// Why it is not what is configured.
    reasons: Vec<String>,
}

/// The first epoch of a server, running.
#[derive(Debug)]
pub(super) struct First {
    pub runtime: Runtime,
    pub journal: Journal,
    pub served: Standing,
    /// `None` where the history has it already.
    pub record: Option<Box<Record>>,
    /// It is an epoch of before, in place of what is configured.
    pub previous: bool,
    /// Files as they were before they were read.
    pub seen: Seen,
}

/// Finds what to begin with. Returns everything that is wrong with what is configured if nothing else can be served, or must
/// not be (`strict`).
pub fn begin(
    source: &impl Source,
    mut journal: Journal,
    strict: bool,
) -> Result<Beginning, Vec<String>> {
    let seen = Seen::now(source.files());
    let recorded = journal.recorded();
    let mut lost = Vec::new();
    let attempt = match held(source, &mut journal, &recorded, strict, &mut lost) {
        Some(attempt) => attempt,
        None => {
            let last = recorded.records.first();
            let left = last.map(|last| last.overrides.clone().after_start().after_change());
            let overrides = left.unwrap_or_default();
            match source.load(&overrides) {
                Ok(read) => Attempt {
                    read,
                    served: Standing {
                        overrides,
                        base: None,
                    },
                    reasons: Vec::new(),
                },
                Err(reasons) if strict => return Err(reasons),
                Err(reasons) => previous(source, &mut journal, &recorded, reasons)?,
            }
        }
    };
    Ok(Beginning {
        attempt,
        journal,
        recorded,
        seen,
        lost,
        strict,
    })
}

impl Beginning {
    /// Returns how to log.
    pub fn log(&self) -> &LogSpec {
        &self.attempt.read.loaded.spec.log
    }

    /// Starts it. Where a block of what is configured cannot be started, the last applied epoch is, if there is another.
    pub(super) fn start(mut self, source: &impl Source, part: &Part) -> Result<First, StartError> {
        match self.journal.place() {
            Ok(_) => metrics::lifecycle().history.set(1),
            Err(cause) => HistoryOff {
                cause: &cause.to_string(),
            }
            .emit(),
        }
        for error in &self.recorded.skipped {
            warn!(%error, "a record of the history is skipped");
        }
        for cause in &self.lost {
            warn!(
                cause,
                "what an operator had set cannot be served, what is configured is"
            );
        }
        let configured = self.attempt.reasons.is_empty();
        let attempt = self.attempt;
        let (journal, recorded, seen) = (&mut self.journal, &self.recorded, &self.seen);
        let failed = match attempt.start(source, journal, recorded, seen, part) {
            Ok(started) => return Ok(started.with(self.journal, self.seen)),
            Err(error) => error,
        };
        let of_a_block = matches!(
            &failed,
            StartError::Prepare { .. } | StartError::Node(_) | StartError::NoRoom { .. }
        );
        if self.strict || !configured || !of_a_block {
            return Err(failed);
        }
        let reasons = vec![failed.to_string()];
        let found = previous(source, journal, recorded, reasons);
        let started = found.map_err(|reasons| reasons.join("; "));
        let started = started.and_then(|attempt| {
            let started = attempt.start(source, journal, recorded, seen, part);
            started.map_err(|error| error.to_string())
        });
        match started {
            Ok(started) => Ok(started.with(self.journal, self.seen)),
            Err(cause) => {
                warn!(cause, "no epoch of before can be served in its place");
                // What is configured is what should be served, so that is what the error is of.
                Err(failed)
            }
        }
    }
}

/// What [`First`] has but the journal.
struct Started {
    runtime: Runtime,
    served: Standing,
    record: Option<Box<Record>>,
    previous: bool,
}

impl Started {
    fn with(self, journal: Journal, seen: Seen) -> First {
        let Self {
            runtime,
            served,
            record,
            previous,
        } = self;
        First {
            runtime,
            journal,
            served,
            record,
            previous,
            seen,
        }
    }
}

impl Attempt {
    fn start(
        self,
        source: &impl Source,
        journal: &mut Journal,
        recorded: &Recorded,
        seen: &Seen,
        part: &Part,
    ) -> Result<Started, StartError> {
        let Self {
            read: Read { mut loaded, spec },
            served,
            reasons,
        } = self;
        let models = loaded.models();
        let record = served.record(
            journal,
            source.path(),
            (Trigger::Start, &spec, models),
            seen,
        );
        // A number that was given is not given again, also if its record cannot be read.
        let last = recorded.records.first();
        let last = last.filter(|last| recorded.last == Some(last.epoch));
        let (number, record) = match last.filter(|last| last.means_the_same(&record)) {
            Some(last) => (last.epoch, None),
            None => {
                let number = recorded.last.map_or(1, |last| last + 1);
                (number, Some(Box::new(record.numbered(number))))
            }
        };
        let epoch = Epoch(number);
        loaded.plan.epoch = epoch;
        let runtime = Runtime::start_knowing(loaded, part.clone(), Some(&Known::new()))?;
        if !reasons.is_empty() {
            PreviousServed {
                epoch,
                reasons: &reasons,
            }
            .emit();
        }
        Ok(Started {
            runtime,
            served,
            record,
            previous: !reasons.is_empty(),
        })
    }
}

/// Finds the rollback that still holds, if there is one; one that holds and cannot be read is noted as `lost`.
fn held(
    source: &impl Source,
    journal: &mut Journal,
    recorded: &Recorded,
    strict: bool,
    lost: &mut Vec<String>,
) -> Option<Attempt> {
    let last = recorded.records.first()?;
    let overrides = last.overrides.clone().after_start();
    overrides.rollback?;
    let configured = source.spec().ok().map(|spec| journal.fingerprint(&spec));
    if overrides.configured != configured || strict && configured.is_none() {
        return None;
    }
    let read = restore(source, journal, last, &overrides);
    let note = |reasons: Vec<String>| {
        let reasons = reasons.join("; ");
        lost.push(format!("the rollback, epoch {}: {reasons}", last.epoch));
    };
    let read = read.map_err(note).ok()?;
    let base = Some(Box::new(last.clone()));
    Some(Attempt {
        read,
        served: Standing { overrides, base },
        reasons: Vec::new(),
    })
}

/// Finds the newest epoch that was applied and can be served. If there is none, returns why not, with the reasons to look for it.
fn previous(
    source: &impl Source,
    journal: &mut Journal,
    recorded: &Recorded,
    mut reasons: Vec<String>,
) -> Result<Attempt, Vec<String>> {
    let mut wrong = Vec::new();
    for record in &recorded.records {
        let overrides = record.overrides.clone();
        let overrides = Overrides {
            unloaded: Default::default(),
            // The files, whatever they say, are to be served once they can be.
            configured: None,
            ..overrides
        };
        match restore(source, journal, record, &overrides) {
            Ok(read) => {
                let base = Some(Box::new(record.clone()));
                return Ok(Attempt {
                    read,
                    served: Standing { overrides, base },
                    reasons,
                });
            }
            Err(more) => wrong.extend(more.into_iter().map(|cause| {
                format!(
                    "epoch {} cannot be served in its place: {cause}",
                    record.epoch
                )
            })),
        }
    }
    reasons.extend(wrong);
    Err(reasons)
}

/// Reads what a record says, with what an operator has set over it.
pub(super) fn restore(
    source: &impl Source,
    journal: &mut Journal,
    record: &Record,
    overrides: &Overrides,
) -> Result<Read, Vec<String>> {
    let mut served = journal.restore(record, overrides)?;
    let mut spec = record.spec.clone();
    served.log = source.log(&served.log);
    spec.log = source.log(&spec.log);
    let loaded = Loaded::from_spec(&served);
    let told = |problem: &crate::types::Problem| problem.to_string();
    let loaded = loaded.map_err(|problems| problems.iter().map(told).collect::<Vec<_>>())?;
    Ok(Read { loaded, spec })
}
