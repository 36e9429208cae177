//! What befalls a block or the process that it lives in.

/// How a block, or its process, failed. Each kind is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A run, or what makes a session, panicked.
    Panic,
    /// A run failed with an error after which its session cannot be used.
    Error,
    /// The sockets of the block failed.
    Links,
    /// A run, or warming, takes longer than it may.
    Hang,
    /// The device does not answer any more, and will not in this process.
    DeviceLost,
    /// Its process was ended by a signal.
    Killed,
    /// Its process ended by itself.
    Exited,
}

impl FaultKind {
    pub const ALL: [Self; 7] = [
        Self::Panic,
        Self::Error,
        Self::Links,
        Self::Hang,
        Self::DeviceLost,
        Self::Killed,
        Self::Exited,
    ];

    /// Returns the name that logs and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Error => "error",
            Self::Links => "links",
            Self::Hang => "hang",
            Self::DeviceLost => "device_lost",
            Self::Killed => "killed",
            Self::Exited => "exited",
        }
    }
}
