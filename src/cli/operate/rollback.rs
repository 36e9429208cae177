//! `blockflow rollback`: has a running server serve an epoch of before.

use clap::Args;

use super::answer;
use super::server::ServerArguments;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Format;

#[derive(Debug, Args)]
pub(in crate::cli) struct RollbackArguments {
    /// Epoch to serve again, as `blockflow history` shows it; by default the one before. It is served until the files of the
    /// configuration change.
    #[arg(value_name = "EPOCH")]
    epoch: Option<u32>,
    #[command(flatten)]
    server: ServerArguments,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

pub(in crate::cli) fn execute(arguments: &RollbackArguments) -> Result<Exit, CliError> {
    let epoch = arguments.epoch;
    let answer = arguments
        .server
        .ask(async |control| control.rollback(epoch).await)?;
    answer::tell(&answer, arguments.format)
}
