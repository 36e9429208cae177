//! Problems of a configuration with the place they stand at, as people and programs read them.

use std::fmt;

use serde::Serialize;

use crate::types::Problem;

/// A problem with its file and line.
///
/// Orders by file, then line; problems without a line come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Located {
    /// The configuration file, or `environment` and a variable.
    pub file: String,
    /// `None` where the problem is of the file as a whole or of a value that it does not contain.
    pub line: Option<usize>,
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

/// Renders one problem per line.
pub(super) fn lines(problems: &[Located]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}
