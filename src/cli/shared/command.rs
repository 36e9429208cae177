//! The command: reads models, compares them by content, and renders what they share.

use std::path::PathBuf;

use clap::Args;

use crate::cli::compose;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, DrawnFormat};
use crate::cli::progress::{Progress, weight_bytes};
use crate::graph::{Graph, share};

use super::view::SharingView;
use super::{dot, text};

#[derive(Debug, Args)]
pub(in crate::cli) struct SharedArguments {
    /// Models to compare: .onnx or .pt2 files, two or more.
    #[arg(value_name = "MODEL", required = true, num_args = 2..)]
    models: Vec<PathBuf>,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: DrawnFormat,
}

pub(in crate::cli) fn execute(arguments: &SharedArguments) -> Result<Exit, CliError> {
    let graphs = arguments
        .models
        .iter()
        .map(|path| compose::read_graph(path, "compared"))
        .collect::<Result<Vec<Graph>, _>>()?;
    let progress = Progress::new("hashing", graphs.iter().map(weight_bytes).sum());
    let subjects: Vec<&Graph> = graphs.iter().collect();
    let sharing = share(&subjects, &mut |bytes| progress.add(bytes));
    drop(progress);
    let view = SharingView::of(&arguments.models, &graphs, &sharing);
    match arguments.format {
        DrawnFormat::Text => output::print(&text::render(&view))?,
        DrawnFormat::Json => output::print_json(&view)?,
        DrawnFormat::Dot => output::print(&dot::render(&view))?,
    }
    Ok(Exit::Success)
}
