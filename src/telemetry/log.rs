//! Set-up of the log.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::types::{LogFormat, LogSpec};

use super::LogError;

/// Sends the log of this process to stderr. Called once, before anything is logged.
pub fn init(spec: &LogSpec) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(&spec.filter).map_err(|error| LogError::Filter {
        filter: spec.filter.clone(),
        cause: error.to_string(),
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let done = match spec.format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}
