//! From the bytes of an archive to a graph.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::archive::Archive;
use super::argument::Arguments;
use super::call::{Call, Form};
use super::escape::aten;
use super::input::Inputs;
use super::normalise::find;
use super::place::{Owned, each_name, functional, reads};
use super::program;
use super::schema::{self, Argument, GraphModule, Name, OutputSpec};
use super::size;
use super::target::{Target, compute_size};
use super::weights::Weights;
use crate::graph::build::Builder;
use crate::graph::infer::Fact;
use crate::graph::{Defect, Fault, Graph, GraphError, Op, UnsupportedOperator, ValueId};

/// Reads the only program of an archive.
pub(in crate::graph) fn read(path: &Path, bytes: Bytes) -> Result<Graph, GraphError> {
    build(path, bytes).map_err(|defect| GraphError::Model {
        path: path.to_path_buf(),
        source: Box::new(defect),
    })
}

fn build(path: &Path, bytes: Bytes) -> Result<Graph, Defect> {
    let archive = Archive::open(bytes)?;
    let (model, program) = program::read(&archive)?;
    let GraphModule { graph, signature } = &program.graph_module;
    program::check_is_pure(signature)?;
    check_operators(&graph.nodes)?;
    let weights = Weights::of(&archive, &model)?;
    let mut declared = HashMap::with_capacity(graph.tensor_values.len());
    for (name, meta) in &graph.tensor_values {
        declared.insert(name.clone(), size::declared(name, meta)?);
    }
    let outputs = signature.output_specs.iter().filter_map(output);
    let outputs: Vec<&Argument> = outputs.collect();
    let mut wanted = HashSet::new();
    for output in &outputs {
        each_name(output, |name| {
            wanted.insert(name.to_owned());
        });
    }
    let mut reader = Reader {
        builder: Builder::new(declared.clone(), Arc::new(names(graph)), wanted),
        declared,
        reads: reads(graph, signature),
        owned: Owned::default(),
    };
    let inputs = Inputs {
        archive: &archive,
        weights: &weights,
        declared: &reader.declared,
        reads: &reader.reads,
    };
    for input in &signature.input_specs {
        inputs.add(input, &mut reader.builder)?;
    }
    for (place, node) in graph.nodes.iter().enumerate() {
        reader.node(place, node)?;
    }
    let outputs = reader.outputs(&outputs)?;
    Ok(reader.builder.finish(model, path.to_path_buf(), outputs))
}

fn output(spec: &OutputSpec) -> Option<&Argument> {
    match spec {
        OutputSpec::UserOutput { arg } => Some(arg),
        _ => None,
    }
}

/// Returns every name of a value in a graph.
fn names(graph: &schema::Graph) -> HashSet<String> {
    let mut names: HashSet<String> = graph.tensor_values.keys().cloned().collect();
    for node in &graph.nodes {
        for argument in node
            .inputs
            .iter()
            .map(|input| &input.arg)
            .chain(&node.outputs)
        {
            each_name(argument, |name| {
                names.insert(name.to_owned());
            });
        }
    }
    names
}

/// Checks that every operator is one of ATen or of Python on sizes.
fn check_operators(nodes: &[schema::Node]) -> Result<(), Defect> {
    let mut unsupported: BTreeMap<&str, UnsupportedOperator> = BTreeMap::new();
    for (place, node) in nodes.iter().enumerate() {
        if Target::of(&node.target).is_some() {
            continue;
        }
        let operator = || UnsupportedOperator {
            operator: node.target.clone(),
            count: 0,
            node: name_of(place, node),
        };
        unsupported
            .entry(&node.target)
            .or_insert_with(operator)
            .count += 1;
    }
    let operators: Vec<_> = unsupported.into_values().collect();
    if operators.is_empty() {
        Ok(())
    } else {
        Err(Defect::Operators { operators })
    }
}

fn name_of(place: usize, node: &schema::Node) -> String {
    let first = || {
        let mut first = None;
        for output in &node.outputs {
            each_name(output, |name| {
                first.get_or_insert_with(|| name.to_owned());
            });
        }
        first
    };
    let own = node.name.clone().filter(|name| !name.is_empty());
    own.or_else(first)
        .unwrap_or_else(|| format!("node {place}"))
}

struct Reader<'a> {
    builder: Builder,
    declared: HashMap<String, Fact>,
    reads: HashMap<&'a str, usize>,
    owned: Owned<'a>,
}

impl<'a> Reader<'a> {
    fn node(&mut self, place: usize, node: &'a schema::Node) -> Result<(), Defect> {
        let name = name_of(place, node);
        let named = |fault: Fault| fault.of(&name, &node.target);
        match Target::of(&node.target) {
            None | Some(Target::Nothing) => Ok(()),
            Some(Target::Size(function)) => {
                compute_size(function, &name, node, &mut self.builder).map_err(named)
            }
            Some(Target::Aten(operator, overload)) => {
                self.operator(&name, node, operator, overload)
            }
        }
    }

