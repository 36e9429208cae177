//! The command: opens what is to run, reads the inputs, runs, writes the outputs.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::histogram::Histogram;
use crate::cli::image::ImageFlags;
use crate::cli::output::{self, Format};
use crate::cli::tensors::NamedFile;
use crate::types::{Device, GraphEngine, Optimize, Pass, Passes};

use super::outputs;
use super::runner::{self, Opened};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["model", "pipeline"]))]
pub(in crate::cli) struct InferArguments {
    /// Model to run: an .onnx or .pt2 file, or a TorchScript file ending in .pt, .pth or .ts.
    #[arg(value_name = "MODEL")]
    pub(super) model: Option<PathBuf>,
    /// Pipeline of the configuration to run in place of a model.
    #[arg(long, value_name = "NAME")]
    pub(super) pipeline: Option<String>,
    /// Configuration file that names the pipeline.
    #[arg(long, value_name = "FILE", default_value = "blocks.toml")]
    pub(super) config: PathBuf,
    /// Input: an .npy file, an image where pixels are expected, any file for BYTES. Repeatable.
    #[arg(long = "input", short = 'i', value_name = "NAME=FILE")]
    pub(super) inputs: Vec<NamedFile>,
    /// Folder for NAME.npy of every output; made if missing.
    #[arg(long, short = 'o', value_name = "DIR")]
    output: PathBuf,
    /// Cut the model at this tensor and run it as a chain of blocks. Repeatable, in order.
    #[arg(long = "cut", value_name = "TENSOR", conflicts_with = "pipeline")]
    pub(super) cuts: Vec<String>,
    /// Where the parts of the model run: in threads of this process, or each in a process of its own.
    #[arg(
        long,
        value_enum,
        default_value = "thread",
        conflicts_with = "pipeline"
    )]
    pub(super) isolation: Isolation,
    /// Name of a TorchScript output, in order. Repeatable; by default output_0, output_1, …
    #[arg(long = "output-name", value_name = "NAME", conflicts_with_all = ["pipeline", "cuts"])]
    pub(super) output_names: Vec<String>,
    /// What runs the graph of a model.
    #[arg(long, value_enum, default_value = "aten", conflicts_with = "pipeline")]
    engine: EngineFlag,
    /// Run a TorchScript file, which is code, because you trust where it comes from.
    #[arg(long, conflicts_with = "pipeline")]
    pub(super) trust: bool,
    /// Device of the model; cpu, cuda:0 or sim:0 and so on.
    #[arg(long, default_value = "cpu", conflicts_with = "pipeline")]
    pub(super) device: Device,
    /// Intra-op threads of the model.
    #[arg(long, default_value_t = 1, value_parser = threads, conflicts_with = "pipeline")]
    pub(super) threads: usize,
    /// How the graph of a model is rewritten before it runs: off, exact (the same wherever it is cut) or fast.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value_t,
        conflicts_with = "pipeline"
    )]
    optimize: Optimize,
    /// Pass to leave out of the rewriting, for example fuse-activations. Repeatable.
    #[arg(long = "no-pass", value_name = "PASS", conflicts_with = "pipeline")]
    no_passes: Vec<Pass>,
    /// Runs; more than one prints their times to stderr.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    #[command(flatten)]
    pub(super) image: ImageFlags,
    /// Form of the list of outputs.
    #[arg(long, default_value = "text")]
    format: Format,
}

/// The engines of graphs, as the flag names them.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum EngineFlag {
    /// libtorch, operator by operator.
    Aten,
    /// ONNX Runtime, where its library is installed.
    Onnxruntime,
    /// Whichever of them is faster on this model.
    Auto,
}

/// What the parts of a model share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Isolation {
    Thread,
    Process,
}

impl InferArguments {
    pub(super) fn engine(&self) -> GraphEngine {
        match self.engine {
            EngineFlag::Aten => GraphEngine::Aten,
            EngineFlag::Onnxruntime => GraphEngine::OnnxRuntime,
            EngineFlag::Auto => GraphEngine::Auto,
        }
    }

    /// Returns how the model is rewritten.
    pub(super) fn passes(&self) -> Passes {
        let all = Passes::of(self.optimize);
        self.no_passes
            .iter()
            .fold(all, |passes, &pass| passes.without(pass))
    }
}

pub(in crate::cli) fn execute(arguments: &InferArguments) -> Result<Exit, CliError> {
    let Opened {
        mut runner,
        inputs,
        names,
    } = runner::open(arguments)?;
    let mut times = Histogram::new();
    let mut result = runner.run(&inputs, &mut times);
    for _ in 1..arguments.repeat {
        if result.is_err() {
            break;
        }
        result = runner.run(&inputs, &mut times);
    }
    runner.stop();
    let written = outputs::write(&arguments.output, &names, &result?)?;
    if arguments.repeat > 1 {
        output::complain(&format!(
            "{} runs: min {} us, p50 {} us, max {} us\n",
            times.count(),
            times.min(),
            times.quantile(0.5),
            times.max()
        ));
    }
    match arguments.format {
        Format::Text => output::print(&outputs::text(&written))?,
        Format::Json => output::print_json(&written)?,
    }
    Ok(Exit::Success)
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a number from 1".to_owned()),
        Ok(threads) => Ok(threads),
    }
}
