//! What `infer` can run, behind one call: a session in this thread, or a pipeline of actors.

use std::path::Path;
use std::time::Instant;

use crate::app::Loaded;
use crate::cli::error::CliError;
use crate::cli::histogram::Histogram;
use crate::cli::request::{self, OwnPipeline};
use crate::cli::restart::let_threads_sleep;
use crate::cli::{compose, tensors};
use crate::engine::{BlockSource, Session, read_npy};
use crate::graph::Graph;
use crate::types::{ModelFormat, Signature, Tensor};

use super::chain::{self, How};
use super::command::{InferArguments, Isolation};

/// Something to run, the tensors to run it on, and what its outputs are called.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) runner: Runner,
    pub(super) inputs: Vec<Tensor>,
    pub(super) names: OutputNames,
}

/// Names of outputs; TorchScript has as many as it returns.
#[derive(Debug)]
pub(super) enum OutputNames {
    Known(Vec<String>),
    Numbered,
}

#[derive(Debug)]
pub(super) enum Runner {
    Session(Box<dyn Session>),
    Pipeline(Box<OwnPipeline>, tokio::runtime::Runtime),
}

impl Runner {
    /// Runs once and records the time it took, in µs.
    pub(super) fn run(
        &mut self,
        inputs: &[Tensor],
        times: &mut Histogram,
    ) -> Result<Vec<Tensor>, CliError> {
        let begin = Instant::now();
        let outputs = match self {
            Self::Session(session) => session.run_to_host(inputs).map_err(CliError::Run),
            Self::Pipeline(pipeline, client) => client.block_on(pipeline.infer(inputs.to_vec())),
        }?;
        times.record_duration(begin.elapsed());
        Ok(outputs)
    }

    pub(super) fn stop(self) {
        if let Self::Pipeline(pipeline, _) = self {
            pipeline.stop();
        }
    }
}

pub(super) fn open(arguments: &InferArguments) -> Result<Opened, CliError> {
    let_threads_sleep(arguments.threads);
    match (&arguments.pipeline, &arguments.model) {
        (Some(name), _) => {
            let loaded = compose::load_to_run(&arguments.config)?;
            let signature = request::planned(&loaded, Some(name))?.signature.clone();
            open_pipeline(arguments, &signature, loaded, name)
        }
        (None, Some(path)) if ModelFormat::of(path) == Some(ModelFormat::TorchScript) => {
            open_torchscript(arguments, path)
        }
        (None, Some(path)) => open_graph(arguments, path),
        (None, None) => Err(CliError::Usage(
            "a model or --pipeline is missing".to_owned(),
        )),
    }
}

/// Reads the inputs first, so that a wrong one is told before anything is loaded.
fn open_pipeline(
    arguments: &InferArguments,
    signature: &Signature,
    loaded: Loaded,
    name: &str,
) -> Result<Opened, CliError> {
    let inputs = tensors::load_all(signature, &arguments.inputs, &arguments.image)?;
    let pipeline = OwnPipeline::start(loaded, name)?;
    let runner = Runner::Pipeline(Box::new(pipeline), request::client()?);
    Ok(Opened {
        runner,
        inputs,
        names: names_of(signature),
    })
}

fn open_graph(arguments: &InferArguments, path: &Path) -> Result<Opened, CliError> {
    if !arguments.output_names.is_empty() {
        return Err(CliError::Usage(
            "--output-name is for TorchScript; other models name their outputs".to_owned(),
        ));
    }
    let graph = Graph::read(path)?;
    let signature = graph.signature()?;
    let (device, threads, engine) = (arguments.device, arguments.threads, arguments.engine());
    let passes = arguments.passes();
    let isolation = arguments.isolation;
    if arguments.cuts.is_empty() && isolation == Isolation::Thread {
        let inputs = tensors::load_all(&signature, &arguments.inputs, &arguments.image)?;
        let source = BlockSource::Graph {
            graph: &graph,
            signature: signature.clone(),
            engine,
            passes,
        };
        let prepared = compose::prepare_graph(path, source, threads, device)?;
        let session = prepared.session().map_err(|source| CliError::Prepare {
            path: path.to_owned(),
            source,
        })?;
        return Ok(Opened {
            runner: Runner::Session(session),
            inputs,
            names: names_of(&signature),
        });
    }
    let segments = if arguments.cuts.is_empty() {
        vec![graph.segment(None, None)?]
    } else {
        graph.chain(&arguments.cuts)?
    };
    let how = How {
        engine,
        passes,
        device,
        threads,
        isolation,
    };
    let spec = chain::spec(path, &signature, &segments, &how);
    let loaded = compose::compile_for_model(&spec, path)?;
    open_pipeline(arguments, &signature, loaded, chain::MODEL)
}

/// Takes the inputs in the order of the flags, for the file does not name them.
fn open_torchscript(arguments: &InferArguments, path: &Path) -> Result<Opened, CliError> {
    if !arguments.cuts.is_empty() {
        return Err(CliError::Usage(
            "a TorchScript file cannot be cut, only an ONNX or .pt2 model can".to_owned(),
        ));
    }
    if arguments.isolation == Isolation::Process {
        return Err(CliError::Usage(
            "a TorchScript file says nothing of its shapes, which a process of its own has to know: declare them in a \
             configuration with isolation = \"process\""
                .to_owned(),
        ));
    }
    if !arguments.trust {
        return Err(CliError::Usage(format!(
            "{} is TorchScript, which is code: pass --trust if you trust where it comes from",
            path.display()
        )));
    }
    let files = arguments.inputs.iter();
    let inputs = files
        .clone()
        .map(|file| read_npy(&file.path))
        .collect::<Result<Vec<_>, _>>()?;
    let named: Vec<_> = files
        .map(|file| file.name.clone())
        .zip(inputs.iter().cloned())
        .collect();
    let prepared = compose::prepare_torchscript(path, &named, arguments.threads, arguments.device)?;
    let session = prepared.session().map_err(|source| CliError::Prepare {
        path: path.to_owned(),
        source,
    })?;
    let names = match arguments.output_names.as_slice() {
        [] => OutputNames::Numbered,
        names => OutputNames::Known(names.to_vec()),
    };
    Ok(Opened {
        runner: Runner::Session(session),
        inputs,
        names,
    })
}

fn names_of(signature: &Signature) -> OutputNames {
    OutputNames::Known(
        signature
            .outputs
            .iter()
            .map(|spec| spec.name.clone())
            .collect(),
    )
}
