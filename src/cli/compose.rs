//! Calls into the rooms below that several commands need: reading a configuration, opening a model.

use std::path::Path;
use std::sync::Arc;

use crate::app::Loaded;
use crate::config::{ConfigError, Locator, load as load_config};
use crate::engine::torch::TorchScriptPrepared;
use crate::engine::{self, BlockSource, EngineError, Prepared};
use crate::graph::Graph;
use crate::types::{Device, ImageSpec, Problem, Signature, Spec, Tensor};

use super::error::CliError;
use super::problems::Located;

/// Reads and checks a configuration and the models it names.
pub(super) fn load(path: &Path) -> Result<Loaded, CliError> {
    let (spec, locator) = load_spec(path)?;
    compile(&spec, &locator)
}

/// Reads a configuration and checks its form.
pub(super) fn load_spec(path: &Path) -> Result<(Spec, Locator), CliError> {
    match load_config(Some(path), std::env::vars()) {
        Ok(loaded) => Ok((loaded.spec, loaded.locator)),
        Err(ConfigError::Invalid(invalid)) => Err(located(invalid.problems, &invalid.locator)),
        Err(ConfigError::Read { cause, .. }) => Err(unreadable(
            path,
            None,
            format!("cannot be read: {cause}"),
            "expected a configuration file",
        )),
        Err(ConfigError::Syntax {
            line,
            column,
            cause,
            ..
        }) => {
            let seen = format!("column {column}: {cause}");
            Err(unreadable(path, Some(line), seen, "expected TOML"))
        }
    }
}

fn unreadable(path: &Path, line: Option<usize>, seen: String, expected: &str) -> CliError {
    let file = path.display().to_string();
    CliError::Configuration(vec![Located::new(
        file,
        line,
        Problem::new("", seen, expected),
    )])
}

/// Reads the models of a configuration and compiles it.
pub(super) fn compile(spec: &Spec, locator: &Locator) -> Result<Loaded, CliError> {
    Loaded::from_spec(spec).map_err(|problems| located(problems, locator))
}

/// Compiles a configuration that was made for the model at `path` and stands in no file.
pub(super) fn compile_for_model(spec: &Spec, path: &Path) -> Result<Loaded, CliError> {
    let file = path.display().to_string();
    Loaded::from_spec(spec).map_err(|problems| {
        let place = |problem| Located::new(file.clone(), None, problem);
        CliError::Configuration(problems.into_iter().map(place).collect())
    })
}

/// Orders problems by their place and drops repeated ones.
fn located(problems: Vec<Problem>, locator: &Locator) -> CliError {
    let place = |problem: Problem| {
        let (source, line) = locator.source_and_line(&problem.key);
        Located::new(source, line, problem)
    };
    let mut problems: Vec<_> = problems.into_iter().map(place).collect();
    problems.sort();
    problems.dedup();
    CliError::Configuration(problems)
}

/// Makes a whole model ready.
pub(super) fn prepare_graph(
    path: &Path,
    graph: &Graph,
    signature: &Signature,
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, CliError> {
    let source = BlockSource::Graph {
        graph,
        signature: signature.clone(),
    };
    engine::prepare(source, threads, device).map_err(|source| prepare_error(path, source))
}

/// Loads a TorchScript file for inputs like these.
pub(super) fn prepare_torchscript(
    path: &Path,
    inputs: &[(String, Tensor)],
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, CliError> {
    let observed = TorchScriptPrepared::observe(path, inputs, threads);
    let signature = observed
        .map_err(|source| prepare_error(path, source))?
        .signature()
        .clone();
    let source = BlockSource::TorchScript {
        path,
        signature: &signature,
    };
    engine::prepare(source, threads, device).map_err(|source| prepare_error(path, source))
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
