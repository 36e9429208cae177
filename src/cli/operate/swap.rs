//! `blockflow swap`: gives a block of a running server another model.

use std::path::PathBuf;

use clap::Args;

use super::answer;
use super::server::ServerArguments;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::Format;

#[derive(Debug, Args)]
pub(in crate::cli) struct SwapArguments {
    /// Block that is to have another model.
    #[arg(value_name = "BLOCK")]
    block: String,
    /// The model, in place of the configured one until the configuration changes.
    #[arg(value_name = "FILE", required_unless_present = "unpin")]
    file: Option<PathBuf>,
    /// Keep it when the configuration changes, and when the server starts again.
    #[arg(long)]
    pin: bool,
    /// Give the block its configured model again.
    #[arg(long, conflicts_with_all = ["file", "pin"])]
    unpin: bool,
    #[command(flatten)]
    server: ServerArguments,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
}

pub(in crate::cli) fn execute(arguments: &SwapArguments) -> Result<Exit, CliError> {
    let block = arguments.block.clone();
    let answer = match &arguments.file {
        Some(file) => {
            let absolute = std::path::absolute(file).map_err(|source| CliError::File {
                action: "find",
                path: file.clone(),
                source,
            })?;
            let pinned = arguments.pin;
            let swap =
                async |control: &crate::app::Control| control.swap(block, absolute, pinned).await;
            arguments.server.ask(swap)?
        }
        None => arguments
            .server
            .ask(async |control| control.unpin(block).await)?,
    };
    answer::tell(&answer, arguments.format)
}
