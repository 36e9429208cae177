//! The calls into rooms below that are composed in one place: reading a configuration, opening a model, starting the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::app::Loaded;
use crate::engine::{Prepared, Session};
use crate::graph::Graph;
use crate::types::{Device, ImageSpec, LogFormat, LogSpec, Problem, Signature, Spec, TensorSpec};

use super::error::CliError;
use super::problems::Located;

/// Knows the line of a key of the configuration file.
// LEAD: config::Locator, which has these two functions.
#[derive(Debug)]
pub(super) struct Locator {
    path: PathBuf,
}

impl Locator {
    fn path(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn line(&self, _key: &str) -> Option<usize> {
        None
    }
}

/// Sets what must be set before the first thread and the first allocation of the process.
pub fn prepare_process() {
    // LEAD: engine::torch::tune_allocator()
}

/// Reads and checks a configuration and the models it names.
pub(super) fn load(path: &Path) -> Result<Loaded, CliError> {
    let (spec, locator) = load_spec(path)?;
    compile(spec, &locator)
}

/// Reads a configuration and checks its form.
pub(super) fn load_spec(path: &Path) -> Result<(Spec, Locator), CliError> {
    // LEAD: config::load(Some(path), std::env::vars()). Read and Syntax become one problem without a key, Invalid goes
    // through `located`.
    let locator = Locator {
        path: path.to_owned(),
    };
    let (seen, expected) = match std::fs::read_to_string(path) {
        Ok(_) => return Err(CliError::NotBuilt("reading a configuration")),
        Err(error) => (
            format!("cannot be read: {error}"),
            "expected a configuration file",
        ),
    };
    Err(located(vec![Problem::new("", seen, expected)], &locator))
}

/// Reads the models of a configuration and compiles it.
pub(super) fn compile(spec: Spec, locator: &Locator) -> Result<Loaded, CliError> {
    load_models(spec).map_err(|problems| located(problems, locator))
}

/// Compiles a configuration that was made for the model at `path` and stands in no file.
pub(super) fn compile_for_model(spec: Spec, path: &Path) -> Result<Loaded, CliError> {
    load_models(spec).map_err(|problems| {
        located(
            problems,
            &Locator {
                path: path.to_owned(),
            },
        )
    })
}

fn load_models(spec: Spec) -> Result<Loaded, Vec<Problem>> {
    // LEAD: Loaded::from_spec(&spec)
    Loaded::from_spec(spec, None)
}

/// Orders problems by their place and drops repeated ones.
fn located(problems: Vec<Problem>, locator: &Locator) -> CliError {
    let file = locator.path().unwrap_or(Path::new("configuration"));
    let place = |problem: Problem| Located::new(file, locator.line(&problem.key), problem);
    let mut problems: Vec<_> = problems.into_iter().map(place).collect();
    problems.sort();
    problems.dedup();
    CliError::Configuration(problems)
}

/// Starts a log on stderr.
pub(super) fn start_logging(spec: &LogSpec) -> Result<(), CliError> {
    // LEAD: telemetry, if it gets a set-up of its own
    let filter = EnvFilter::try_new(&spec.filter)
        .map_err(|error| CliError::Usage(format!("log filter {:?}: {error}", spec.filter)))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start, possible only in tests, keeps the first log.
    let _ = match spec.format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// Reads an ONNX model.
pub(super) fn read_graph(_path: &Path) -> Result<Graph, CliError> {
    // LEAD: Ok(Graph::read(path)?)
    Err(CliError::NotBuilt("reading ONNX models"))
}

/// Returns what a model takes and gives.
pub(super) fn graph_signature(_graph: &Graph) -> Result<Signature, CliError> {
    // LEAD: graph.signature()
    Err(CliError::NotBuilt("reading signatures of ONNX models"))
}

/// Cuts a model at the named tensors into segments that run one after the other.
pub(super) fn graph_chain(_graph: &Graph, _cuts: &[String]) -> Result<Vec<Graph>, CliError> {
    // LEAD: Ok(graph.chain(cuts)?)
    Err(CliError::NotBuilt("cutting ONNX models"))
}

/// Makes a whole model ready.
pub(super) fn prepare_graph(
    _graph: &Graph,
    _signature: &Signature,
    _threads: usize,
    _device: Device,
) -> Result<Arc<dyn Prepared>, CliError> {
    // LEAD: engine::prepare(BlockSource::Graph { graph, signature }, threads, device), errors as CliError::Prepare
    Err(CliError::NotBuilt("running an ONNX model"))
}

/// Makes the decode step ready.
pub(super) fn prepare_decode(_image: &ImageSpec) -> Result<Arc<dyn Prepared>, CliError> {
    // LEAD: engine::prepare(BlockSource::DecodeImage(image), 1, Device::Cpu), errors as CliError::Prepare
    Err(CliError::NotBuilt("decoding images"))
}

/// Loads a TorchScript file for inputs like these; its outputs are whatever it returns.
pub(super) fn torchscript_session(
    _path: &Path,
    _inputs: &[TensorSpec],
    _threads: usize,
    _device: Device,
) -> Result<Box<dyn Session>, CliError> {
    // LEAD: engine::torch needs a TorchScript session whose outputs nobody declared and nobody checks
    Err(CliError::NotBuilt(
        "running TorchScript without a configuration",
    ))
}
