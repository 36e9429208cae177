//! What engines lack to run a graph, told without preparing it.

use crate::graph::{Graph, GraphError};
use crate::types::EngineChoice;

use super::torch;

/// A node that an engine cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub node: String,
    pub operator: &'static str,
    pub cause: String,
}

/// What one engine lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    pub engine: EngineChoice,
    pub lacks: Vec<Lack>,
    /// Whether nothing else can be lacking. ONNX Runtime says only of a whole model, with its weights, which kernels it
    /// has, and names the first node without one; so what is told of it here is what cannot be handed to it.
    pub is_all: bool,
}

/// Returns what each engine that runs graphs lacks for this one.
pub fn lacks(graph: &Graph) -> Vec<Support> {
    vec![
        Support {
            engine: EngineChoice::Aten,
            lacks: without_kernel(graph),
            is_all: true,
        },
        Support {
            engine: EngineChoice::OnnxRuntime,
            lacks: without_form(graph),
            is_all: false,
        },
    ]
}

fn without_kernel(graph: &Graph) -> Vec<Lack> {
    let nodes = graph.nodes.iter();
    let lacks = nodes.filter_map(|node| {
        Some(Lack {
            node: node.name.clone(),
            operator: node.op.name(),
            cause: torch::unsupported(graph, node)?,
        })
    });
    lacks.collect()
}

fn without_form(graph: &Graph) -> Vec<Lack> {
    let lacks = graph.unwritable().map(|(node, error)| Lack {
        node: node.name.clone(),
        operator: node.op.name(),
        cause: match error {
            GraphError::Unwritable { operator, .. } if operator == node.op.name() => {
                "ONNX has no form for it as it is used here".to_owned()
            }
            // Of a node in a body.
            error => error.to_string(),
        },
    });
    lacks.collect()
}
