//! From a file to a graph.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use prost::Message;

use super::attributes::Attributes;
use super::builder::Builder;
use super::external::Files;
use super::map::map;
use super::normalise::{Call, Form, find};
use super::order::order;
use super::proto::{GraphProto, ModelProto, NodeProto};
use super::{tensor, value_info};
use crate::graph::{Defect, Graph, GraphError, UnsupportedOperator};

/// Versions of the default operator set that can be read.
const OPSETS: std::ops::RangeInclusive<i64> = 1..=27;

/// A graph has at most this many nodes and names of tensors, which keeps ids in range.
const SIZE_MAX: usize = 1 << 24;

impl Graph {
    /// Reads a model from an ONNX file and the data files it names.
    ///
    /// Files are mapped, not copied, and must not be overwritten in place while the graph or a part of it is in use;
    /// replacing them by renaming is safe. Operators are normalised, dtypes and shapes inferred, and what no output
    /// needs is left out; inputs are all kept.
    ///
    /// # Errors
    /// If a file cannot be read, is no ONNX model, contradicts itself, or uses what is not supported. Unsupported
    /// operators are reported all at once.
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        let path = path.to_path_buf();
        let bytes = map(&path).map_err(|source| GraphError::Read {
            path: path.clone(),
            source,
        })?;
        let model = ModelProto::decode(bytes).map_err(|source| GraphError::Decode {
            path: path.clone(),
            source,
        })?;
        let graph = build(&model, &path).map_err(|defect| GraphError::Model {
            path,
            source: Box::new(defect),
        })?;
        if cfg!(debug_assertions) {
            graph.verify()?;
        }
        Ok(graph)
    }
}

fn build(model: &ModelProto, path: &Path) -> Result<Graph, Defect> {
    let graph = model.graph.as_ref().ok_or(Defect::NoGraph)?;
    let imported = model
        .opset_import
        .iter()
        .find(|opset| is_default(&opset.domain));
    let opset = imported.map_or(1, |opset| opset.version);
    if !OPSETS.contains(&opset) {
        return Err(Defect::Opset {
            seen: opset,
            lowest: *OPSETS.start(),
            highest: *OPSETS.end(),
        });
    }
    check_size(graph)?;
    let names = node_names(&graph.node);
    check_operators(&graph.node, &names)?;
    if let Some(sparse) = graph.sparse_initializer.first() {
        let tensor = sparse
            .values
            .as_ref()
            .map(|values| values.name.clone())
            .unwrap_or_default();
        return Err(Defect::Sparse { tensor });
    }
    if graph.output.is_empty() {
        return Err(Defect::NoOutputs);
    }
    let read = names_read(graph);
    let mut builder = builder(graph)?;
    let mut files = Files::beside(path);
    add_sources(graph, &mut builder, &mut files)?;
    for place in order(&graph.node, &names)? {
        add_node(
            &graph.node[place],
            &names[place],
            opset,
            &read,
            &mut builder,
            &mut files,
        )?;
    }
    let outputs = graph.output.iter().map(|output| {
        builder
            .find(&output.name)
            .ok_or_else(|| Defect::UndefinedOutput {
                tensor: output.name.clone(),
            })
    });
    let outputs: Vec<_> = outputs.collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    if let Some(place) = outputs.iter().position(|output| !seen.insert(*output)) {
        return Err(Defect::DefinedTwice {
            tensor: graph.output[place].name.clone(),
        });
    }
    Ok(builder.finish(graph.name.clone(), path.to_path_buf(), outputs))
}

fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Returns the name of a node's operator, with its domain unless that is the default one.
fn qualified(node: &NodeProto) -> Cow<'_, str> {
    if is_default(&node.domain) {
        Cow::Borrowed(&node.op_type)
    } else {
        Cow::Owned(format!("{}.{}", node.domain, node.op_type))
    }
}

