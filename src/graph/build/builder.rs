//! The graph under construction: adds values and nodes in topological order and infers each as it comes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::types::{DType, ShapeSpec};

use super::combine::combine;
use super::frame::Frame;
use super::literal::read_integers;
use super::rewrite;
use crate::graph::infer::{CONTENTS_MAX, Fact, Size, infer};
use crate::graph::{
    Container, Defect, Fault, Graph, Initializer, Node, NodeId, Op, Value, ValueId, ValueOrigin,
};

/// Invariants: `values` and `facts` are of one length, no two values have one name, and there is a frame.
#[derive(Default)]
pub(in crate::graph) struct Builder {
    values: Vec<Value>,
    facts: Vec<Fact>,
    nodes: Vec<Node>,
    taken: HashSet<String>,
    frames: Vec<Frame>,
    inputs: Vec<ValueId>,
    /// Names that the file uses, so that no made-up name meets one.
    reserved: Arc<HashSet<String>>,
    /// Names of the model's outputs.
    outputs: HashSet<String>,
    /// What the graph around this one is built with, if there is one.
    outer: Option<Box<Self>>,
    /// Whether the sizes of values from around this graph are not believed.
    doubts_sizes: bool,
    /// The values around this graph that its last inputs stand for.
    captured: Vec<ValueId>,
}

impl Builder {
    pub(in crate::graph) fn new(
        declared: HashMap<String, Fact>,
        reserved: Arc<HashSet<String>>,
        outputs: HashSet<String>,
    ) -> Self {
        Self {
            frames: vec![Frame::lowest(declared)],
            reserved,
            outputs,
            ..Self::default()
        }
    }

    /// Starts a graph inside of the one that `outer` builds.
    pub(in crate::graph) fn body(
        outer: Self,
        declared: HashMap<String, Fact>,
        doubts_sizes: bool,
    ) -> Self {
        Self {
            frames: vec![Frame::lowest(declared)],
            reserved: outer.reserved.clone(),
            outer: Some(Box::new(outer)),
            doubts_sizes,
            ..Self::default()
        }
    }

    pub(in crate::graph) fn doubts_sizes(&self) -> bool {
        self.doubts_sizes
    }

    /// Parts from the graph around this one.
    pub(in crate::graph) fn leave(mut self) -> (Self, Self) {
        (
            self.outer.take().map(|outer| *outer).unwrap_or_default(),
            self,
        )
    }

    /// Starts to read nodes in place of another one.
    pub(in crate::graph) fn open(&mut self, frame: Frame) {
        self.frames.push(frame);
    }

    /// Ends what [`Builder::open`] started.
    pub(in crate::graph) fn close(&mut self) {
        self.frames.pop();
    }

    /// Returns the name for a node in messages, which is that of the file but inside of a function or branch.
    pub(in crate::graph) fn within_frame(&self, node: &str) -> String {
        match self.frames.last() {
            Some(frame) if !frame.node.is_empty() => format!("{}.{node}", frame.node),
            _ => node.to_owned(),
        }
    }

    /// Tells whether a name is defined right here.
    pub(in crate::graph) fn is_defined(&self, name: &str) -> bool {
        self.frames
            .last()
            .is_some_and(|frame| frame.names.contains_key(name))
    }

    /// Returns the value that a name stands for: `None` if nothing defines it, `Some(None)` if it is an argument that the
    /// caller of a function left out. A value from around the graph becomes an input of it, or a weight.
    pub(in crate::graph) fn resolve(&mut self, name: &str) -> Option<Option<ValueId>> {
        for frame in self.frames.iter().rev() {
            if let Some(&known) = frame.names.get(name) {
                return Some(known);
            }
            if !frame.sees_outside {
                return None;
            }
        }
        let outer = self.outer.as_mut()?;
        let source = outer.resolve(name)?;
        let value = source.map(|source| self.capture(name, source));
        self.frames
            .first_mut()?
            .names
            .insert(name.to_owned(), value);
        Some(value)
    }

