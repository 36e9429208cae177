//! Calls into the rooms below that several commands need: reading a configuration, opening a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::app::{Loaded, Overrides, Part, Read, Source, WorkerCommand};
use crate::config::{Loaded as Configuration, Located, load as load_config};
use crate::engine::torch::TorchScriptPrepared;
use crate::engine::{self, BlockSource, EngineError, Prepared};
use crate::graph::Graph;
use crate::types::{BlockSpec, Device, ImageSpec, LogFormat, LogSpec, ModelFormat, Spec, Tensor};

use super::args::LogArguments;
use super::error::CliError;
use super::restart::let_threads_sleep;

/// Reads and checks a configuration and the models it names.
pub(super) fn load(path: &Path) -> Result<Loaded, CliError> {
    compile(read(path)?)
}

/// Reads and checks a configuration whose blocks are going to run in this process, and the models it names.
pub(super) fn load_to_run(path: &Path) -> Result<Loaded, CliError> {
    compile(read_to_run(path)?)
}

/// Reads a configuration. What is wrong with its form is told together with the rest, by [`compile`].
pub(super) fn read(path: &Path) -> Result<Configuration, CliError> {
    load_config(path, std::env::vars_os())
        .map(Configuration::demand_pipelines)
        .map_err(|error| CliError::Configuration(vec![error.located()]))
}

/// The configuration that `run` serves, to be read again. `log` is what the command line says about the log.
#[derive(Debug, Clone)]
pub(super) struct ConfigurationFile {
    pub path: PathBuf,
    pub log: LogArguments,
}

impl Source for ConfigurationFile {
    fn load(&self, overrides: &Overrides) -> Result<Read, Vec<String>> {
        let mut read = self.read().map_err(told)?;
        let spec = read.spec.clone();
        read.problems.extend(overrides.apply(&mut read.spec));
        let loaded = compile(read).map_err(told)?;
        Ok(Read { loaded, spec })
    }

    fn spec(&self) -> Result<Spec, Vec<String>> {
        let read = self.read().map_err(told)?;
        if read.problems.is_empty() {
            return Ok(read.spec);
        }
        Err(told(CliError::Configuration(
            read.locator.locate(read.problems),
        )))
    }

    fn log(&self, configured: &LogSpec) -> LogSpec {
        self.log.over(configured)
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.path.clone()];
        if let Ok(read) = read(&self.path) {
            let blocks = read.spec.blocks.iter();
            files.extend(blocks.flat_map(BlockSpec::files).map(Path::to_owned));
        }
        files
    }
}

impl ConfigurationFile {
    fn read(&self) -> Result<Configuration, CliError> {
        let mut read = read(&self.path)?;
        read.spec.log = self.log.over(&read.spec.log);
        Ok(read)
    }
}

fn told(error: CliError) -> Vec<String> {
    match error {
        CliError::Configuration(problems) => problems.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    }
}

/// Reads a configuration whose blocks are going to run in this process.
fn read_to_run(path: &Path) -> Result<Configuration, CliError> {
    let read = read(path)?;
    let_threads_sleep(most_threads(&read.spec));
    Ok(read)
}

fn most_threads(spec: &Spec) -> usize {
    let threads = spec.blocks.iter().map(|block| block.threads);
    threads.max().unwrap_or(1)
}

/// Reads the models of a configuration and compiles it. Fails with everything that is wrong.
pub(super) fn compile(read: Configuration) -> Result<Loaded, CliError> {
    let mut problems = read.problems;
    match Loaded::from_sound(&read.spec, &read.unsound) {
        Ok(loaded) if problems.is_empty() => return Ok(loaded),
        Ok(_) => {}
        Err(more) => problems.extend(more),
    }
    Err(CliError::Configuration(read.locator.locate(problems)))
}

/// Compiles a configuration that was made for the model at `path` and stands in no file.
pub(super) fn compile_for_model(spec: &Spec, path: &Path) -> Result<Loaded, CliError> {
    let file = path.display().to_string();
    Loaded::from_spec(spec).map_err(|problems| {
        let place = |problem| Located::new(file.clone(), None, problem);
        CliError::Configuration(problems.into_iter().map(place).collect())
    })
}

/// Returns the part of a configuration that this program runs on `host`, and how it starts itself for the rest.
pub(super) fn part(host: Option<String>, log: LogFormat) -> Part {
    Part {
        host,
        worker: WorkerCommand {
            // What runs now, even if another version was installed over it meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arguments: vec!["worker".into()],
            log,
        },
        ..Part::default()
    }
}

/// Reads a model for a command that needs to see inside; `done` says what it does to it.
pub(super) fn read_graph(path: &Path, done: &str) -> Result<Graph, CliError> {
    match ModelFormat::of(path) {
        Some(ModelFormat::TorchScript) => Err(CliError::Usage(format!(
            "{}: a TorchScript file cannot be {done}, only an ONNX or .pt2 model can",
            path.display()
        ))),
        Some(ModelFormat::Graph) | None => Ok(Graph::read(path)?),
    }
}

/// Makes a whole model ready.
pub(super) fn prepare_graph(
    path: &Path,
    source: BlockSource<'_>,
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, CliError> {
    engine::prepare(source, threads, device).map_err(|source| prepare_error(path, source))
}

/// Loads a TorchScript file for inputs like these.
pub(super) fn prepare_torchscript(
    path: &Path,
    inputs: &[(String, Tensor)],
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, CliError> {
    let observed = engine::check_device(device)
        .and_then(|()| TorchScriptPrepared::observe(path, inputs, threads));
    match observed {
        Ok(prepared) => Ok(Arc::new(prepared)),
        Err(source) => Err(prepare_error(path, source)),
    }
}

/// Makes the decode step ready.
pub(super) fn prepare_decode(image: &ImageSpec) -> Result<Arc<dyn Prepared>, CliError> {
    let prepared = engine::prepare(BlockSource::DecodeImage(image), 1, Device::Cpu);
    prepared.map_err(|source| prepare_error(Path::new("decode step"), source))
}

fn prepare_error(path: &Path, source: EngineError) -> CliError {
    CliError::Prepare {
        path: path.to_owned(),
        source,
    }
}
