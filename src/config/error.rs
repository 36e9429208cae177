//! Why a configuration could not be read at all.

use std::io;
use std::path::PathBuf;

use crate::types::Problem;

use super::Located;

/// A file that could not be read as a table of keys, so that nothing more can be said about it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.located())]
pub enum ConfigError {
    Read {
        path: PathBuf,
        cause: io::Error,
    },
    /// The file is not TOML. Lines and columns count from 1.
    Syntax {
        path: PathBuf,
        line: usize,
        column: usize,
        cause: String,
    },
}

impl ConfigError {
    /// Returns the error as a problem of the file.
    pub fn located(&self) -> Located {
        let (path, line, seen, expected) = match self {
            Self::Read { path, cause } => (
                path,
                None,
                format!("cannot be read: {cause}"),
                "expected a configuration file",
            ),
            Self::Syntax {
                path,
                line,
                column,
                cause,
            } => (
                path,
                Some(*line),
                format!("column {column}: {cause}"),
                "expected TOML",
            ),
        };
        let problem = Problem::new("", seen, expected);
        Located::new(path.display().to_string(), line, problem)
    }
}
