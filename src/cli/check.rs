//! `blockflow check`: everything that can be known without loading a device, and, where asked for, what blocks have to show
//! before they serve.

use std::time::Duration;

use clap::Args;

use serde::Serialize;

use crate::app::{Accuracy, Loaded, Runtime, accuracy};
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
    /// Form of the result. JSON is an array of problems, empty when all is well; with --golden, an object of these and of what
    /// computing in other numbers than FP32 changes.
    #[arg(long, default_value = "text")]
    format: Format,
    /// Prepare every block too, run it on zeros and on its golden inputs as a start does, and serve nothing. Of blocks that
    /// compute in other numbers than FP32, tell how far they are from themselves in FP32 on these inputs.
    #[arg(long)]
    golden: bool,
}

/// What there is to say with `--golden`.
#[derive(Debug, Serialize)]
struct Report<'a, P> {
    problems: &'a [P],
    accuracy: &'a [Accuracy],
}

/// Prints every problem to stdout, for they are what was asked for.
pub(super) fn execute(arguments: &CheckArguments) -> Result<Exit, CliError> {
    let read = match arguments.golden {
        true => compose::load_to_run(&arguments.source.config),
        false => compose::load(&arguments.source.config),
    };
    let (found, changes, summary) = match read {
        Ok(loaded) => {
            let (changes, summary) = summarise(loaded, arguments)?;
            (Vec::new(), changes, summary)
        }
        Err(CliError::Configuration(found)) => {
            let summary = error::lines(&found);
            (found, Vec::new(), summary)
        }
        Err(error) => return Err(error),
    };
    match arguments.format {
        Format::Text => output::print(&summary)?,
        Format::Json if arguments.golden => output::print_json(&Report {
            problems: &found,
            accuracy: &changes,
        })?,
        Format::Json => output::print_json(&found)?,
    }
    Ok(if found.is_empty() {
        Exit::Success
    } else {
        Exit::Configuration
    })
}

/// Says what there is, once all that was asked for has been tried.
fn summarise(
    loaded: Loaded,
    arguments: &CheckArguments,
) -> Result<(Vec<Accuracy>, String), CliError> {
    let plan = &loaded.plan;
    let (blocks, pipelines) = (plan.blocks.len(), plan.pipelines.len());
    let summary = format!(
        "ok: {}, {}",
        count(blocks, "block"),
        count(pipelines, "pipeline")
    );
    if !arguments.golden {
        return Ok((Vec::new(), format!("{summary}\n")));
    }
    if plan.hosts.len() > 1 {
        let cause = "--golden tries the blocks of one host, and the configuration has several";
        return Err(CliError::Usage(cause.to_owned()));
    }
    let cases = plan.blocks.iter().map(|block| &block.spec.proof.golden);
    let proven = count(cases.flatten().count(), "block");
    let changes = accuracy(&loaded)?;
    // Told at once: where a case is not met, this says by how much the numbers are to blame.
    if arguments.format == Format::Text {
        output::print(&changes.iter().map(lines).collect::<String>())?;
    }
    let part = compose::part(None, LogFormat::Text);
    let started = Runtime::start(loaded, part);
    if started.is_err() && arguments.format == Format::Json {
        output::print_json(&Report::<crate::config::Located> {
            problems: &[],
            accuracy: &changes,
        })?;
    }
    started?.stop(Duration::ZERO);
    let summary = format!("{summary}; golden cases of {proven} give what they should\n");
    Ok((changes, summary))
}

/// Writes how a block differs from itself in FP32, a line for each output.
fn lines(change: &Accuracy) -> String {
    let Accuracy {
        block,
        precision,
        pipelines,
        cases,
        outputs,
    } = change;
    let users = match pipelines.is_empty() {
        true => String::new(),
        false => format!(" (of {})", pipelines.join(", ")),
    };
    let name = format!("block {block:?}{users} in {precision}");
    if *cases == 0 {
        return format!("{name}: has no golden cases, so nothing is known of its accuracy\n");
    }
    let cases = count(*cases, "case");
    let line = |output: &crate::app::OutputAccuracy| {
        let broken = match output.broken {
            0 => String::new(),
            some => format!(
                ", {some} elements are finite in one of the two only, or no floats and others"
            ),
        };
        format!(
            "{name}: output {:?} differs from fp32 by at most {:.3e}, relative {:.3e}, in {} of {cases}{broken}\n",
            output.output,
            output.absolute_max,
            output.relative_max,
            count(output.compared, "element"),
        )
    };
    outputs.iter().map(line).collect()
}

fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
