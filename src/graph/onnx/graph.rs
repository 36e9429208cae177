//! Reads the nodes of a graph: that of a model, of an operator's attribute, or of a function.
//!
//! A graph in an attribute becomes a graph that stands alone ([`read_body`]): a value from around it that it reads
//! becomes a further input of it, a weight is shared. Where it is known which of several graphs runs, its nodes are read
//! in place of the node ([`inline_body`]).

use std::cell::Cell;
use std::path::Path;

use super::attributes::Attributes;
use super::external::Files;
use super::function::{Caller, Functions, inline};
use super::normalise::{Call, Form, find};
use super::order::order;
use super::proto::{GraphProto, NodeProto, ValueInfoProto};
use super::scope::{names_read, node_names, qualified};
use super::{tensor, value_info};
use crate::graph::build::Builder;
use crate::graph::build::Frame;
use crate::graph::infer::Fact;
use crate::graph::{Defect, Graph, Op, UnsupportedOperator, ValueId};

/// Graphs within graphs and functions within functions go less deep.
const DEPTH_MAX: usize = 32;

/// Nodes that are read in bodies and functions at most, each as often as it is read.
const EXPANDED_MAX: usize = 1 << 16;

/// What holds for the nodes that are being read.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) path: &'a Path,
    pub(super) functions: &'a Functions<'a>,
    /// Version of the default operator set.
    pub(super) opset: i64,
    /// The function that is being read.
    pub(super) caller: Option<&'a Caller<'a>>,
    pub(super) depth: usize,
    /// Nodes read so far in bodies and functions.
    pub(super) expanded: &'a Cell<usize>,
}

impl Setting<'_> {
    /// Returns the setting of nodes one level further in.
    pub(super) fn deeper(self) -> Result<Self, Defect> {
        let depth = self.depth + 1;
        if depth < DEPTH_MAX {
            Ok(Self { depth, ..self })
        } else {
            Err(Defect::Depth { most: DEPTH_MAX })
        }
    }
}

/// Adds weights.
pub(super) fn read_weights(
    graph: &GraphProto,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    if let Some(sparse) = graph.sparse_initializer.first() {
        let values = sparse.values.as_ref();
        let tensor = values.map(|values| values.name.clone()).unwrap_or_default();
        return Err(Defect::Sparse { tensor });
    }
    for proto in &graph.initializer {
        if proto.name.is_empty() {
            return Err(Defect::Unnamed { kind: "a weight" });
        }
        builder.add_initializer(&proto.name, tensor::read(proto, &proto.name, files)?)?;
    }
    Ok(())
}

/// Returns the inputs of a graph. Files of early IR versions list the weights among them.
pub(super) fn inputs(graph: &GraphProto) -> Result<Vec<&ValueInfoProto>, Defect> {
    let weights = graph.initializer.iter().map(|weight| weight.name.as_str());
    let weights: std::collections::HashSet<_> = weights.collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()));
    let inputs: Vec<_> = inputs.collect();
    if inputs.iter().any(|input| input.name.is_empty()) {
        return Err(Defect::Unnamed { kind: "an input" });
    }
    Ok(inputs)
}

/// Reads nodes in an order in which each comes after those it reads from. `outputs` are names that somebody reads, beside
/// those that the nodes read.
pub(super) fn read_nodes<'a>(
    setting: Setting<'_>,
    nodes: &'a [NodeProto],
    outputs: impl Iterator<Item = &'a str>,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    if setting.depth > 0 {
        let expanded = setting.expanded.get().saturating_add(nodes.len());
        if expanded > EXPANDED_MAX {
            return Err(Defect::Expanded { most: EXPANDED_MAX });
        }
        setting.expanded.set(expanded);
    }
    let mut read = names_read(nodes);
    read.extend(outputs);
    let names = node_names(nodes);
    for place in order(nodes, &names)? {
        let node = &nodes[place];
        let name = builder.within_frame(&names[place]);
        let is_read = node
            .output
            .iter()
            .map(|output| read.contains(output.as_str()));
        add_node(setting, node, &name, is_read.collect(), builder, files)?;
    }
    Ok(())
}

