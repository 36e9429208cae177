//! Why an operator failed, in one line.

use std::fmt;

/// Message of an error of libtorch or of an operator's own checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause(String);

impl Cause {
    /// Takes the first line of `message`: what follows it in errors of libtorch is a backtrace.
    pub(crate) fn new(message: impl AsRef<str>) -> Self {
        Self(
            message
                .as_ref()
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end()
                .to_owned(),
        )
    }

    /// Takes the lines of a TorchScript error that say what failed: the last one and, where the interpreter wrote a
    /// traceback, not the traceback.
    pub(crate) fn jit(message: &str) -> Self {
        let said = message
            .split("\nException raised from")
            .next()
            .unwrap_or_default();
        let last = said.lines().rev().find(|line| line.contains("Error:"));
        Self::new(last.unwrap_or(said))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<tch::TchError> for Cause {
    fn from(error: tch::TchError) -> Self {
        match error {
            tch::TchError::Torch(message) => Self::new(message),
            other => Self::new(other.to_string()),
        }
    }
}
