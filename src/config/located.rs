//! A problem with the place it stands at, as people and programs read it.

use std::fmt;

use serde::Serialize;

use crate::types::Problem;

/// A problem with its file and line; printed as one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Located {
    /// The configuration file, or `environment` and a variable.
    pub file: String,
    /// `None` where the problem is of the file as a whole or of a value that it does not contain.
    pub line: Option<usize>,
    /// Empty where the problem is of the file as a whole.
    pub key: String,
    pub seen: String,
    pub expected: String,
}

impl Located {
    pub fn new(file: String, line: Option<usize>, problem: Problem) -> Self {
        let Problem {
            key,
            seen,
            expected,
        } = problem;
        Self {
            file,
            line,
            key,
            seen,
            expected,
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}; {}", self.seen, self.expected)
    }
}
