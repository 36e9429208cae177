//! Whether runs on a CUDA device are captured and replayed, and why they are not.

use serde::{Deserialize, Serialize};

/// Whether the sessions of a block capture their runs as CUDA graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CudaGraphs {
    /// Every kernel is launched in every run.
    Off,
    /// Where that can be done.
    #[default]
    Auto,
    /// A block whose declared shapes cannot be captured does not start.
    Required,
}

/// Why kernels are launched one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EagerReason {
    /// This program, or this process, has nothing to capture with.
    Unavailable,
    /// A size follows from data.
    DataSizes,
    /// The host reads from the device in the middle of a run, or writes to it.
    HostBetween,
    /// Numbers are drawn.
    Random,
    /// What was captured takes more memory than there is.
    NoRoom,
    /// The capture failed.
    Failed,
    /// The shapes of a run are not among those that were captured.
    Shape,
}

impl CudaGraphs {
    /// Returns the value as configurations have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "false",
            Self::Auto => "auto",
            Self::Required => "true",
        }
    }
}

impl EagerReason {
    pub const ALL: [Self; 7] = [
        Self::Unavailable,
        Self::DataSizes,
        Self::HostBetween,
        Self::Random,
        Self::NoRoom,
        Self::Failed,
        Self::Shape,
    ];

    /// Returns the name that logs and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::DataSizes => "data_sizes",
            Self::HostBetween => "host_between",
            Self::Random => "random",
            Self::NoRoom => "no_room",
            Self::Failed => "failed",
            Self::Shape => "shape",
        }
    }
}
