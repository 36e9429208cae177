//! `blockflow keys`: makes the keys of this host and shows the public one. The secret one stays in its file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::exit::Exit;
use super::output;
use crate::app;

#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a secret key in a file that is not there yet, and print the public key that goes with it, for hosts.NAME.key of
    /// the configuration.
    New(KeyFileArgument),
    /// Print the public key that goes with the secret one.
    Show(KeyFileArgument),
}

/// The file of the secret key, as a flag.
#[derive(Debug, Args)]
pub(super) struct KeyFileArgument {
    /// File of this host's secret key; by default $XDG_CONFIG_HOME/blockflow/key (~/.config).
    #[arg(long, value_name = "PATH")]
    pub(super) key_file: Option<PathBuf>,
}

pub(super) fn execute(arguments: &KeysArguments) -> Result<Exit, CliError> {
    let public = match &arguments.action {
        Action::New(at) => app::make_key(&app::key_file(at.key_file.as_deref())?)?,
        Action::Show(at) => app::read_key(&app::key_file(at.key_file.as_deref())?)?.public(),
    };
    output::print(&format!("{public}\n"))?;
    Ok(Exit::Success)
}
