//! Functions that a model defines: every call is replaced by the nodes of the function.

use std::borrow::Cow;
use std::collections::HashMap;

use super::external::Files;
use super::graph::{Setting, bind_outputs, read_nodes};
use super::opset::default_opset;
use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};
use super::scope::{bodies, is_default, qualified};
use crate::graph::build::Builder;
use crate::graph::build::Frame;
use crate::graph::{Defect, Fault, ValueId};

/// Domain, name and overload.
pub(super) type Key<'a> = (&'a str, &'a str, &'a str);

/// The functions of a model.
#[derive(Debug, Default)]
pub(super) struct Functions<'a>(HashMap<Key<'a>, &'a FunctionProto>);

/// A function that is being read, and who called it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    key: Key<'a>,
    above: Option<&'a Caller<'a>>,
}

fn key<'a>(domain: &'a str, name: &'a str, overload: &'a str) -> Key<'a> {
    (if is_default(domain) { "" } else { domain }, name, overload)
}

fn shown((domain, name, overload): Key<'_>) -> String {
    let parts = [domain, name, overload];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(".")
}

impl<'a> Functions<'a> {
    pub(super) fn of(model: &'a ModelProto) -> Result<Self, Defect> {
        let mut functions = HashMap::new();
        for function in &model.functions {
            let key = key(&function.domain, &function.name, &function.overload);
            if functions.insert(key, function).is_some() {
                return Err(Defect::FunctionTwice {
                    function: shown(key),
                });
            }
        }
        Ok(Self(functions))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &'a FunctionProto> {
        self.0.values().copied()
    }

    /// Returns the function that a node calls. What the model defines goes before what this program knows.
    pub(super) fn find(&self, node: &NodeProto) -> Option<(Key<'a>, &'a FunctionProto)> {
        let called = key(&node.domain, &node.op_type, &node.overload);
        let function = *self.0.get(&called)?;
        let own = key(&function.domain, &function.name, &function.overload);
        Some((own, function))
    }
}

/// Reads the nodes of a function in place of a node that calls it.
pub(super) fn inline(
    setting: Setting<'_>,
    (key, function): (Key<'_>, &FunctionProto),
    node: &NodeProto,
    name: &str,
    inputs: &[Option<ValueId>],
    builder: &mut Builder,
    files: &mut Files,
) -> Result<(), Defect> {
    let at = |fault: Fault| fault.of(name, &qualified(node));
    let caller = Caller {
        key,
        above: setting.caller,
    };
    check_recursion(&caller)?;
    if inputs.len() > function.input.len() {
        return Err(at(Fault::InputCount {
            seen: inputs.len(),
            expected: format!("at most {}", function.input.len()),
        }));
    }
    if node.output.len() > function.output.len() {
        return Err(at(Fault::OutputCount {
            seen: node.output.len(),
            expected: format!("at most {}", function.output.len()),
        }));
    }
    let values = attributes(function, node).map_err(at)?;
    let nodes = if function.node.iter().any(refers) {
        Cow::Owned(bound(&function.node, &values))
    } else {
        Cow::Borrowed(function.node.as_slice())
    };
    let setting = Setting {
        opset: default_opset(&function.opset_import)?.unwrap_or(setting.opset),
        caller: Some(&caller),
        ..setting.deeper()?
    };
    let parameters = function.input.iter().enumerate();
    let parameters = parameters.map(|(place, parameter)| {
        let value = inputs.get(place).copied().flatten();
        (parameter.clone(), value)
    });
    builder.open(Frame::function(
        name,
        parameters.collect(),
        &function.output,
        &node.output,
    ));
    let outputs = function.output.iter().map(String::as_str);
    read_nodes(setting, &nodes, outputs, builder, files)?;
    bind_outputs(name, &function.output, &node.output, builder)
}

fn check_recursion(caller: &Caller<'_>) -> Result<(), Defect> {
    let mut calls = vec![shown(caller.key)];
    let mut next = caller.above;
    while let Some(above) = next {
        calls.push(shown(above.key));
        if above.key == caller.key {
            calls.reverse();
            return Err(Defect::Recursion {
                function: shown(caller.key),
                calls,
            });
        }
        next = above.above;
    }
    Ok(())
}

/// Returns the values of a function's attributes in one call, those that have none left out.
fn attributes<'a>(
    function: &'a FunctionProto,
    node: &'a NodeProto,
) -> Result<HashMap<&'a str, &'a AttributeProto>, Fault> {
    let defaults = function.attribute_proto.iter();
    let mut values: HashMap<_, _> = defaults
        .map(|attribute| (attribute.name.as_str(), attribute))
        .collect();
    for attribute in &node.attribute {
        let name = attribute.name.as_str();
        if !values.contains_key(name) && !function.attribute.iter().any(|own| own == name) {
            return Err(Fault::UnknownAttribute {
                attribute: name.to_owned(),
                seen: "given to a function that has none of this name".to_owned(),
            });
        }
        values.insert(name, attribute);
    }
    Ok(values)
}

fn refers(node: &NodeProto) -> bool {
    let own = node
        .attribute
        .iter()
        .any(|attribute| !attribute.ref_attr_name.is_empty());
    own || bodies(node).any(|body| body.node.iter().any(refers))
}

/// Copies nodes with the values of the attributes that they take from the function.
fn bound(nodes: &[NodeProto], values: &HashMap<&str, &AttributeProto>) -> Vec<NodeProto> {
    let attribute = |own: &AttributeProto| {
        if own.ref_attr_name.is_empty() {
            let inside = |graph: &GraphProto| GraphProto {
                node: bound(&graph.node, values),
                ..graph.clone()
            };
            return Some(AttributeProto {
                g: own.g.as_ref().map(inside),
                graphs: own.graphs.iter().map(inside).collect(),
                ..own.clone()
            });
        }
        let value = *values.get(own.ref_attr_name.as_str())?;
        Some(AttributeProto {
            name: own.name.clone(),
            ..value.clone()
        })
    };
    let node = |node: &NodeProto| NodeProto {
        attribute: node.attribute.iter().filter_map(attribute).collect(),
        ..node.clone()
    };
    nodes.iter().map(node).collect()
}
