//! `blockflow check`: everything that can be known without loading a device, and, where asked for, what blocks have to show
//! before they serve.

use std::time::Duration;

use clap::Args;

use crate::app::{Loaded, Runtime};
use crate::types::LogFormat;

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
    /// Prepare every block too, run it on zeros and on its golden inputs as a start does, and serve nothing.
    #[arg(long)]
    golden: bool,
}

/// Prints every problem to stdout, for they are what was asked for.
pub(super) fn execute(arguments: &CheckArguments) -> Result<Exit, CliError> {
    let read = match arguments.golden {
        true => compose::load_to_run(&arguments.source.config),
        false => compose::load(&arguments.source.config),
    };
    let (found, summary) = match read {
        Ok(loaded) => (Vec::new(), summarise(loaded, arguments.golden)?),
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

/// Says what there is, once all that was asked for has been tried.
fn summarise(loaded: Loaded, golden: bool) -> Result<String, CliError> {
    let plan = &loaded.plan;
    let (blocks, pipelines) = (plan.blocks.len(), plan.pipelines.len());
    let summary = format!(
        "ok: {}, {}",
        count(blocks, "block"),
        count(pipelines, "pipeline")
    );
    if !golden {
        return Ok(format!("{summary}\n"));
    }
    if plan.hosts.len() > 1 {
        let cause = "--golden tries the blocks of one host, and the configuration has several";
        return Err(CliError::Usage(cause.to_owned()));
    }
    let cases = plan.blocks.iter().map(|block| &block.spec.proof.golden);
    let proven = count(cases.flatten().count(), "block");
    let part = compose::part(None, LogFormat::Text);
    Runtime::start(loaded, part)?.stop(Duration::ZERO);
    Ok(format!(
        "{summary}; golden cases of {proven} give what they should\n"
    ))
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
