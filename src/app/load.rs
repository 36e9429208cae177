//! From a specification to a plan with its models at hand. Static: no device is touched, nothing is started.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::engine::{BlockSource, builtin};
use crate::graph::{Graph, GraphError};
use crate::plan::{Plan, compile};
use crate::types::{BlockSpec, Epoch, Problem, Signature, SourceSpec, Spec};

/// A configuration that passed every static check, with the models it names read and cut.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// Segments of ONNX models in the order of the plan's blocks; `None` for blocks of another source.
    graphs: Vec<Option<Graph>>,
}

impl Loaded {
    /// Reads and cuts the models that `spec` names and compiles it. Returns every problem found.
    pub fn from_spec(spec: &Spec) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut files = HashMap::new();
        let mut graphs = Vec::new();
        let mut signatures = Vec::new();
        for block in &spec.blocks {
            let (graph, signature) = match examine(block, &mut files) {
                Ok((graph, signature)) => (graph, Some(signature)),
                Err(problem) => {
                    problems.push(problem);
                    (None, None)
                }
            };
            graphs.push(graph);
            signatures.push(signature);
        }
        match compile(spec, &signatures, Epoch(1)) {
            Ok(plan) if problems.is_empty() => Ok(Self { plan, graphs }),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    /// Returns what a block is prepared from.
    pub(super) fn source(&self, block: usize) -> BlockSource<'_> {
        let planned = &self.plan.blocks[block];
        match (&self.graphs[block], &planned.spec.source) {
            (Some(graph), _) => BlockSource::Graph {
                graph,
                signature: planned.signature.clone(),
            },
            (None, SourceSpec::TorchScript { path, signature }) => {
                BlockSource::TorchScript { path, signature }
            }
            (None, SourceSpec::DecodeImage(image)) => BlockSource::DecodeImage(image),
            (None, SourceSpec::Mock(mock)) => BlockSource::Mock(mock),
            (None, SourceSpec::Onnx { .. }) => {
                unreachable!(
                    "an ONNX block without a graph is a problem, and problems make no plan"
                )
            }
        }
    }
}

type Files = HashMap<PathBuf, Result<Graph, String>>;

fn examine(block: &BlockSpec, files: &mut Files) -> Result<(Option<Graph>, Signature), Problem> {
    let key = |field: &str| format!("blocks.{}.{field}", block.name);
    match &block.source {
        SourceSpec::Onnx {
            path,
            inputs,
            outputs,
        } => {
            let graph = files.entry(path.clone()).or_insert_with(|| read(path));
            let graph = graph.as_ref().map_err(|cause| {
                Problem::new(
                    key("model"),
                    cause.clone(),
                    "expected a readable ONNX model",
                )
            })?;
            let cut = |error: GraphError| {
                let field = if outputs.is_some() || inputs.is_none() {
                    "outputs"
                } else {
                    "inputs"
                };
                let field = if inputs.is_none() && outputs.is_none() {
                    "model"
                } else {
                    field
                };
                Problem::new(
                    key(field),
                    error.to_string(),
                    "expected names of tensors of the model",
                )
            };
            let segment = graph
                .segment(inputs.as_deref(), outputs.as_deref())
                .map_err(cut)?;
            let signature = segment.signature().map_err(cut)?;
            Ok((Some(segment), signature))
        }
        SourceSpec::TorchScript { path, signature } => match std::fs::File::open(path) {
            Ok(_) => Ok((None, signature.clone())),
            Err(error) => Err(Problem::new(
                key("model"),
                format!("cannot read {}: {error}", path.display()),
                "expected a readable TorchScript file",
            )),
        },
        SourceSpec::DecodeImage(image) => Ok((None, builtin::signature(image))),
        SourceSpec::Mock(mock) => Ok((None, mock.signature.clone())),
    }
}

fn read(path: &Path) -> Result<Graph, String> {
    Graph::read(path).map_err(|error| error.to_string())
}
