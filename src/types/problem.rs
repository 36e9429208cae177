//! Problems of a configuration, collected so that all are reported at once.

use std::fmt;

/// Names of what a configuration declares in a form that could not be understood. That has been reported; what refers
/// to them is not wrong for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unsound {
    pub hosts: Vec<String>,
    pub blocks: Vec<String>,
    pub pipelines: Vec<String>,
}

/// One thing that is wrong with a configuration and what would be right.
///
/// `key` is the dotted path as it stands in the file, for example `pipelines.digit.flow[1]`; the room that read the
/// file knows its line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub key: String,
    /// What was found, with the value seen.
    pub seen: String,
    /// What to change.
    pub expected: String,
}

impl Problem {
    pub fn new(
        key: impl Into<String>,
        seen: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self {
            key: key.into(),
            seen: seen.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.seen, self.expected)
    }
}
