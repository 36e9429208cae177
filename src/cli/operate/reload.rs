//! `blockflow reload`: has a running server serve what is configured now, and waits until it does.

use clap::Args;

use super::answer;
use super::server::ServerArguments;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Format;

#[derive(Debug, Args)]
pub(in crate::cli) struct ReloadArguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

pub(in crate::cli) fn execute(arguments: &ReloadArguments) -> Result<Exit, CliError> {
    let answer = arguments
        .server
        .ask(async |control| control.reload().await)?;
    answer::tell(&answer, arguments.format)
}
