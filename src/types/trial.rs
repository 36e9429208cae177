//! How a new epoch is tried on live requests before it takes over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tolerance;

/// What a prepared epoch goes through on its way; without either part it takes over at once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReloadSpec {
    pub shadow: Option<ShadowSpec>,
    pub canary: Option<CanarySpec>,
}

/// Copies of live requests, whose answers are compared and go nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowSpec {
    /// Of the requests, above 0 and at most 1.
    pub share: f32,
    /// Comparisons that are enough.
    pub requests: u64,
    pub tolerance: Tolerance,
    /// Answers that may differ or be missing.
    pub mismatches_max: u64,
    /// After that, what was compared has to do.
    pub time_max: Duration,
}

/// Live requests that begin in the new epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanarySpec {
    /// Of the requests, above 0 and at most 1.
    pub share: f32,
    /// Answers of the new epoch that are enough.
    pub requests: u64,
    /// After that, what was answered has to do.
    pub time_max: Duration,
    /// Share of requests that may fail beyond that of the old epoch.
    pub error_ratio_max: f32,
    /// How many times the latency of the old epoch is still good, of the median and of the 99th percentile.
    pub latency_ratio_max: f32,
}

impl ReloadSpec {
    /// Tells whether there is anything to try.
    pub const fn is_trial(&self) -> bool {
        self.shadow.is_some() || self.canary.is_some()
    }
}
