//! Log set-up, notable events and metrics of the process.
//!
//! Logs go to stderr, results of commands to stdout. A notable event is one struct that emits both its log line and its
//! metric ([`Event`]); counts on the data path are plain atomics ([`metrics`]), fetched once per block or pipeline.
//! Nothing here decides anything or stops a request: a metric is written without locks, and never fails.

mod epochs;
mod error;
mod events;
mod log;
pub mod metrics;
mod trials;

pub use epochs::{
    EpochApplied, EpochExchanged, EpochRejected, EpochRetired, EpochUnrecorded, HistoryOff,
    PreviousServed,
};
pub use error::LogError;
pub use events::{
    BlockBack, BlockFailed, BlockRestarted, BlockStarted, BlockStuck, DrainStarted, Event,
    MemoryLeaked, ProcessEnded, ProcessFails, ProcessReplaced, RequestRefused, ShutdownPhase,
    Straggler, WeightsLoaded,
};
pub use log::{check_filter, init, set_filter};
pub use trials::{CanaryJudged, EpochRolledBack, ShadowJudged};
