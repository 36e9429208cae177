//! What the nodes of a file read and define, looked at before they are read: through graphs in attributes and functions.
//!
//! Graphs in attributes are walked by recursion, which the decoder bounds: it refuses messages nested 100 deep.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::function::Functions;
use super::normalise::find;
use super::proto::{GraphProto, NodeProto};
use crate::graph::{Defect, UnsupportedOperator};

/// A file has at most this many nodes and names of tensors, which keeps ids in range.
const SIZE_MAX: usize = 1 << 24;

/// Tells whether the operators of a domain are those of the default operator set.
pub(super) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Returns the name of a node's operator, with its domain unless that is the default one.
pub(super) fn qualified(node: &NodeProto) -> Cow<'_, str> {
    if is_default(&node.domain) {
        Cow::Borrowed(&node.op_type)
    } else {
        Cow::Owned(format!("{}.{}", node.domain, node.op_type))
    }
}

/// Returns the graphs that a node has as attributes.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Returns the names that nodes read, in graphs of theirs also, as far as they come from outside of those.
pub(super) fn names_read(nodes: &[NodeProto]) -> BTreeSet<&str> {
    nodes.iter().flat_map(names_read_by).collect()
}

/// As [`names_read`], of one node.
pub(super) fn names_read_by(node: &NodeProto) -> BTreeSet<&str> {
    let mut names: BTreeSet<_> = node.input.iter().map(String::as_str).collect();
    for body in bodies(node) {
        let mut inside = names_read(&body.node);
        inside.extend(body.output.iter().map(|output| output.name.as_str()));
        for name in defined(body) {
            inside.remove(name);
        }
        names.append(&mut inside);
    }
    names.remove("");
    names
}

fn defined(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let weights = graph.initializer.iter().map(|weight| &weight.name);
    let computed = graph.node.iter().flat_map(|node| &node.output);
    inputs.chain(weights).chain(computed).map(String::as_str)
}

/// Returns every name of a tensor in a file.
pub(super) fn all_names(graph: &GraphProto, functions: &Functions<'_>) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut lists = vec![graph.node.as_slice()];
    let mut graphs = vec![graph];
    for function in functions.all() {
        names.extend(function.input.iter().chain(&function.output).cloned());
        lists.push(&function.node);
    }
    while let Some(nodes) = lists.pop() {
        for node in nodes {
            names.extend(node.input.iter().chain(&node.output).cloned());
            graphs.extend(bodies(node));
            lists.extend(bodies(node).map(|body| body.node.as_slice()));
        }
    }
    for graph in graphs {
        names.extend(graph.initializer.iter().map(|weight| weight.name.clone()));
        let infos = graph.input.iter().chain(&graph.output);
        names.extend(infos.map(|info| info.name.clone()));
    }
    names
}

/// Checks the number of nodes and names of a graph with those inside of it.
pub(super) fn check_size(graph: &GraphProto) -> Result<(), Defect> {
    let mut seen = 0_usize;
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        seen += graph.initializer.len() + graph.input.len() + graph.output.len();
        for node in &graph.node {
            seen += 1 + node.input.len() + node.output.len();
            graphs.extend(bodies(node));
        }
    }
    if seen > SIZE_MAX {
        Err(Defect::Size {
            seen,
            most: SIZE_MAX,
        })
    } else {
        Ok(())
    }
}

/// Returns a distinct name for each node: its own, else that of its first output, with a number if that is taken.
pub(super) fn node_names(nodes: &[NodeProto]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut counts = HashMap::new();
    let mut names = Vec::with_capacity(nodes.len());
    for node in nodes {
        let output = || {
            node.output
                .iter()
                .find(|name| !name.is_empty())
                .unwrap_or(&node.op_type)
        };
        let base = if node.name.is_empty() {
            output()
        } else {
            &node.name
        };
        let mut name = base.clone();
        while !taken.insert(name.clone()) {
            let count = counts.entry(base).or_insert(1_u32);
            *count += 1;
            name = format!("{base}#{count}");
        }
        names.push(name);
    }
    names
}

/// Checks that every operator is known, also in the graphs of nodes and in the functions that they call.
pub(super) fn check_operators(graph: &GraphProto, functions: &Functions<'_>) -> Result<(), Defect> {
    let mut unsupported: BTreeMap<String, UnsupportedOperator> = BTreeMap::new();
    let mut called = HashSet::new();
    let mut lists = vec![graph.node.as_slice()];
    while let Some(nodes) = lists.pop() {
        let names = node_names(nodes);
        for (node, name) in nodes.iter().zip(names) {
            lists.extend(bodies(node).map(|body| body.node.as_slice()));
            if let Some((key, function)) = functions.find(node) {
                if called.insert(key) {
                    lists.push(&function.node);
                }
                continue;
            }
            let operator = qualified(node);
            if find(&operator).is_some() {
                continue;
            }
            let operator = operator.into_owned();
            unsupported
                .entry(operator.clone())
                .or_insert_with(|| UnsupportedOperator {
                    operator,
                    count: 0,
                    node: name,
                })
                .count += 1;
        }
    }
    let operators: Vec<_> = unsupported.into_values().collect();
    if operators.is_empty() {
        Ok(())
    } else {
        Err(Defect::Operators { operators })
    }
}