    fn capture(&mut self, name: &str, source: ValueId) -> ValueId {
        let outer = self
            .outer
            .as_ref()
            .expect("there is where the value is from");
        let weight = outer.initializer(source).cloned();
        let fact = match outer.fact(source) {
            fact if self.doubts_sizes && weight.is_none() => fact.without_sizes(),
            fact => fact.clone(),
        };
        let name = if self.taken.contains(name) {
            self.fresh(name, "outer")
        } else {
            name.to_owned()
        };
        if let Some(weight) = weight {
            return self.push(name, ValueOrigin::Initializer(weight), fact);
        }
        let id = self.push(name, ValueOrigin::Input(self.inputs.len()), fact);
        self.inputs.push(id);
        self.captured.push(source);
        id
    }

    pub(in crate::graph) fn fact(&self, id: ValueId) -> &Fact {
        &self.facts[id.0 as usize]
    }

    pub(in crate::graph) fn initializer(&self, id: ValueId) -> Option<&Arc<Initializer>> {
        match &self.values[id.0 as usize].origin {
            ValueOrigin::Initializer(initializer) => Some(initializer),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }

    /// Tells whether a node computes the value.
    pub(in crate::graph) fn is_computed(&self, id: ValueId) -> bool {
        matches!(self.values[id.0 as usize].origin, ValueOrigin::Node(..))
    }

    pub(in crate::graph) fn add_input(&mut self, name: &str, fact: Fact) -> Result<(), Defect> {
        let id = self.add(name, ValueOrigin::Input(self.inputs.len()), fact)?;
        self.inputs.push(id);
        Ok(())
    }

    pub(in crate::graph) fn add_initializer(
        &mut self,
        name: &str,
        initializer: Arc<Initializer>,
    ) -> Result<ValueId, Defect> {
        let fact = fact_of(&initializer);
        self.add(name, ValueOrigin::Initializer(initializer), fact)
    }

    /// Adds a tensor that the file does not name: `{node}.{role}`, or with a number if that is taken.
    pub(in crate::graph) fn add_literal(
        &mut self,
        node: &str,
        role: &str,
        initializer: Arc<Initializer>,
    ) -> Result<ValueId, Defect> {
        let name = self.fresh(node, role);
        self.add_initializer(&name, initializer)
    }

    /// Adds a node with one output that the file does not name.
    pub(in crate::graph) fn add_step(
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
        let value = self.resolve(&name).flatten();
        value.ok_or(Fault::NoInput { input: 0 })
    }

    /// Adds a node, or the tensor that it computes if that is known now. `operator` is for messages.
    pub(in crate::graph) fn add_node(
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
            for (frame, name) in self.names_of(output) {
                if let Some(declared) = frame.declared.get(name) {
                    combine(fact, declared, name, self.is_output(output))?;
                }
            }
        }
        if let ([Some(output)], [fact]) = (outputs, inferred.as_slice())
            && !self.is_output(output)
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
    pub(in crate::graph) fn finish(
        self,
        name: String,
        path: PathBuf,
        outputs: Vec<ValueId>,
    ) -> Graph {
        let whole = self.whole(name, path, outputs);
        let needed = whole.ancestors(&whole.outputs, &HashSet::new());
        whole.extract(&whole.inputs, &whole.outputs, &needed.nodes)
    }

    /// As [`Builder::finish`], and also without inputs from around it that none of its outputs needs. Returns those that
    /// one does.
    pub(in crate::graph) fn finish_body(
        mut self,
        name: String,
        path: PathBuf,
        outputs: &[ValueId],
    ) -> (Graph, Vec<ValueId>) {
        let captured = std::mem::take(&mut self.captured);
        let whole = self.whole(name, path, outputs.to_vec());
        let needed = whole.ancestors(&whole.outputs, &HashSet::new());
        let (own, others) = whole.inputs.split_at(whole.inputs.len() - captured.len());
        let kept = others.iter().zip(captured);
        let kept = kept.filter(|(input, _)| needed.sources.contains_key(input));
        let (others, captured): (Vec<_>, Vec<_>) = kept.unzip();
        let inputs = [own, others.as_slice()].concat();
        let body = whole.extract(&inputs, &whole.outputs, &needed.nodes);
        (body, captured)
    }

    fn whole(mut self, name: String, path: PathBuf, outputs: Vec<ValueId>) -> Graph {
        for (value, fact) in self.values.iter_mut().zip(self.facts) {
            value.dtype = fact.dtype;
            value.shape = fact.shape;
            value.container = fact.container;
        }
        Graph {
            name,
            path,
            data_files: Arc::default(),
            nodes: self.nodes,
            values: self.values,
            inputs: self.inputs,
            outputs,
        }
    }

    /// Returns the names of an output of a node that is being read: its own, and those below where it is also an output
    /// of a node that was replaced.
    fn names_of<'a>(&'a self, output: &'a str) -> Vec<(&'a Frame, &'a str)> {
        let mut names = Vec::with_capacity(1);
        let mut name = output;
        for frame in self.frames.iter().rev() {
            names.push((frame, name));
            match frame.outputs.get(name) {
                Some(below) => name = below,
                None => break,
            }
        }
        names
    }

