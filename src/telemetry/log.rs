//! Set-up of the log.

use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing_subscriber::{EnvFilter, reload};

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
        LogFormat::Text => {
            let log = log.with_ansi(io::stderr().is_terminal());
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            let done = log.try_init();
            done.map(|()| keep(move |filter| handle.reload(filter)))
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            let handle = log.reload_handle();
            let done = log.try_init();
            done.map(|()| keep(move |filter| handle.reload(filter)))
        }
    };
    done.map_err(|_| LogError::Twice)
}

type Replace = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// Replaces the filter of the log, once there is one.
static REPLACE: OnceLock<Replace> = OnceLock::new();

fn keep(replace: impl Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync + 'static) {
    // The log is set up once, and so is this.
    let _ = REPLACE.set(Box::new(replace));
}

/// Has the log of this process be filtered in another way from now on. Nothing happens where there is no log.
pub fn set_filter(filter: &str) -> Result<(), LogError> {
    let replacement = read(filter)?;
    let Some(replace) = REPLACE.get() else {
        return Ok(());
    };
    replace(replacement).map_err(|error| LogError::Filter {
        filter: filter.to_owned(),
        cause: error.to_string(),
    })
}
