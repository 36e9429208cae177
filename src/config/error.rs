//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::types::Problem;

use super::Locator;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {cause}", path = path.display())]
    Read { path: PathBuf, cause: io::Error },
    /// The file is not TOML. Lines and columns count from 1.
    #[error("{path}:{line}:{column}: {cause}", path = path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        cause: String,
    },
    /// Everything that is wrong, one line each.
    #[error("{0}")]
    Invalid(Invalid),
}

/// Problems together with what knows their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub problems: Vec<Problem>,
    pub locator: Locator,
}

impl ConfigError {
    /// Returns the single problems; empty for a file that could not be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Invalid(invalid) => &invalid.problems,
            Self::Read { .. } | Self::Syntax { .. } => &[],
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.locator.render(&self.problems).trim_end())
    }
}
