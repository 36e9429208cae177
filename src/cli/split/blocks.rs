//! The parts of a model as blocks of a pipeline, with names that a configuration can say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::cli::error::CliError;
use crate::graph::{Graph, Part, ValueId};
use crate::types::Bindings;

/// A model, cut. JSON fields are added, never renamed.
#[derive(Debug, Serialize)]
pub(super) struct Split {
    pub(super) model: String,
    pub(super) pipeline: String,
    pub(super) cuts: Vec<String>,
    pub(super) blocks: Vec<Block>,
    pub(super) flow: Flow,
}

#[derive(Debug, Serialize)]
pub(super) struct Block {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Inputs that other blocks give beside the tensors of the cut.
    pub(super) added: Vec<String>,
    pub(super) nodes: usize,
    pub(super) flops: u64,
    pub(super) parameters: u64,
    pub(super) weight_bytes: u64,
    #[serde(skip)]
    pub(super) graph: Graph,
}

/// How the blocks are wired.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Flow {
    /// One after the other, by the names of tensors.
    Chain,
    Edges(Vec<Edge>),
}

/// `from -> to`, as a configuration writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Edge {
    pub(super) from: End,
    pub(super) to: End,
}

/// A tensor of a block, or of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct End {
    pub(super) block: Option<String>,
    pub(super) tensor: String,
}

impl Split {
    /// Names and wires the parts of a model, and checks that each can be a block.
    pub(super) fn of(
        path: &Path,
        graph: &Graph,
        cuts: Vec<String>,
        parts: Vec<Part>,
        sizes: &Bindings,
    ) -> Result<Self, CliError> {
        let mut blocks = Vec::with_capacity(parts.len());
        let names = Names::of(parts.iter().map(|part| &part.graph));
        for (place, part) in parts.into_iter().enumerate() {
            let part_graph = names.applied(part.graph);
            part_graph.signature()?;
            let cost = part_graph.costs(sizes).total(&part_graph);
            let name = format!("part_{place}");
            blocks.push(Block {
                file: format!("{name}.onnx"),
                name,
                inputs: tensors(&part_graph, &part_graph.inputs),
                outputs: tensors(&part_graph, &part_graph.outputs),
                added: part
                    .added
                    .iter()
                    .map(|name| names.of_tensor(name))
                    .collect(),
                nodes: cost.nodes,
                flops: cost.flops,
                parameters: cost.parameters,
                weight_bytes: cost.weight_bytes,
                graph: part_graph,
            });
        }
        let of_model = |ids: &[ValueId]| -> Vec<String> {
            let own = tensors(graph, ids).into_iter();
            own.map(|name| names.of_tensor(&name)).collect()
        };
        let (inputs, outputs) = (of_model(&graph.inputs), of_model(&graph.outputs));
        Ok(Self {
            model: path.display().to_string(),
            pipeline: pipeline_name(path),
            cuts,
            flow: flow(&blocks, &inputs, &outputs),
            blocks,
        })
    }
}

fn tensors(graph: &Graph, ids: &[ValueId]) -> Vec<String> {
    ids.iter().map(|&id| graph.value(id).name.clone()).collect()
}

/// Names of tensors between blocks. An edge is written in one text, so what would take it apart becomes `_`.
struct Names(BTreeMap<String, String>);

impl Names {
    fn of<'a>(graphs: impl Iterator<Item = &'a Graph> + Clone) -> Self {
        let all = graphs.clone().flat_map(|graph| &graph.values);
        let mut taken: BTreeSet<String> = all.map(|value| value.name.clone()).collect();
        let ends = graphs.flat_map(|graph| {
            let ids = graph.inputs.iter().chain(&graph.outputs);
            ids.map(|&id| graph.value(id).name.clone())
        });
        let mut changed = BTreeMap::new();
        for name in ends.collect::<BTreeSet<_>>() {
            let plain = name.replace("->", "_").replace(char::is_whitespace, "_");
            if plain != name {
                changed.insert(name, free(&mut taken, &plain));
            }
        }
        Self(changed)
    }

    fn of_tensor(&self, name: &str) -> String {
        self.0.get(name).map_or(name, String::as_str).to_owned()
    }

    fn applied(&self, mut graph: Graph) -> Graph {
        for value in &mut graph.values {
            if let Some(name) = self.0.get(&value.name) {
                value.name.clone_from(name);
            }
        }
        graph
    }
}

/// Returns a name, with a number if it is taken, and takes it.
fn free(taken: &mut BTreeSet<String>, name: &str) -> String {
    let mut chosen = name.to_owned();
    let mut number = 2_usize;
    while !taken.insert(chosen.clone()) {
        chosen = format!("{name}_{number}");
        number += 1;
    }
    chosen
}

/// Returns the model's file name, as far as it can name a pipeline.
fn pipeline_name(path: &Path) -> String {
    const CHARS_MAX: usize = 64;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-');
    let name: String = stem
        .chars()
        .map(|letter| if allowed(letter) { letter } else { '_' })
        .skip_while(|letter| !letter.is_ascii_alphanumeric())
        .take(CHARS_MAX)
        .collect();
    if name.is_empty() {
        "model".to_owned()
    } else {
        name
    }
}

/// Wires blocks by the names of their tensors. A chain takes the model's inputs at its beginning and gives the outputs at
/// its end, each block all that the next one needs.
fn flow(blocks: &[Block], inputs: &[String], outputs: &[String]) -> Flow {
    let ends = blocks.first().zip(blocks.last());
    let same = |one: &[String], other: &[String]| {
        one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
    };
    let chained = ends
        .is_some_and(|(first, last)| first.inputs == inputs && last.outputs == outputs)
        && blocks
            .windows(2)
            .all(|pair| same(&pair[0].outputs, &pair[1].inputs));
    if chained {
        Flow::Chain
    } else {
        Flow::Edges(edges(blocks, inputs, outputs))
    }
}

/// Lists edges from inputs first and to outputs last: the order in which they are met is that of the pipeline's own.
fn edges(blocks: &[Block], inputs: &[String], outputs: &[String]) -> Vec<Edge> {
    let of_block = |block: &Block, tensor: &String| End {
        block: Some(block.name.clone()),
        tensor: tensor.clone(),
    };
    let maker = |tensor: &String| {
        let mut blocks = blocks.iter();
        blocks.find(|block| block.outputs.contains(tensor) && !block.inputs.contains(tensor))
    };
    let mut edges = Vec::new();
    let mut taken = BTreeSet::new();
    for tensor in inputs {
        let from = of_pipeline(&mut taken, tensor);
        for block in blocks.iter().filter(|block| block.inputs.contains(tensor)) {
            let to = of_block(block, tensor);
            edges.push(Edge {
                from: from.clone(),
                to,
            });
        }
    }
    for block in blocks {
        for tensor in &block.inputs {
            if let Some(maker) = maker(tensor) {
                let (from, to) = (of_block(maker, tensor), of_block(block, tensor));
                edges.push(Edge { from, to });
            }
        }
    }
    let mut taken = BTreeSet::new();
    for tensor in outputs {
        let passed = blocks.iter().find(|block| block.outputs.contains(tensor));
        if let Some(maker) = maker(tensor).or(passed) {
            let to = of_pipeline(&mut taken, tensor);
            let from = of_block(maker, tensor);
            edges.push(Edge { from, to });
        }
    }
    edges
}

/// Returns an input or output of the pipeline. What stands before a dot would be read as the name of a step.
fn of_pipeline(taken: &mut BTreeSet<String>, tensor: &str) -> End {
    End {
        block: None,
        tensor: free(taken, &tensor.replace('.', "_")),
    }
}
