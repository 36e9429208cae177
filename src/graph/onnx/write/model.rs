//! From a graph to the messages of a model file.

use std::collections::HashSet;

use crate::graph::onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
};
use crate::graph::{Graph, GraphError, Node, ValueId, ValueOrigin};

use super::operator::attributes;
use super::several::{Named, several};
use super::types::declaration;

/// The operator set of every file written, and the version of the file format that belongs to it.
const OPSET: i64 = 24;
const IR_VERSION: i64 = 12;

/// Returns the model of a graph whose weights are described already.
pub(super) fn model(graph: &Graph, weights: Vec<TensorProto>) -> Result<ModelProto, GraphError> {
    let declared = |ids: &[ValueId]| ids.iter().map(|&id| declaration(graph.value(id))).collect();
    let name = if graph.name.is_empty() {
        "graph"
    } else {
        &graph.name
    };
    let between = graph
        .values
        .iter()
        .zip((0..).map(ValueId))
        .filter(|(value, id)| {
            matches!(value.origin, ValueOrigin::Node(..))
                && value.dtype.is_some()
                && !graph.outputs.contains(id)
        });
    Ok(ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        graph: Some(GraphProto {
            name: name.to_owned(),
            node: nodes(graph)?,
            initializer: weights,
            input: declared(&graph.inputs),
            output: declared(&graph.outputs),
            value_info: between.map(|(value, _)| declaration(value)).collect(),
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    })
}

fn nodes(graph: &Graph) -> Result<Vec<NodeProto>, GraphError> {
    let mut taken: HashSet<String> = graph
        .values
        .iter()
        .map(|value| value.name.clone())
        .collect();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let names = |ids: &[Option<ValueId>]| -> Vec<String> {
            let name = |id: &Option<ValueId>| id.map(|id| graph.value(id).name.clone());
            ids.iter().map(|id| name(id).unwrap_or_default()).collect()
        };
        let named = Named {
            node,
            inputs: names(&node.inputs),
            outputs: names(&node.outputs),
        };
        if let Some(attribute) = attributes(node) {
            nodes.push(NodeProto {
                name: node.name.clone(),
                op_type: node.op.name().to_owned(),
                input: named.inputs,
                output: named.outputs,
                attribute,
                ..NodeProto::default()
            });
            continue;
        }
        let mut fresh = |role: &str| fresh(&mut taken, node, role);
        match several(&named, &mut fresh) {
            Some(steps) => nodes.extend(steps),
            None => return Err(unwritable(graph, node)),
        }
    }
    Ok(nodes)
}

/// Returns the name `{node}.{role}`, with a number if that is taken, and takes it.
fn fresh(taken: &mut HashSet<String>, node: &Node, role: &str) -> String {
    let mut name = format!("{}.{role}", node.name);
    let mut number = 2_u64;
    while !taken.insert(name.clone()) {
        name = format!("{}.{role}.{number}", node.name);
        number += 1;
    }
    name
}

fn unwritable(graph: &Graph, node: &Node) -> GraphError {
    let output = node.outputs.iter().flatten().next();
    let output = output.map(|&id| graph.value(id).name.clone());
    GraphError::Unwritable {
        path: graph.path.clone(),
        node: match node.name.as_str() {
            "" => output.unwrap_or_default(),
            name => name.to_owned(),
        },
        operator: node.op.name(),
    }
}
