//! Which server a command is for.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::{self, Control, ControlError};
use crate::cli::args::LogArguments;
use crate::cli::compose::ConfigurationFile;
use crate::cli::error::CliError;

/// Where a server keeps its state, as a flag.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StateArgument {
    /// Directory of the server's history and of the socket that it takes commands on; by default one for each configuration
    /// file below $XDG_STATE_HOME/blockflow (~/.local/state).
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) state: Option<PathBuf>,
}

/// The server of a configuration, as flags.
#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    /// Configuration file that the server was started with.
    #[arg(long, value_name = "FILE", default_value = "blocks.toml")]
    pub(super) config: PathBuf,
    #[command(flatten)]
    state: StateArgument,
}

impl StateArgument {
    /// Returns the state directory for a configuration file.
    pub(in crate::cli) fn directory(&self, config: &Path) -> Result<PathBuf, app::HistoryError> {
        app::state_directory(self.state.as_deref(), config)
    }
}

impl ServerArguments {
    pub(super) fn directory(&self) -> Result<PathBuf, CliError> {
        Ok(self.state.directory(&self.config)?)
    }

    pub(super) fn source(&self, log: &LogArguments) -> ConfigurationFile {
        ConfigurationFile {
            path: self.config.clone(),
            log: log.clone(),
        }
    }

    /// Gives a command, and waits for its answer.
    pub(super) fn ask<T>(
        &self,
        command: impl AsyncFnOnce(&Control) -> Result<T, ControlError>,
    ) -> Result<T, CliError> {
        let directory = self.directory()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::Client)?;
        let asked = runtime.block_on(async {
            let control = Control::of(&directory)?;
            command(&control).await
        });
        Ok(asked?)
    }
}
