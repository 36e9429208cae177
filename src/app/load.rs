//! From a specification to a plan with its models at hand. Static: no device is touched, nothing is started.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::engine::cuda;
use crate::engine::{
    BlockSource, EngineError, Held, builtin, check_device, check_place, graph_engine,
};
use crate::graph::{Digest, Graph, GraphError};
use crate::plan::{Plan, PlannedBlock, Side, compile_sound};
use crate::telemetry::check_filter;
use crate::types::{BlockSpec, Device, Epoch, Problem, Signature, SourceSpec, Spec, Unsound};

use super::{golden, memory};

/// A configuration that passed every static check, with the models it names read and cut.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    pub(super) spec: Spec,
    /// Segments of models in the order of the plan's blocks; `None` for blocks of another source.
    pub(super) graphs: Vec<Option<Graph>>,
    /// Of what blocks compute, as far as somebody has asked.
    contents: Vec<OnceLock<Content>>,
    before: Option<Before>,
}

/// What was known of a configuration before.
#[derive(Debug, Clone)]
pub(super) struct Before {
    /// By block.
    pub contents: Vec<Digest>,
    /// Of all blocks.
    pub weights: Weights,
    pub files: Vec<PathBuf>,
}

impl Loaded {
    /// Reads and cuts the models that `spec` names and compiles it. Returns every problem found.
    pub fn from_spec(spec: &Spec) -> Result<Self, Vec<Problem>> {
        Self::from_sound(spec, &Unsound::default())
    }

    /// Does the same with a specification from which what was unsound has been left out. If that is anything, the
    /// result is an error, perhaps with no further problem in it.
    pub fn from_sound(spec: &Spec, unsound: &Unsound) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(error) = check_filter(&spec.log.filter) {
            problems.push(Problem::new(
                "log.filter",
                error.to_string(),
                "expected one such as \"info,blockflow::actors=debug\"",
            ));
        }
        let mut files = HashMap::new();
        let mut graphs = Vec::new();
        let mut signatures = Vec::new();
        for block in &spec.blocks {
            // Another host has devices of its own, and looks at them itself.
            if block.host.is_none()
                && let Err(error) = check_device(block.device)
            {
                problems.push(misplaced(block, &error));
            }
            let (graph, signature) = match examine(block, &mut files) {
                Ok((graph, signature)) => {
                    problems.extend(golden::problems(block, &signature));
                    let source = block_source(&block.source, graph.as_ref(), &signature);
                    let place = source.map(|source| check_place(&source, block.device));
                    if let Some(Err(error)) = place {
                        problems.push(misplaced(block, &error));
                    }
                    (graph, Some(signature))
                }
                Err(problem) => {
                    problems.push(problem);
                    (None, None)
                }
            };
            graphs.push(graph);
            signatures.push(signature);
        }
        match compile_sound(spec, &signatures, unsound, Epoch(1)) {
            Ok(plan) if problems.is_empty() => Self {
                plan,
                spec: spec.clone(),
                graphs,
                contents: spec.blocks.iter().map(|_| OnceLock::new()).collect(),
                before: None,
            }
            .choose_devices()
            .map(Self::noting_reach),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        }
    }

    /// Notes how tensors go between the CUDA devices of this machine.
    pub(super) fn noting_reach(mut self) -> Self {
        self.plan.note_reach(
            |reader, owner| cuda::can_read(reader, owner).ok(),
            |device| cuda::can_share(device).ok(),
        );
        self
    }

    /// Returns, by block of the plan, a digest of what it computes, wherever the model lies.
    pub(super) fn contents(&self) -> Vec<Digest> {
        (0..self.contents.len())
            .map(|block| self.content(block))
            .collect()
    }

    /// Returns one of [`Loaded::contents`]. The first time, the weights of the block are read.
    pub(super) fn content(&self, block: usize) -> Digest {
        self.examined(block).digest
    }

    fn examined(&self, block: usize) -> &Content {
        let planned = &self.plan.blocks[block];
        self.contents[block].get_or_init(|| content(planned, self.graphs[block].as_ref()))
    }

    /// Returns it as a configuration to be compared with another.
    pub(super) fn side<'a>(&'a self, contents: &'a [Digest]) -> Side<'a> {
        Side {
            plan: &self.plan,
            log: &self.spec.log,
            contents,
        }
    }

    /// Returns the weights of all blocks by device, each once: a digest and the number of its bytes in the model.
    pub(super) fn weights(&self) -> Weights {
        if let Some(before) = &self.before {
            return before.weights.clone();
        }
        let mut weights = Weights::new();
        for (index, block) in self.plan.blocks.iter().enumerate() {
            let of_device = weights.entry(block.placement.device).or_default();
            of_device.extend(&self.examined(index).weights);
        }
        weights
    }

    /// Returns the files of the models, each with the files beside it in which some of its weights lie.
    pub(super) fn models(&self) -> BTreeMap<PathBuf, Vec<PathBuf>> {
        let blocks = self.spec.blocks.iter().zip(&self.graphs);
        blocks
            .filter_map(|(block, graph)| {
                let data = graph.as_ref().map(|graph| graph.data_files.to_vec());
                Some((block.source.path()?.to_owned(), data.unwrap_or_default()))
            })
            .collect()
    }

    /// Returns what was loaded before. Blocks have models only if they were `read` again; the others must be known.
    pub(super) fn known((plan, spec): (Plan, Spec), before: Before, read: Option<Self>) -> Self {
        let none = || spec.blocks.iter().map(|_| None).collect();
        let content = |&digest: &Digest| {
            OnceLock::from(Content {
                digest,
                weights: BTreeMap::new(),
            })
        };
        Self {
            graphs: read.map_or_else(none, |read| read.graphs),
            contents: before.contents.iter().map(content).collect(),
            before: Some(before),
            plan,
            spec,
        }
    }

    /// Returns what a block is going to hold, as far as its model tells.
    pub(super) fn estimate(&self, block: usize) -> Held {
        let planned = &self.plan.blocks[block];
        let shares = planned.placement.is_main();
        memory::estimate(planned, self.graphs[block].as_ref(), shares)
    }

    /// Returns the files of the models, with those beside them in which some of their weights lie, and of golden cases.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        if let Some(before) = &self.before {
            return before.files.clone();
        }
        let blocks = self.spec.blocks.iter();
        let named = blocks.flat_map(BlockSpec::files).map(Path::to_owned);
        let data = self.models().into_values().flatten();
        named.chain(data).collect()
    }

    /// Returns what a block is prepared from.
    pub(super) fn source(&self, block: usize) -> BlockSource<'_> {
        let planned = &self.plan.blocks[block];
        let graph = self.graphs[block].as_ref();
        block_source(&planned.spec.source, graph, &planned.signature)
            .expect("a block of a graph without one is a problem, and problems make no plan")
    }
}

