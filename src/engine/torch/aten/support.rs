//! Which nodes the engine can run, without preparing a block.

use crate::graph::{Graph, Node};

use super::super::ffi::begin;
use super::context::NodeContext;
use super::cuda_graphs::Obstacle;
use super::registry::kernel;
use super::sites::Sites;
use super::weights::Weights;

/// Tells why no kernel can be made for a node of a graph; `None` if one can.
pub fn unsupported(graph: &Graph, node: &Node) -> Option<String> {
    begin();
    let made = kernel(&NodeContext::new(graph, node, &Weights::new(1)));
    made.err().map(|cause| cause.to_string())
}

/// Tells why runs of a graph on a CUDA device cannot be captured, if that can be seen before they are tried.
pub fn uncaptured(graph: &Graph) -> Option<String> {
    let sites = Sites::of(graph).ok()?;
    Obstacle::of(graph, &sites).map(|obstacle| obstacle.cause)
}

/// Tells which nodes of a graph cannot run on a CUDA device, by name and operator, and why.
pub fn misplaced(graph: &Graph) -> Vec<(String, &'static str, String)> {
    let Err(misplaced) = Sites::of(graph) else {
        return Vec::new();
    };
    let misplaced = misplaced.into_iter();
    misplaced.map(|one| (one.node, one.op, one.cause)).collect()
}
