//! The command: reads a model, looks at it, and renders what was found.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, DrawnFormat};
use crate::cli::{compose, dims};
use crate::types::Bindings;

use super::view::{self, ModelView};
use super::{dot, text};

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArguments {
    /// Model to look at: an .onnx or .pt2 file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Size of a dimension by its symbol, for costs; 1 for a symbol that is not named. Repeatable.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dims::dim)]
    dims: Vec<(Arc<str>, usize)>,
    /// List the tensors that cut the model in two by themselves, with the bytes that would cross.
    #[arg(long)]
    cuts: bool,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: DrawnFormat,
}

pub(in crate::cli) fn execute(arguments: &InspectArguments) -> Result<Exit, CliError> {
    let path = &arguments.model;
    let graph = compose::read_graph(path, "inspected")?;
    let sizes: Bindings = arguments.dims.iter().cloned().collect();
    dims::check(&graph, &sizes)?;
    if arguments.format == DrawnFormat::Dot {
        output::print(&dot::render(&graph))?;
        return Ok(Exit::Success);
    }
    let model: ModelView = view::describe(path, &graph, sizes, arguments.cuts);
    match arguments.format {
        DrawnFormat::Json => output::print_json(&model)?,
        DrawnFormat::Text | DrawnFormat::Dot => output::print(&text::render(&model))?,
    }
    Ok(Exit::Success)
}
