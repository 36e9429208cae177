//! The command: cuts a model, writes its parts and their configuration, and tells what it wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args};

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{self, DrawnFormat};
use crate::cli::progress::{Progress, weight_bytes};
use crate::cli::{compose, dims};
use crate::graph::{Graph, Part, WriteOptions};
use crate::types::Bindings;

use super::blocks::{Block, Split};
use super::{dot, text, wiring};

/// Name of the configuration in the folder.
const CONFIG: &str = "blocks.toml";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("where").required(true).args(["at", "parts"]))]
pub(in crate::cli) struct SplitArguments {
    /// Model to cut: an .onnx or .pt2 file.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Cut at this tensor. Repeatable, in any order; what else crosses becomes an edge too.
    #[arg(long, value_name = "TENSOR")]
    at: Vec<String>,
    /// Cut into a chain of so many parts of about the same weight, at tensors that nothing else crosses beside.
    #[arg(long, value_name = "N", value_parser = parts)]
    parts: Option<usize>,
    /// Size of a dimension by its symbol, for weighing parts; 1 for a symbol that is not named. Repeatable.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dims::dim)]
    dims: Vec<(Arc<str>, usize)>,
    /// Folder for the blocks and blocks.toml; made if missing.
    #[arg(long, short = 'o', value_name = "DIR")]
    output: PathBuf,
    /// Write into a folder that is not empty, over files of the same names.
    #[arg(long)]
    force: bool,
    /// Form of the result.
    #[arg(long, default_value = "text")]
    format: DrawnFormat,
}

pub(in crate::cli) fn execute(arguments: &SplitArguments) -> Result<Exit, CliError> {
    let graph = compose::read_graph(&arguments.model, "cut")?;
    let sizes: Bindings = arguments.dims.iter().cloned().collect();
    dims::check(&graph, &sizes)?;
    let (cuts, parts) = match arguments.parts {
        Some(count) => balanced(&graph, &sizes, count)?,
        None => (arguments.at.clone(), graph.parts(&arguments.at)?),
    };
    let split = Split::of(&arguments.model, &graph, cuts, parts, &sizes)?;
    check_folder(&arguments.output, arguments.force)?;
    write(&arguments.output, &split)?;
    match arguments.format {
        DrawnFormat::Text => output::print(&text::render(&split, &arguments.output.join(CONFIG)))?,
        DrawnFormat::Json => output::print_json(&split)?,
        DrawnFormat::Dot => output::print(&dot::render(&split))?,
    }
    Ok(Exit::Success)
}

/// Chooses cuts, and returns them with the parts of the chain that they make. An output that is computed early passes
/// through the parts after it, so that there are as many parts as asked for.
fn balanced(
    graph: &Graph,
    sizes: &Bindings,
    count: usize,
) -> Result<(Vec<String>, Vec<Part>), CliError> {
    let cuts = graph.balanced_cuts(&graph.costs(sizes), count)?;
    let name = |id| graph.value(id).name.clone();
    let cuts: Vec<String> = cuts.into_iter().map(name).collect();
    let segments = graph.chain(&cuts)?.into_iter();
    let part = |graph| Part {
        graph,
        added: Vec::new(),
    };
    Ok((cuts, segments.map(part).collect()))
}

fn check_folder(folder: &Path, force: bool) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(file_error("make folder", folder))?;
    let mut entries = fs::read_dir(folder).map_err(file_error("read folder", folder))?;
    if force || entries.next().is_none() {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "folder {} is not empty; name another one, or write over what is there with --force",
        folder.display()
    )))
}

/// Writes the configuration last, so that one that is there names blocks that are there.
fn write(folder: &Path, split: &Split) -> Result<(), CliError> {
    let total = split
        .blocks
        .iter()
        .map(|block| weight_bytes(&block.graph))
        .sum();
    let progress = Progress::new("writing", total);
    let write_block = |block: &Block| {
        let path = folder.join(&block.file);
        let options = WriteOptions::default();
        block
            .graph
            .write(&path, &options, &mut |bytes| progress.add(bytes))
    };
    split.blocks.iter().try_for_each(write_block)?;
    let path = folder.join(CONFIG);
    fs::write(&path, wiring::render(split)).map_err(file_error("write", &path))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File {
        action,
        path,
        source,
    }
}

fn parts(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0 | 1) | Err(_) => Err("expected a number from 2".to_owned()),
        Ok(parts) => Ok(parts),
    }
}