    fn operator(
        &mut self,
        name: &str,
        node: &'a schema::Node,
        operator: &'a str,
        overload: &'a str,
    ) -> Result<(), Defect> {
        let label = format!("{operator}.{overload}");
        let named = |fault: Fault| fault.of(name, &label);
        let mut seen_elsewhere = None;
        let (operator, rule) = match (find(operator, overload), functional(operator)) {
            (None, Some(base)) => {
                seen_elsewhere = self.check_in_place(node).err();
                (base, find(base, overload))
            }
            (rule, _) => (operator, rule),
        };
        let mut outputs = Vec::new();
        for output in &node.outputs {
            match output {
                Argument::Tensor(_) | Argument::Tensors(_) | Argument::SymInt(_) => {
                    each_name(output, |name| outputs.push(name));
                }
                _ => {
                    return Err(named(Fault::Argument {
                        argument: "result".to_owned(),
                        seen: "no tensor".to_owned(),
                        expected: "tensors and sizes only",
                    }));
                }
            }
        }
        let declared = |output: &&str| self.declared.get(*output).cloned().unwrap_or_default();
        let mut call = Call {
            node: name,
            arguments: Arguments::of(&node.inputs),
            declared: outputs.iter().map(declared).collect(),
            read: outputs
                .iter()
                .map(|output| self.reads.contains_key(output))
                .collect(),
            builder: &mut self.builder,
        };
        let form = match rule {
            Some(rule) => rule(&mut call).map_err(named)?,
            None => Form::Aten,
        };
        // What a rule did not look at, it did not understand.
        let form = if call.arguments.are_all_seen() {
            form
        } else {
            Form::Aten
        };
        // What leaves its argument as it is writes nothing: dropout, where nobody trains.
        if let Some(fault) = seen_elsewhere
            && !matches!(form, Form::Node(Op::Identity, _))
        {
            return Err(named(fault));
        }
        let mut results: Vec<_> = outputs
            .iter()
            .map(|&output| Some(output.to_owned()))
            .collect();
        match form {
            Form::Node(op, inputs) => {
                let last = call.read.iter().rposition(|&read| read).unwrap_or(0);
                results.truncate(last + 1);
                self.builder.add_node(name, &label, op, inputs, &results)?;
            }
            Form::Nodes(nodes) => {
                for ((op, inputs), output) in nodes.into_iter().zip(&results) {
                    self.builder.add_node(
                        name,
                        &label,
                        op,
                        inputs,
                        std::slice::from_ref(output),
                    )?;
                }
            }
            Form::Aten => {
                let (op, inputs) = aten(&mut call, operator, overload).map_err(named)?;
                return self.builder.add_node(name, &label, op, inputs, &results);
            }
        }
        self.owned.computed(operator, &outputs);
        Ok(())
    }

    /// Checks that nobody sees what a node writes to its first argument but through its result.
    fn check_in_place(&self, node: &schema::Node) -> Result<(), Fault> {
        let Some(Argument::Tensor(Name { name })) = node.inputs.first().map(|input| &input.arg)
        else {
            return Err(Fault::NoArgument {
                argument: "self".to_owned(),
            });
        };
        if self.owned.has(name) && self.reads.get(name.as_str()) == Some(&1) {
            Ok(())
        } else {
            Err(Fault::InPlace {
                tensor: name.clone(),
            })
        }
    }

    fn outputs(&mut self, outputs: &[&Argument]) -> Result<Vec<ValueId>, Defect> {
        let mut values = Vec::with_capacity(outputs.len());
        for (place, output) in outputs.iter().enumerate() {
            let name = match output {
                Argument::Tensor(Name { name }) => name,
                Argument::None(_) => continue,
                _ => {
                    return Err(Defect::NotTensor {
                        place: format!("output {place}"),
                        seen: "a value of Python".to_owned(),
                    });
                }
            };
            let undefined = || Defect::UndefinedOutput {
                tensor: name.clone(),
            };
            let mut value = self.builder.resolve(name).flatten().ok_or_else(undefined)?;
            let is_computed = self.builder.is_computed(value);
            if !is_computed || values.contains(&value) {
                let copy = self
                    .builder
                    .add_step(name, "copy", Op::Identity, vec![Some(value)]);
                value = copy.map_err(|fault| fault.of(name, "copy"))?;
            }
            values.push(value);
        }
        if values.is_empty() {
            return Err(Defect::NoOutputs);
        }
        Ok(values)
    }
}
