//! Which nodes the engine can run, without preparing a block.

use crate::graph::{Graph, Node};

use super::context::NodeContext;
use super::registry::kernel;
use super::weights::Weights;

/// Tells why no kernel can be made for a node of a graph; `None` if one can.
pub fn unsupported(graph: &Graph, node: &Node) -> Option<String> {
    let made = kernel(&NodeContext::new(graph, node, &Weights::new(1)));
    made.err().map(|cause| cause.to_string())
}