fn check_size(graph: &GraphProto) -> Result<(), Defect> {
    let in_nodes: usize = graph
        .node
        .iter()
        .map(|node| 1 + node.input.len() + node.output.len())
        .sum();
    let seen = in_nodes + graph.initializer.len() + graph.input.len() + graph.output.len();
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
fn node_names(nodes: &[NodeProto]) -> Vec<String> {
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

fn check_operators(nodes: &[NodeProto], names: &[String]) -> Result<(), Defect> {
    let mut unsupported: BTreeMap<String, UnsupportedOperator> = BTreeMap::new();
    for (node, name) in nodes.iter().zip(names) {
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
                node: name.clone(),
            })
            .count += 1;
    }
    let operators: Vec<_> = unsupported.into_values().collect();
    if operators.is_empty() {
        Ok(())
    } else {
        Err(Defect::Operators { operators })
    }
}

/// Returns the names that nodes or the caller of the model read.
fn names_read(graph: &GraphProto) -> HashSet<&str> {
    let inputs = graph
        .node
        .iter()
        .flat_map(|node| node.input.iter().map(String::as_str));
    inputs
        .chain(graph.output.iter().map(|output| output.name.as_str()))
        .collect()
}

fn builder(graph: &GraphProto) -> Result<Builder, Defect> {
    let mut declared = HashMap::new();
    for info in graph.value_info.iter().chain(&graph.output) {
        declared.insert(info.name.clone(), value_info::computed(info)?);
    }
    let in_nodes = graph
        .node
        .iter()
        .flat_map(|node| node.input.iter().chain(&node.output));
    let weights = graph.initializer.iter().map(|tensor| &tensor.name);
    let inputs = graph.input.iter().map(|input| &input.name);
    let reserved = in_nodes.chain(weights).chain(inputs).cloned().collect();
    let outputs = graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect();
    Ok(Builder::new(declared, reserved, outputs))
}

/// Adds inputs and weights. Files of early IR versions list the weights among the inputs.
fn add_sources(graph: &GraphProto, builder: &mut Builder, files: &mut Files) -> Result<(), Defect> {
    let weights: HashSet<_> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    for input in graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()))
    {
        if input.name.is_empty() {
            return Err(Defect::Unnamed {
                kind: "an input of the model",
            });
        }
        builder.add_input(&input.name, value_info::input(input)?)?;
    }
    for proto in &graph.initializer {
        if proto.name.is_empty() {
            return Err(Defect::Unnamed { kind: "a weight" });
        }
        builder.add_initializer(&proto.name, tensor::read(proto, &proto.name, files)?)?;
    }
    Ok(())
}

fn add_node(
    node: &NodeProto,
    name: &str,
    opset: i64,
    read: &HashSet<&str>,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    let resolve = |tensor: &String| match tensor.as_str() {
        "" => Ok(None),
        given => {
            let undefined = || Defect::Undefined {
                node: name.to_owned(),
                tensor: given.to_owned(),
            };
            builder.find(given).map(Some).ok_or_else(undefined)
        }
    };
    let mut inputs = node
        .input
        .iter()
        .map(resolve)
        .collect::<Result<Vec<_>, _>>()?;
    while inputs.last() == Some(&None) {
        inputs.pop();
    }
    let outputs = node
        .output
        .iter()
        .map(|output| Some(output.clone()).filter(|output| !output.is_empty()));
    let operator = &*qualified(node);
    let unsupported = || {
        let (operator, node) = (operator.to_owned(), name.to_owned());
        Defect::Operators {
            operators: vec![UnsupportedOperator {
                operator,
                count: 1,
                node,
            }],
        }
    };
    let normalise = find(operator).ok_or_else(unsupported)?;
    let mut call = Call {
        node: name,
        opset,
        attributes: Attributes::of(node),
        inputs,
        outputs: outputs.collect(),
        read: node
            .output
            .iter()
            .map(|output| read.contains(output.as_str()))
            .collect(),
        builder,
        files,
    };
    let form = normalise(&mut call).and_then(|form| call.attributes.finish().map(|()| form));
    let form = form.map_err(|fault| fault.of(name, operator))?;
    let outputs = call.outputs;
    match form {
        Form::Node(op, inputs) => builder.add_node(name, operator, op, inputs, &outputs),
        Form::Initializer(initializer) => match outputs.first() {
            Some(Some(output)) => builder.add_initializer(output, initializer).map(|_| ()),
            _ => Ok(()),
        },
    }
}
