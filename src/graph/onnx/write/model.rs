//! From a graph to the messages of a model file.

use std::sync::Arc;

use crate::graph::onnx::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::graph::onnx::scope::names_read;
use crate::graph::{Graph, GraphError, Initializer, Node, ValueId};

use super::graph::{between, nodes, write_node};
use super::opset::{file_version, imports};
use super::scope::{Names, Scope};
use super::types::declaration;

/// A model without its weights.
pub(super) struct Draft<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeProto>,
    /// Those that the file has, by name.
    pub(super) weights: Vec<(String, &'a Arc<Initializer>)>,
}

impl<'a> Draft<'a> {
    /// Writes the nodes.
    pub(super) fn of(graph: &'a Graph) -> Result<Self, GraphError> {
        let mut scope = Scope::of(graph);
        let nodes = nodes(graph, &names(graph), &mut scope)?;
        // Some operators of ours have inputs that are attributes of a file's.
        let mut read = names_read(&nodes);
        read.extend(graph.outputs.iter().map(|&id| &*graph.value(id).name));
        let mut weights = scope.weights;
        weights.retain(|(name, _)| read.contains(name.as_str()));
        Ok(Self {
            graph,
            nodes,
            weights,
        })
    }

    /// Returns the model with its weights, as `described` says where each is.
    pub(super) fn model(self, described: Vec<TensorProto>) -> ModelProto {
        let graph = self.graph;
        let declared =
            |ids: &[ValueId]| ids.iter().map(|&id| declaration(graph.value(id))).collect();
        let name = if graph.name.is_empty() {
            "graph"
        } else {
            &graph.name
        };
        let opset_import = imports(graph, &self.nodes);
        ModelProto {
            ir_version: file_version(&opset_import),
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            opset_import,
            graph: Some(GraphProto {
                name: name.to_owned(),
                node: self.nodes,
                initializer: described,
                input: declared(&graph.inputs),
                output: declared(&graph.outputs),
                value_info: between(graph)
                    .map(|id| declaration(graph.value(id)))
                    .collect(),
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }
}

fn names(graph: &Graph) -> Names {
    graph
        .values
        .iter()
        .map(|value| value.name.clone())
        .collect()
}

impl Graph {
    /// Returns the nodes that [`Graph::write`] refuses, each with the error that it would give.
    pub fn unwritable(&self) -> impl Iterator<Item = (&Node, GraphError)> {
        let names = names(self);
        let mut scope = Scope::of(self);
        self.nodes.iter().filter_map(move |node| {
            let refused = write_node(self, node, &names, &mut scope).err()?;
            Some((node, refused))
        })
    }
}
