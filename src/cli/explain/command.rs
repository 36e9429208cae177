//! The command: loads a plan and renders it in the form asked for.

use clap::Args;

use crate::engine::cuda::is_unshared;
use crate::plan::Plan;

use super::{dot, json, mermaid, text};
use crate::cli::args::ConfigArgument;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::{compose, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArguments {
    #[command(flatten)]
    source: ConfigArgument,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: PlanFormat,
}

/// Form in which a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PlanFormat {
    Text,
    Json,
    /// Graphviz.
    Dot,
    /// A Mermaid flowchart.
    Mermaid,
}

pub(in crate::cli) fn execute(arguments: &ExplainArguments) -> Result<Exit, CliError> {
    let mut loaded = compose::load(&arguments.source.config)?;
    loaded.plan.without_pools(is_unshared);
    output::print(&render_plan(&loaded.plan, arguments.format)?)?;
    Ok(Exit::Success)
}

/// Renders a plan, ending in a line break. The field names of the JSON are stable.
pub fn render_plan(plan: &Plan, format: PlanFormat) -> Result<String, CliError> {
    match format {
        PlanFormat::Text => Ok(text::render(plan)),
        PlanFormat::Json => output::json(&json::describe(plan)),
        PlanFormat::Dot => Ok(dot::render(plan)),
        PlanFormat::Mermaid => Ok(mermaid::render(plan)),
    }
}
