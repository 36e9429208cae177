//! The record of an epoch, as it is written and read.
//!
//! A record is JSON: a version, the digest of the rest as it stands there, and the rest. So one that was cut short, or in which
//! a bit has flipped, is told from one that was written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::Overrides;
use crate::graph::Digest;
use crate::types::Spec;

use super::HistoryError;

/// Version of the records that are written, and read.
const VERSION: u64 = 1;
/// Bytes of a record at most.
pub(super) const RECORD_BYTES_MAX: u64 = 1 << 24;
/// Changes that a record tells of, and letters of each.
const CHANGES_MAX: usize = 256;
const CHANGE_LENGTH_MAX: usize = 500;
/// Epochs are counted up to here, which nobody reaches.
const EPOCH_MAX: u32 = u32::MAX / 2;

/// One applied epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub epoch: u32,
    /// Milliseconds since 1970 in UTC.
    pub time_ms: u64,
    pub trigger: Trigger,
    /// What was different from the epoch before.
    pub changes: Vec<String>,
    /// The file that the configuration was read from, as it was.
    pub configuration: RecordedFile,
    pub models: Vec<RecordedModel>,
    /// What an operator had set over `spec`.
    pub overrides: Overrides,
    pub spec: Spec,
}

/// What an epoch was applied for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The server was started.
    Start,
    Hangup,
    /// A file of the configuration, or of a model, is another.
    Files,
    /// Somebody asked for a reload.
    Request,
    Rollback,
    Swap,
    Load,
    Unload,
}

/// A file, and what it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    pub path: PathBuf,
    pub bytes: u64,
    /// BLAKE3 in hexadecimal digits; `None` where it could not be told.
    pub digest: Option<String>,
}

/// A model: its file, and the files beside it in which some of its weights lie, with paths relative to the folder of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedModel {
    pub path: PathBuf,
    pub parts: Vec<RecordedFile>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    version: u64,
    digest: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl Trigger {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Hangup => "hangup",
            Self::Files => "files",
            Self::Request => "request",
            Self::Rollback => "rollback",
            Self::Swap => "swap",
            Self::Load => "load",
            Self::Unload => "unload",
        }
    }
}

impl Record {
    /// Takes down what is different from before, as far as there is room for it.
    #[must_use]
    pub(in crate::app) fn changed(mut self, changes: &[String]) -> Self {
        let short = |line: &String| line.chars().take(CHANGE_LENGTH_MAX).collect();
        self.changes = changes.iter().take(CHANGES_MAX).map(short).collect();
        self
    }

    #[must_use]
    pub(in crate::app) fn numbered(self, epoch: u32) -> Self {
        Self { epoch, ..self }
    }

    /// Tells whether the same is served by both, however it is logged. What is unloaded is so only until the next start.
    pub(in crate::app) fn means_the_same(&self, other: &Self) -> bool {
        let spec = Spec {
            log: other.spec.log.clone(),
            ..self.spec.clone()
        };
        let overrides = Overrides {
            unloaded: other.overrides.unloaded.clone(),
            configured: other.overrides.configured.clone(),
            ..self.overrides.clone()
        };
        spec == other.spec && overrides == other.overrides && self.models == other.models
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, HistoryError> {
        let text = serde_json::to_string_pretty(self).expect("a record has a form in JSON");
        let digest = seal(&text);
        let record = RawValue::from_string(text).expect("it was written as JSON");
        let sealed = Sealed {
            version: VERSION,
            digest,
            record: &record,
        };
        let mut bytes = serde_json::to_vec(&sealed).expect("text and a number have a form in JSON");
        bytes.push(b'\n');
        if bytes.len() as u64 > RECORD_BYTES_MAX {
            return Err(HistoryError::TooLong {
                bytes: bytes.len() as u64,
                max: RECORD_BYTES_MAX,
            });
        }
        Ok(bytes)
    }

    /// Reads a record that was found at `path`, which stands for the epoch of that number.
    pub(super) fn decode(path: &Path, epoch: u32, bytes: &[u8]) -> Result<Self, HistoryError> {
        let corrupt = |cause: String| HistoryError::Corrupt {
            path: path.to_owned(),
            cause,
        };
        let unread = |error: serde_json::Error| corrupt(error.to_string());
        let Versioned { version } = serde_json::from_slice(bytes).map_err(unread)?;
        if version != VERSION {
            return Err(HistoryError::Version {
                path: path.to_owned(),
                seen: version,
                known: VERSION,
            });
        }
        let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(unread)?;
        let text = sealed.record.get();
        if seal(text) != sealed.digest {
            return Err(corrupt("it is not what was written".to_owned()));
        }
        let record: Self = serde_json::from_str(text).map_err(unread)?;
        if record.epoch != epoch || record.epoch > EPOCH_MAX {
            return Err(corrupt(format!("it is of epoch {}", record.epoch)));
        }
        Ok(record)
    }
}

/// Returns the name of the file of an epoch.
pub(super) fn file_name(epoch: u32) -> String {
    format!("{epoch:08}.json")
}

/// Returns the epoch whose file has a name.
pub(super) fn epoch_of(name: &str) -> Option<u32> {
    let epoch = name.strip_suffix(".json")?.parse().ok()?;
    (epoch <= EPOCH_MAX && file_name(epoch) == name).then_some(epoch)
}

fn seal(text: &str) -> String {
    Digest::of("epoch", text.as_bytes()).to_string()
}