/// Returns what a block is prepared from; `None` if it is a graph and there is none.
fn block_source<'a>(
    source: &'a SourceSpec,
    graph: Option<&'a Graph>,
    signature: &Signature,
) -> Option<BlockSource<'a>> {
    Some(match source {
        SourceSpec::Graph { engine, passes, .. } => BlockSource::Graph {
            graph: graph?,
            signature: signature.clone(),
            engine: *engine,
            passes: *passes,
        },
        SourceSpec::TorchScript { path, signature } => BlockSource::TorchScript { path, signature },
        SourceSpec::DecodeImage(image) => BlockSource::DecodeImage(image),
        SourceSpec::Mock(mock) => BlockSource::Mock(mock),
    })
}

/// What a local file of a ZIP archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";

/// Weights by device, with their sizes in bytes.
pub(super) type Weights = BTreeMap<Device, BTreeMap<Digest, u64>>;

/// What a block computes.
#[derive(Debug)]
struct Content {
    digest: Digest,
    /// A file of code counts as one.
    weights: BTreeMap<Digest, u64>,
}

fn content(block: &PlannedBlock, graph: Option<&Graph>) -> Content {
    let mut weights = BTreeMap::new();
    let model = match (&block.spec.source, graph) {
        (_, Some(graph)) => {
            let (content, of_graph) = graph.content_and_weights();
            weights = of_graph;
            content
        }
        (SourceSpec::TorchScript { path, .. }, None) => match digest_of(path) {
            Ok((digest, bytes)) => {
                weights.insert(digest, bytes);
                digest
            }
            // It is gone since it was looked at, which preparing it will tell.
            Err(error) => Digest::of("unreadable", error.to_string().as_bytes()),
        },
        (source, None) => {
            let text = serde_json::to_vec(source).expect("a source has a form in JSON");
            Digest::of("source", &text)
        }
    };
    let parts = (model.bytes(), &block.signature);
    let text = serde_json::to_vec(&parts).expect("a signature has a form in JSON");
    Content {
        digest: Digest::of("block", &text),
        weights,
    }
}

fn digest_of(path: &Path) -> io::Result<(Digest, u64)> {
    Digest::of_file(&File::open(path)?)
}

type Cut = Option<Vec<String>>;
type Files = HashMap<PathBuf, Result<Graph, String>>;