fn add_node(
    setting: Setting<'_>,
    node: &NodeProto,
    name: &str,
    read: Vec<bool>,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    let mut resolve = |tensor: &String| match tensor.as_str() {
        "" => Ok(None),
        given => builder.resolve(given).ok_or_else(|| Defect::Undefined {
            node: name.to_owned(),
            tensor: given.to_owned(),
        }),
    };
    let inputs = node.input.iter().map(&mut resolve);
    let mut inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    while inputs.last() == Some(&None) {
        inputs.pop();
    }
    if let Some(function) = setting.functions.find(node) {
        return inline(setting, function, node, name, &inputs, builder, files);
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
        opset: setting.opset,
        attributes: Attributes::of(node),
        inputs,
        outputs: outputs.collect(),
        read,
        setting,
        builder,
        files,
    };
    if call.opset < 6 {
        // A hint to a planner of memory, which every operator could have.
        call.attributes.ignore(&["consumed_inputs"]);
    }
    let form = normalise(&mut call).and_then(|form| call.attributes.finish().map(|()| form));
    let form = form.map_err(|fault| fault.of(name, operator))?;
    let outputs = call.outputs;
    match form {
        Form::Node(op, inputs) => builder.add_node(name, operator, op, inputs, &outputs),
        Form::Nodes(nodes) => {
            let nodes = nodes.into_iter().zip(&outputs);
            let read: Vec<_> = nodes
                .filter_map(|(node, output)| Some((node, output.as_deref()?)))
                .collect();
            let several = read.len() > 1;
            read.into_iter().try_for_each(|((op, inputs), output)| {
                // Where one node of a file makes several, these are told apart by what they compute.
                let name = if several {
                    &format!("{name}.{output}")
                } else {
                    name
                };
                builder.add_node(name, operator, op, inputs, &[Some(output.to_owned())])
            })
        }
        Form::Initializer(initializer) => match outputs.first() {
            Some(Some(output)) => builder.add_initializer(output, initializer).map(|_| ()),
            _ => Ok(()),
        },
        Form::Inlined => Ok(()),
    }
}

