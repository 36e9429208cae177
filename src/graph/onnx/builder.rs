//! The graph under construction: adds values and nodes in topological order and infers each as it comes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{DType, ShapeSpec};

use super::literal::read_integers;
use super::{rewrite, value_info};
use crate::graph::infer::{CONTENTS_MAX, Fact, Size, infer};
use crate::graph::{
    Container, Defect, Fault, Graph, Initializer, Node, NodeId, Op, Value, ValueId, ValueOrigin,
};

/// Invariant: `values` and `facts` are of one length, and no name occurs twice.
#[derive(Default)]
pub(super) struct Builder {
    values: Vec<Value>,
    facts: Vec<Fact>,
    nodes: Vec<Node>,
    names: HashMap<String, ValueId>,
    inputs: Vec<ValueId>,
    /// What the file says of tensors that nodes compute.
    declared: HashMap<String, Fact>,
    /// Names that the file uses, so that no made-up name meets one.
    reserved: HashSet<String>,
    /// Names of the model's outputs.
    outputs: HashSet<String>,
}

impl Builder {
    pub(super) fn new(
        declared: HashMap<String, Fact>,
        reserved: HashSet<String>,
        outputs: HashSet<String>,
    ) -> Self {
        Self {
            declared,
            reserved,
            outputs,
            ..Self::default()
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<ValueId> {
        self.names.get(name).copied()
    }

    pub(super) fn fact(&self, id: ValueId) -> &Fact {
        &self.facts[id.0 as usize]
    }

    pub(super) fn initializer(&self, id: ValueId) -> Option<&Arc<Initializer>> {
        match &self.values[id.0 as usize].origin {
            ValueOrigin::Initializer(initializer) => Some(initializer),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }

    pub(super) fn add_input(&mut self, name: &str, fact: Fact) -> Result<(), Defect> {
        let id = self.add(name, ValueOrigin::Input(self.inputs.len()), fact)?;
        self.inputs.push(id);
        Ok(())
    }

    pub(super) fn add_initializer(
        &mut self,
        name: &str,
        initializer: Arc<Initializer>,
    ) -> Result<ValueId, Defect> {
        let tensor = &initializer.tensor;
        let small = tensor
            .shape()
            .iter()
            .try_fold(1_usize, |count, &size| count.checked_mul(size));
        let contents = small
            .filter(|&count| count <= CONTENTS_MAX)
            .and_then(|_| read_integers(tensor));
        let fact = Fact::new(Some(tensor.dtype()), Some(ShapeSpec::fixed(tensor.shape())))
            .with_contents(
                contents.map(|elements| elements.into_iter().map(Size::Known).collect()),
            );
        self.add(name, ValueOrigin::Initializer(initializer), fact)
    }

    /// Adds a tensor that the file does not name: `{node}.{role}`, or with a number if that is taken.
    pub(super) fn add_literal(
        &mut self,
        node: &str,
        role: &str,
        initializer: Arc<Initializer>,
    ) -> Result<ValueId, Defect> {
        let name = self.fresh(node, role);
        self.add_initializer(&name, initializer)
    }

    /// Adds a node with one output that the file does not name.
    pub(super) fn add_step(
        &mut self,
        node: &str,
        role: &str,
        op: Op,
        inputs: Vec<Option<ValueId>>,
    ) -> Result<ValueId, Fault> {
        let name = self.fresh(node, role);
        let in_step = |defect: Defect| match defect {
            Defect::Node { fault, .. } => fault,
            other => Fault::Tensor {
                attribute: role.to_owned(),
                defect: Box::new(other),
            },
        };
        self.add_node(&name, "", op, inputs, &[Some(name.clone())])
            .map_err(in_step)?;
        self.find(&name).ok_or(Fault::NoInput { input: 0 })
    }

    /// Adds a node, or the tensor that it computes if that is known now. `operator` is for messages.
    pub(super) fn add_node(
        &mut self,
        name: &str,
        operator: &str,
        op: Op,
        mut inputs: Vec<Option<ValueId>>,
        outputs: &[Option<String>],
    ) -> Result<(), Defect> {
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let facts: Vec<_> = inputs
            .iter()
            .map(|input| input.map(|id| self.fact(id)))
            .collect();
        let mut inferred =
            infer(&op, &facts, outputs.len()).map_err(|fault| fault.of(name, operator))?;
        for (output, fact) in outputs.iter().zip(&mut inferred) {
            let Some(output) = output else { continue };
            if let Some(declared) = self.declared.get(output) {
                value_info::combine(fact, declared, output, self.outputs.contains(output))?;
            }
        }
        if let ([Some(output)], [fact]) = (outputs, inferred.as_slice())
            && !self.outputs.contains(output)
        {
            let source = inputs
                .first()
                .copied()
                .flatten()
                .and_then(|id| self.initializer(id));
            if let Some(known) = rewrite::known(&op, source, fact) {
                return self.add_initializer(output, known).map(|_| ());
            }
        }
        if let (Op::Reshape { allow_zero }, [Some(data), Some(shape)]) = (&op, inputs.as_slice())
            && self.initializer(*shape).is_none()
            && let Some(literal) =
                rewrite::reshape_target(self.fact(*data), self.fact(*shape), *allow_zero)
        {
            inputs[1] = Some(self.add_literal(name, "shape", literal)?);
        }
        let id =
            NodeId(u32::try_from(self.nodes.len()).expect("the reader bounds the number of nodes"));
        let mut ids = Vec::with_capacity(outputs.len());
        for (place, (output, fact)) in outputs.iter().zip(inferred).enumerate() {
            ids.push(match output {
                Some(output) => Some(self.add(output, ValueOrigin::Node(id, place), fact)?),
                None => None,
            });
        }
        self.nodes.push(Node {
            name: name.to_owned(),
            op,
            inputs,
            outputs: ids,
        });
        Ok(())
    }

    /// Returns the graph, without what none of its outputs needs.
    pub(super) fn finish(mut self, name: String, path: PathBuf, outputs: Vec<ValueId>) -> Graph {
        for (value, fact) in self.values.iter_mut().zip(self.facts) {
            value.dtype = fact.dtype;
            value.shape = fact.shape;
            value.container = fact.container;
        }
        let whole = Graph {
            name,
            path,
            nodes: self.nodes,
            values: self.values,
            inputs: self.inputs,
            outputs,
        };
        let needed = whole.ancestors(&whole.outputs, &HashSet::new());
        whole.extract(&whole.inputs, &whole.outputs, &needed.nodes)
    }

    fn add(&mut self, name: &str, origin: ValueOrigin, fact: Fact) -> Result<ValueId, Defect> {
        let id = ValueId(
            u32::try_from(self.values.len()).expect("the reader bounds the number of values"),
        );
        if self.names.insert(name.to_owned(), id).is_some() {
            return Err(Defect::DefinedTwice {
                tensor: name.to_owned(),
            });
        }
        self.values.push(Value {
            name: name.to_owned(),
            dtype: None,
            shape: None,
            container: Container::Tensor,
            origin,
        });
        self.facts.push(fact);
        Ok(id)
    }

    fn fresh(&self, node: &str, role: &str) -> String {
        let taken = |name: &String| self.reserved.contains(name) || self.names.contains_key(name);
        let plain = format!("{node}.{role}");
        if !taken(&plain) {
            return plain;
        }
        (2_u64..)
            .map(|number| format!("{plain}.{number}"))
            .find(|name| !taken(name))
            .unwrap_or(plain)
    }

    /// Returns the dtype of an input that has to be known for a parameter to be read.
    pub(super) fn dtype_for(
        &self,
        id: ValueId,
        input: usize,
        parameter: &'static str,
    ) -> Result<DType, Fault> {
        self.fact(id)
            .dtype
            .ok_or(Fault::UnknownDType { input, parameter })
    }
}
