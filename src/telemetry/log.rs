//! Set-up of the log.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::types::{LogFormat, LogSpec};

use super::LogError;

/// Tells whether a filter can be read.
pub fn check_filter(filter: &str) -> Result<(), LogError> {
    read(filter).map(drop)
}

fn read(filter: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(filter).map_err(|error| LogError::Filter {
        filter: filter.to_owned(),
        cause: error.to_string(),
    })
}

/// Sends the log of this process to stderr. Called once, before anything is logged.
pub fn init(spec: &LogSpec) -> Result<(), LogError> {
    let filter = read(&spec.filter)?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let done = match spec.format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}
