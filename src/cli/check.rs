//! `blockflow check`: everything that can be known without loading a device.

use clap::Args;

use super::args::ConfigArgument;
use super::compose;
use super::error::{self, CliError};
use super::exit::Exit;
use super::output::{self, Format};

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    source: ConfigArgument,
    /// Form of the result. JSON is an array of problems, empty when all is well.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// Prints every problem to stdout, for they are what was asked for.
pub(super) fn execute(arguments: &CheckArguments) -> Result<Exit, CliError> {
    let (found, summary) = match compose::load(&arguments.source.config) {
        Ok(loaded) => {
            let (blocks, pipelines) = (loaded.plan.blocks.len(), loaded.plan.pipelines.len());
            (
                Vec::new(),
                format!(
                    "ok: {}, {}\n",
                    count(blocks, "block"),
                    count(pipelines, "pipeline")
                ),
            )
        }
        Err(CliError::Configuration(found)) => {
            let summary = error::lines(&found);
            (found, summary)
        }
        Err(error) => return Err(error),
    };
    match arguments.format {
        Format::Text => output::print(&summary)?,
        Format::Json => output::print_json(&found)?,
    }
    Ok(if found.is_empty() {
        Exit::Success
    } else {
        Exit::Configuration
    })
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
