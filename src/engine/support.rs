//! What engines lack to run a graph, told without preparing it.

use crate::graph::{Graph, Node};
use crate::types::EngineChoice;

use super::torch;

/// A node that an engine cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub node: String,
    pub operator: &'static str,
    pub cause: String,
}

/// Says why an engine has no kernel for a node; `None` if it has one.
type Unsupported = fn(&Graph, &Node) -> Option<String>;

/// Engines that run graphs.
const ENGINES: &[(EngineChoice, Unsupported)] = &[(EngineChoice::Aten, torch::unsupported)];

/// Returns each engine that runs graphs, with the nodes of this one that it cannot run.
pub fn lacks(graph: &Graph) -> Vec<(EngineChoice, Vec<Lack>)> {
    let engines = ENGINES.iter().map(|(engine, unsupported)| {
        let lack = |node: &Node| {
            let cause = unsupported(graph, node)?;
            Some(Lack {
                node: node.name.clone(),
                operator: node.op.name(),
                cause,
            })
        };
        (*engine, graph.nodes.iter().filter_map(lack).collect())
    });
    engines.collect()
}
