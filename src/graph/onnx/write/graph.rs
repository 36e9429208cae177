//! The nodes of a graph, and the graphs of nodes.

use std::collections::HashSet;

use crate::graph::onnx::proto::{GraphProto, NodeProto};
use crate::graph::{Container, Graph, GraphError, Node, ValueId, ValueOrigin};

use super::call::{Call, Written};
use super::operator::write;
use super::scope::{Names, Scope, named};
use super::tensor::inline;
use super::types::{declaration, unsymbolic};

/// Writes all nodes of a graph whose values have names already.
pub(super) fn nodes<'a>(graph: &'a Graph, names: &Names, scope: &mut Scope<'a>) -> Written {
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        nodes.extend(write_node(graph, node, names, scope)?);
    }
    Ok(nodes)
}

pub(super) fn write_node<'a>(
    graph: &'a Graph,
    node: &'a Node,
    names: &Names,
    scope: &mut Scope<'a>,
) -> Written {
    write(&mut Call {
        graph,
        node,
        inputs: named(names, &node.inputs),
        outputs: named(names, &node.outputs),
        scope,
        steps: Vec::new(),
    })
}

/// Returns the values that nodes compute and about which a file says something: all but outputs of which the dtype is
/// known.
pub(super) fn between(graph: &Graph) -> impl Iterator<Item = ValueId> {
    let values = graph.values.iter().zip((0..).map(ValueId));
    let inner = values.filter(|(value, id)| {
        matches!(value.origin, ValueOrigin::Node(..))
            && value.dtype.is_some()
            && !graph.outputs.contains(id)
    });
    inner.map(|(_, id)| id)
}

/// Writes a graph that a node runs. Its last inputs are values around it, of the names `captured`, which it reads by
/// those names.
///
/// Symbols say nothing in a body, where they may stand for another size each time that it runs.
pub(super) fn body<'a>(
    body: &'a Graph,
    captured: &[String],
    scope: &mut Scope<'a>,
) -> Result<GraphProto, GraphError> {
    let (names, weights) = scope.body(body, captured);
    let mut nodes = nodes(body, &names, scope)?;
    let declared = |id: ValueId, name: String| {
        let mut value = unsymbolic(body.value(id));
        value.name = name;
        declaration(&value)
    };
    let named = |id: ValueId| declared(id, names[id.0 as usize].clone());
    let given = &body.inputs[..body.inputs.len().saturating_sub(captured.len())];
    let mut put_out = HashSet::new();
    let mut output = Vec::with_capacity(body.outputs.len());
    for &id in &body.outputs {
        let name = &names[id.0 as usize];
        let own = matches!(body.value(id).origin, ValueOrigin::Node(..)) || given.contains(&id);
        if own && put_out.insert(id) {
            output.push(named(id));
            continue;
        }
        // What is from around a body, or an output of it already, is passed on by a node.
        let passed = scope.fresh(name, "output");
        nodes.push(NodeProto {
            op_type: "Identity".to_owned(),
            input: vec![name.clone()],
            output: vec![passed.clone()],
            ..NodeProto::default()
        });
        output.push(declared(id, passed));
    }
    Ok(GraphProto {
        name: match body.name.as_str() {
            "" => "body".to_owned(),
            name => name.to_owned(),
        },
        node: nodes,
        initializer: weights
            .iter()
            .map(|(name, weight)| inline(name, &weight.tensor))
            .collect(),
        input: given.iter().map(|&id| named(id)).collect(),
        output,
        value_info: between(body)
            .filter(|&id| body.value(id).container == Container::Tensor)
            .map(named)
            .collect(),
        ..GraphProto::default()
    })
}