fn examine(block: &BlockSpec, files: &mut Files) -> Result<(Option<Graph>, Signature), Problem> {
    let key = |field: &str| format!("blocks.{}.{field}", block.name);
    match &block.source {
        SourceSpec::Graph {
            path,
            inputs,
            outputs,
            engine,
            ..
        } => {
            graph_engine(*engine).available().map_err(|error| {
                Problem::new(
                    key("engine"),
                    error.to_string(),
                    "expected an engine of this machine",
                )
            })?;
            let graph = files.entry(path.clone()).or_insert_with(|| read(path));
            let graph = graph.as_ref().map_err(|cause| {
                Problem::new(
                    key("model"),
                    cause.clone(),
                    "expected a readable ONNX model or torch.export archive",
                )
            })?;
            let cut = |error| cut_problem(&block.name, [inputs, outputs], &error);
            let segment = graph
                .segment(inputs.as_deref(), outputs.as_deref())
                .map_err(cut)?;
            let signature = segment.signature().map_err(cut)?;
            Ok((Some(segment), signature))
        }
        SourceSpec::TorchScript { path, signature } => match archive(path) {
            Ok(()) => Ok((None, signature.clone())),
            Err(cause) => Err(Problem::new(
                key("model"),
                format!("{}: {cause}", path.display()),
                "expected a TorchScript file",
            )),
        },
        SourceSpec::DecodeImage(image) => Ok((None, builtin::signature(image))),
        SourceSpec::Mock(mock) => Ok((None, mock.signature.clone())),
    }
}

/// Says why a block cannot be where it is to be.
fn misplaced(block: &BlockSpec, error: &EngineError) -> Problem {
    let cause = match error {
        EngineError::Device { cause, .. } => cause.clone(),
        other => other.to_string(),
    };
    Problem::new(
        format!("blocks.{}.device", block.name),
        format!("is \"{}\"", block.device),
        cause,
    )
}

/// Says what is wrong with a cut, at the name that is to blame.
fn cut_problem(block: &str, [inputs, outputs]: [&Cut; 2], error: &GraphError) -> Problem {
    let place = |list: &Cut, name: &String| {
        let names = list.as_ref()?;
        names.iter().position(|known| known == name)
    };
    let at = |field: &str, index: Option<usize>| match index {
        Some(index) => format!("{field}[{index}]"),
        None => field.to_owned(),
    };
    let (field, expected) = match error {
        GraphError::UnknownTensor { name, .. }
        | GraphError::CutAtInitializer { name, .. }
        | GraphError::CutAtInput { name, .. }
        | GraphError::RepeatedTensor { name, .. } => {
            let input = place(inputs, name).map(|index| at("inputs", Some(index)));
            let field = input.unwrap_or_else(|| at("outputs", place(outputs, name)));
            (field, "expected names of tensors of the model")
        }
        GraphError::NoOutputs { .. } => ("outputs".to_owned(), "expected at least one tensor"),
        GraphError::MissingInput { .. } if inputs.is_some() => (
            "inputs".to_owned(),
            "expected all tensors that the outputs are computed from",
        ),
        GraphError::MissingInput { output, .. } => (
            at("outputs", place(outputs, output)),
            "expected tensors that the inputs suffice for",
        ),
        GraphError::UnusedInput { input, .. } if inputs.is_some() => (
            at("inputs", place(inputs, input)),
            "expected only tensors that the outputs are computed from",
        ),
        GraphError::UnknownDType { tensor, .. } | GraphError::UnknownRank { tensor, .. } => {
            let input = place(inputs, tensor).map(|index| at("inputs", Some(index)));
            let output = || place(outputs, tensor).map(|index| at("outputs", Some(index)));
            let field = input.or_else(output).unwrap_or_else(|| "model".to_owned());
            (field, "expected tensors of known datatype and rank")
        }
        _ => ("model".to_owned(), "expected a model that can be cut so"),
    };
    Problem::new(
        format!("blocks.{block}.{field}"),
        error.to_string(),
        expected,
    )
}

/// Tells whether a file is a ZIP archive, which every TorchScript file is, and if not, what it is.
fn archive(path: &Path) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let kind = fs::metadata(path).map_err(unreadable)?.file_type();
    if kind.is_dir() {
        return Err("is a directory".to_owned());
    }
    // Opening a pipe would wait for whoever writes to it.
    if !kind.is_file() {
        return Err("is no regular file".to_owned());
    }
    let mut beginning = Vec::new();
    File::open(path)
        .and_then(|file| file.take(ZIP.len() as u64).read_to_end(&mut beginning))
        .map_err(unreadable)?;
    match beginning.as_slice() {
        ZIP => Ok(()),
        [] => Err("is empty".to_owned()),
        other => Err(format!(
            "begins with {:?}, not like a ZIP archive",
            String::from_utf8_lossy(other)
        )),
    }
}

fn read(path: &Path) -> Result<Graph, String> {
    Graph::read(path).map_err(|error| error.to_string())
}
