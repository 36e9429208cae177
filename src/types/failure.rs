//! The error that answers a request.

use std::fmt;

/// Why a request got no result. Decides the status a front end answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The request itself is wrong.
    Invalid,
    /// Too many requests are in flight; the same request may succeed later.
    Overloaded,
    /// The deadline passed first.
    DeadlineExceeded,
    /// A block failed while it ran this request.
    BlockFailed,
    /// A block the request needs is not running.
    Unavailable,
    /// The program is stopping.
    ShuttingDown,
    /// The client went away.
    Cancelled,
}

/// A request's error reply: what went wrong, in which block, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    pub kind: FailureKind,
    pub block: Option<String>,
    pub cause: String,
}

impl FailureKind {
    pub const ALL: [Self; 7] = [
        Self::Invalid,
        Self::Overloaded,
        Self::DeadlineExceeded,
        Self::BlockFailed,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::Cancelled,
    ];

    /// Returns the name that logs and metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Overloaded => "overloaded",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::BlockFailed => "block_failed",
            Self::Unavailable => "unavailable",
            Self::ShuttingDown => "shutting_down",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Failure {
    pub fn new(kind: FailureKind, cause: impl Into<String>) -> Self {
        Self {
            kind,
            block: None,
            cause: cause.into(),
        }
    }

    pub fn in_block(kind: FailureKind, block: &str, cause: impl Into<String>) -> Self {
        Self {
            kind,
            block: Some(block.to_owned()),
            cause: cause.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.block {
            Some(block) => write!(f, "block {block:?}: {}", self.cause),
            None => f.write_str(&self.cause),
        }
    }
}

impl Failure {
    /// Returns what is told who comes when the server ends.
    pub fn shutting_down() -> Self {
        Self::new(FailureKind::ShuttingDown, "the server is shutting down")
    }
}

/// Returns what a panic said.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message")
}

/// Renders an error with all its causes, which some leave out of their own message.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
