//! The steps of an apply, by name, and where a build for tests can be made to end.
//!
//! A build with debug assertions reads the variable `FAILPOINTS`: `apply.prepared=abort` ends the process, without any clean-up, as soon
//! as it has come there. Several are separated by `;`.

/// How far a reload has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The configuration and its models were read.
    Read,
    /// It is another than the one that is served.
    Compared,
    /// Its runtime is there, beside the one that serves.
    Prepared,
    /// Requests begin in it.
    Switched,
    /// Its record is written, and not in its place yet.
    Written,
    /// Its record is in its place.
    Renamed,
    /// Its record lasts, and what no record needs is gone.
    Recorded,
    /// The epoch before it has ended.
    Retired,
}

impl Step {
    /// In the order in which an apply comes to them.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Compared,
        Self::Prepared,
        Self::Switched,
        Self::Written,
        Self::Renamed,
        Self::Recorded,
        Self::Retired,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "apply.read",
            Self::Compared => "apply.compared",
            Self::Prepared => "apply.prepared",
            Self::Switched => "apply.switched",
            Self::Written => "apply.written",
            Self::Renamed => "apply.renamed",
            Self::Recorded => "apply.recorded",
            Self::Retired => "apply.retired",
        }
    }

    /// Ends the process here, where it was started to.
    pub(super) fn reached(self) {
        if cfg!(debug_assertions) && self.is_last() {
            std::process::abort();
        }
    }

    fn is_last(self) -> bool {
        let points = std::env::var("FAILPOINTS").unwrap_or_default();
        let mut points = points.split(';').map(str::trim);
        points.any(|point| point.strip_suffix("=abort") == Some(self.name()))
    }
}