    /// Tells whether the output of a node is one of the model.
    fn is_output(&self, output: &str) -> bool {
        let names = self.names_of(output);
        names.len() == self.frames.len()
            && names
                .last()
                .is_some_and(|(_, name)| self.outputs.contains(*name))
    }

    fn add(&mut self, name: &str, origin: ValueOrigin, fact: Fact) -> Result<ValueId, Defect> {
        let names = self.names_of(name).into_iter();
        let names: Vec<_> = names.map(|(_, name)| name.to_owned()).collect();
        let lowest = names.last().map_or(name, String::as_str);
        let frame = &self.frames[self.frames.len() - names.len()];
        let own = if !frame.node.is_empty() && self.reserved.contains(lowest) {
            self.fresh(&frame.node, lowest)
        } else {
            lowest.to_owned()
        };
        let known = |(frame, name): (&Frame, &String)| frame.names.contains_key(name);
        if self.taken.contains(&own) || self.frames.iter().rev().zip(&names).any(known) {
            return Err(Defect::DefinedTwice { tensor: own });
        }
        let id = self.push(own, origin, fact);
        for (frame, name) in self.frames.iter_mut().rev().zip(names) {
            frame.names.insert(name, Some(id));
        }
        Ok(id)
    }

    /// Adds a value, the name of which is not taken.
    fn push(&mut self, name: String, origin: ValueOrigin, fact: Fact) -> ValueId {
        let id = ValueId(
            u32::try_from(self.values.len()).expect("the reader bounds the number of values"),
        );
        self.taken.insert(name.clone());
        self.values.push(Value {
            name,
            dtype: None,
            shape: None,
            container: Container::Tensor,
            origin,
        });
        self.facts.push(fact);
        id
    }

    fn fresh(&self, node: &str, role: &str) -> String {
        let taken = |name: &String| self.reserved.contains(name) || self.taken.contains(name);
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
    pub(in crate::graph) fn dtype_for(
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

fn fact_of(initializer: &Initializer) -> Fact {
    let tensor = &initializer.tensor;
    let small = tensor
        .shape()
        .iter()
        .try_fold(1_usize, |count, &size| count.checked_mul(size));
    let contents = small
        .filter(|&count| count <= CONTENTS_MAX)
        .and_then(|_| read_integers(tensor));
    Fact::new(Some(tensor.dtype()), Some(ShapeSpec::fixed(tensor.shape())))
        .with_contents(contents.map(|elements| elements.into_iter().map(Size::Known).collect()))
}