/// Reads a graph as one that stands alone, of whose inputs `given` is known.
///
/// Returns the values around it that it takes, which are the inputs behind those given.
///
/// A graph that contradicts the sizes that it is given may be one that does not run where they are those, as exporters
/// write `If` for it. So it is read once more as if they were not known.
pub(super) fn read_body(
    setting: Setting<'_>,
    graph: &GraphProto,
    given: &[Fact],
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(Graph, Vec<ValueId>), Defect> {
    let setting = setting.deeper()?;
    let doubted = builder.doubts_sizes();
    attempt(setting, graph, given, doubted, builder, files).or_else(|defect| {
        if doubted {
            return Err(defect);
        }
        let given: Vec<_> = given.iter().map(Fact::without_sizes).collect();
        attempt(setting, graph, &given, true, builder, files).map_err(|_| defect)
    })
}

fn attempt(
    setting: Setting<'_>,
    graph: &GraphProto,
    given: &[Fact],
    doubts_sizes: bool,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(Graph, Vec<ValueId>), Defect> {
    let declared = declared(graph)?;
    let mut body = Builder::body(std::mem::take(builder), declared, doubts_sizes);
    let result = fill(setting, graph, given, &mut body, files);
    let (outer, body) = body.leave();
    *builder = outer;
    let outputs = result?;
    Ok(body.finish_body(graph.name.clone(), setting.path.to_path_buf(), &outputs))
}

fn fill(
    setting: Setting<'_>,
    graph: &GraphProto,
    given: &[Fact],
    body: &mut Builder,
    files: &mut Files,
) -> Result<Vec<ValueId>, Defect> {
    let inputs = inputs(graph)?;
    if inputs.len() != given.len() {
        return Err(Defect::BodyInputs {
            seen: inputs.len(),
            expected: given.len(),
        });
    }
    for (input, given) in inputs.into_iter().zip(given) {
        let fact = value_info::argument(input, given)?;
        body.add_input(&input.name, fact)?;
    }
    read_weights(graph, body, files)?;
    let names = graph.output.iter().map(|output| output.name.as_str());
    read_nodes(setting, &graph.node, names.clone(), body, files)?;
    let find = |name: &str| {
        body.resolve(name)
            .flatten()
            .ok_or_else(|| Defect::UndefinedOutput {
                tensor: name.to_owned(),
            })
    };
    names.map(find).collect()
}

/// Returns what a graph in an attribute says of the values that it computes. Symbols may stand for another size each time
/// that it runs, so they say nothing.
fn declared(graph: &GraphProto) -> Result<std::collections::HashMap<String, Fact>, Defect> {
    let infos = graph.value_info.iter().chain(&graph.output);
    infos
        .map(|info| Ok((info.name.clone(), value_info::inside(info)?)))
        .collect()
}

/// Reads the nodes of a graph without inputs in place of the node whose attribute it is.
pub(super) fn inline_body(
    setting: Setting<'_>,
    graph: &GraphProto,
    node: &str,
    outputs: &[String],
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    let setting = setting.deeper()?;
    let inner: Vec<_> = graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect();
    if inner.len() < outputs.len() || !inputs(graph)?.is_empty() {
        return Err(Defect::BodyInputs {
            seen: graph.input.len(),
            expected: 0,
        });
    }
    builder.open(Frame::branch(node, declared(graph)?, &inner, outputs));
    read_weights(graph, builder, files)?;
    let names = inner.iter().map(String::as_str);
    read_nodes(setting, &graph.node, names, builder, files)?;
    bind_outputs(node, &inner, outputs, builder)
}

/// Reads the nodes of a graph of one input and one output, in place of the node that applies it to `tensor`.
pub(super) fn apply_body(
    setting: Setting<'_>,
    graph: &GraphProto,
    node: &str,
    tensor: ValueId,
    builder: &mut Builder,
    files: &mut Files,
) -> Result<ValueId, Defect> {
    let setting = setting.deeper()?;
    let parameters = inputs(graph)?;
    let ([input], [output]) = (parameters.as_slice(), graph.output.as_slice()) else {
        return Err(Defect::BodyInputs {
            seen: graph.input.len(),
            expected: 1,
        });
    };
    let mut frame = Frame::branch(node, declared(graph)?, &[], &[]);
    frame.names.insert(input.name.clone(), Some(tensor));
    builder.open(frame);
    read_weights(graph, builder, files)?;
    let names = std::iter::once(output.name.as_str());
    read_nodes(setting, &graph.node, names, builder, files)?;
    let value = builder.resolve(&output.name).flatten();
    builder.close();
    value.ok_or_else(|| Defect::UndefinedOutput {
        tensor: output.name.clone(),
    })
}

/// Closes the frame of nodes that were read in place of `node`, and gives its outputs their values, where those are not
/// computed inside and so have them already.
pub(super) fn bind_outputs(
    node: &str,
    inner: &[String],
    outer: &[String],
    builder: &mut Builder,
) -> Result<(), Defect> {
    let mut passed = Vec::new();
    for (inner, outer) in inner.iter().zip(outer) {
        let undefined = || Defect::UndefinedOutput {
            tensor: inner.clone(),
        };
        let value = builder.resolve(inner).ok_or_else(undefined)?;
        if !outer.is_empty() {
            passed.push((outer, value));
        }
    }
    builder.close();
    for (outer, value) in passed {
        if !builder.is_defined(outer) {
            let outputs = [Some(outer.clone())];
            builder.add_node(node, "", Op::Identity, vec![value], &outputs)?;
        }
    }
    Ok(())
}
