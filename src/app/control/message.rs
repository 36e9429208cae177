//! What commands and answers look like.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::reload::{Applied, Outcome};

/// What is served now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub epoch: u32,
    pub process: u32,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Answer {
    Applied {
        epoch: u32,
        changes: Vec<String>,
        /// Reading, preparing and switching.
        took_ms: u64,
        /// Why it is not in the history.
        unrecorded: Option<String>,
    },
    /// What is wanted is what is served.
    Unchanged {
        epoch: u32,
    },
    /// What was served before still is.
    Rejected {
        reasons: Vec<String>,
    },
    /// It was served for a while, or had taken the room of what was served before, which is served again.
    RolledBack {
        reasons: Vec<String>,
    },
    Stopping,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::app) struct Rollback {
    #[serde(default)]
    pub epoch: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::app) struct Swapped {
    pub block: String,
    /// Absolute: the server may have been started elsewhere.
    pub file: PathBuf,
    pub pinned: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::app) struct Unpinned {
    pub block: String,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied(Applied {
                epoch,
                changes,
                took,
                unrecorded,
            }) => Self::Applied {
                epoch: epoch.0,
                changes,
                took_ms: milliseconds(took),
                unrecorded,
            },
            Outcome::Unchanged { epoch } => Self::Unchanged { epoch: epoch.0 },
            Outcome::Planned(planned) => Self::Unchanged {
                epoch: planned.epoch,
            },
            Outcome::Rejected { reasons } => Self::Rejected { reasons },
            Outcome::Full => Self::Rejected {
                reasons: vec![Outcome::FULL.to_owned()],
            },
            Outcome::RolledBack { reasons } => Self::RolledBack { reasons },
            Outcome::Stopping => Self::Stopping,
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
