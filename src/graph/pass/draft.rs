//! A graph being rewritten: a copy in which values can be given to other nodes, with counts of who reads what.

use std::collections::HashSet;
use std::sync::Arc;

use crate::graph::{Container, Graph, Initializer, Node, NodeId, Op, Value, ValueId, ValueOrigin};
use crate::types::{DType, Dim, ShapeSpec, Tensor};

/// Invariant: `uses` counts the reads of each value by nodes that some output needs, and by the outputs of the graph.
///
/// A rewriting gives the value that its pattern ends in to a new node in the place of the old one. All that the new node
/// reads stands before, because the pattern read it, so nodes stay in topological order.
pub(super) struct Draft {
    graph: Graph,
    uses: Vec<usize>,
    /// Nodes that read each value, perhaps among others.
    readers: Vec<Vec<NodeId>>,
    is_output: Vec<bool>,
    names: HashSet<String>,
    /// Nodes put before others, which come last in `graph.nodes`: what each stands before.
    inserted: Vec<NodeId>,
    originals: usize,
}

impl Draft {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut is_output = vec![false; graph.values.len()];
        for id in &graph.outputs {
            is_output[id.0 as usize] = true;
        }
        let mut readers = vec![Vec::new(); graph.values.len()];
        for (place, node) in graph.nodes.iter().enumerate() {
            for input in node.inputs.iter().flatten() {
                readers[input.0 as usize].push(node_id(place));
            }
        }
        let mut draft = Self {
            uses: vec![0; graph.values.len()],
            readers,
            is_output,
            names: graph
                .values
                .iter()
                .map(|value| value.name.clone())
                .collect(),
            inserted: Vec::new(),
            originals: graph.nodes.len(),
            graph: graph.clone(),
        };
        for id in graph.outputs.clone() {
            draft.acquire(id);
        }
        draft
    }

    /// Returns the ids of the nodes that the graph had, in order.
    pub(super) fn originals(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.originals).filter_map(|place| u32::try_from(place).ok().map(NodeId))
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.graph.node(id)
    }

    pub(super) fn value(&self, id: ValueId) -> &Value {
        self.graph.value(id)
    }

    pub(super) fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.value(id)
            .shape
            .as_ref()
            .map(|shape| shape.0.as_slice())
    }

    pub(super) fn rank(&self, id: ValueId) -> Option<usize> {
        self.shape(id).map(<[_]>::len)
    }

    pub(super) fn uses(&self, id: ValueId) -> usize {
        self.uses[id.0 as usize]
    }

    /// Tells whether some output still needs the node.
    pub(super) fn is_needed(&self, id: NodeId) -> bool {
        let outputs = self.node(id).outputs.iter().flatten();
        outputs.into_iter().any(|&output| self.uses(output) > 0)
    }

    pub(super) fn is_output(&self, id: ValueId) -> bool {
        self.is_output[id.0 as usize]
    }

    /// Returns the node that computes a value, if it is a node.
    pub(super) fn maker(&self, id: ValueId) -> Option<&Node> {
        self.maker_id(id).map(|id| self.node(id))
    }

    pub(super) fn maker_id(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).origin {
            ValueOrigin::Node(node, 0) => Some(node),
            _ => None,
        }
    }

    /// Returns the node that computes a value which one node reads, once, and nothing else sees.
    pub(super) fn sole_maker(&self, id: ValueId) -> Option<&Node> {
        self.maker(id)
            .filter(|_| self.uses(id) == 1 && !self.is_output(id))
    }

    pub(super) fn initializer(&self, id: ValueId) -> Option<&Arc<Initializer>> {
        match &self.value(id).origin {
            ValueOrigin::Initializer(initializer) => Some(initializer),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }

    pub(super) fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.initializer(id).map(|initializer| &initializer.tensor)
    }

    /// Adds a tensor, named after another value.
    pub(super) fn add_constant(&mut self, near: ValueId, role: &str, tensor: Tensor) -> ValueId {
        let (dtype, shape) = (tensor.dtype(), ShapeSpec::fixed(tensor.shape()));
        let origin = ValueOrigin::Initializer(Arc::new(Initializer { tensor }));
        self.add_value(near, role, Some(dtype), Some(shape), origin)
    }

    /// Adds a node with one output before another node.
    pub(super) fn insert(
        &mut self,
        before: NodeId,
        role: &str,
        op: Op,
        input: ValueId,
        shape: Option<ShapeSpec>,
    ) -> ValueId {
        let id = node_id(self.graph.nodes.len());
        let dtype = self.value(input).dtype;
        let output = self.add_value(input, role, dtype, shape, ValueOrigin::Node(id, 0));
        self.graph.nodes.push(Node {
            name: self.value(output).name.clone(),
            op,
            inputs: vec![Some(input)],
            outputs: vec![Some(output)],
        });
        self.inserted.push(before);
        self.readers[input.0 as usize].push(id);
        output
    }

    fn add_value(
        &mut self,
        near: ValueId,
        role: &str,
        dtype: Option<DType>,
        shape: Option<ShapeSpec>,
        origin: ValueOrigin,
    ) -> ValueId {
        let base = format!("{}.{role}", self.value(near).name);
        let mut name = base.clone();
        let mut count = 1_u32;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}#{count}");
        }
        let id = value_id(self.graph.values.len());
        self.graph.values.push(Value {
            name,
            dtype,
            shape,
            container: Container::Tensor,
            origin,
        });
        self.uses.push(0);
        self.readers.push(Vec::new());
        self.is_output.push(false);
        id
    }

    /// Makes another operator compute the first output of a node, in its place.
    pub(super) fn replace(
        &mut self,
        node: NodeId,
        name: String,
        op: Op,
        mut inputs: Vec<Option<ValueId>>,
    ) {
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
        let needed = self.is_needed(node);
        for input in inputs.iter().flatten() {
            self.readers[input.0 as usize].push(node);
        }
        if needed {
            for &input in inputs.iter().flatten() {
                self.acquire(input);
            }
        }
        let place = node.0 as usize;
        let old = std::mem::replace(&mut self.graph.nodes[place].inputs, inputs);
        self.graph.nodes[place].op = op;
        self.graph.nodes[place].name = name;
        self.graph.nodes[place].outputs.truncate(1);
        if needed {
            for input in old.into_iter().flatten() {
                self.release(input);
            }
        }
    }

    /// Makes a value a weight.
    pub(super) fn fix(&mut self, id: ValueId, tensor: Tensor) {
        let initializer = Arc::new(Initializer { tensor });
        self.set_initializer(id, initializer);
    }

    fn set_initializer(&mut self, id: ValueId, initializer: Arc<Initializer>) {
        let tensor = &initializer.tensor;
        let (dtype, shape) = (tensor.dtype(), ShapeSpec::fixed(tensor.shape()));
        let origin = ValueOrigin::Initializer(initializer);
        let value = &mut self.graph.values[id.0 as usize];
        value.dtype = Some(dtype);
        value.shape = Some(shape);
        let ValueOrigin::Node(node, place) = std::mem::replace(&mut value.origin, origin) else {
            return;
        };
        let needed = self.is_needed(node);
        self.graph.nodes[node.0 as usize].outputs[place] = None;
        if needed && !self.is_needed(node) {
            self.release_inputs(node);
        }
    }

    /// Makes everybody who reads `id` read `other`, which is equal to it. Returns whether that could be done: an output
    /// of the graph keeps its name, so it takes the place of `other`, if that is neither an input nor an output.
    pub(super) fn forward(&mut self, id: ValueId, other: ValueId) -> bool {
        if !self.is_output(id) {
            self.redirect(id, other);
            return true;
        }
        match self.value(other).origin.clone() {
            ValueOrigin::Initializer(initializer) => {
                self.set_initializer(id, initializer);
                true
            }
            ValueOrigin::Node(node, place) if !self.is_output(other) => {
                let ValueOrigin::Node(own, own_place) = self.value(id).origin else {
                    return false;
                };
                // The two values swap their makers; then nobody needs the one that `id` had.
                self.graph.values[id.0 as usize].origin = ValueOrigin::Node(node, place);
                self.graph.values[other.0 as usize].origin = ValueOrigin::Node(own, own_place);
                self.graph.nodes[node.0 as usize].outputs[place] = Some(id);
                self.graph.nodes[own.0 as usize].outputs[own_place] = Some(other);
                self.redirect(other, id);
                true
            }
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => false,
        }
    }

    /// Makes nodes that read `from` read `to`.
    fn redirect(&mut self, from: ValueId, to: ValueId) {
        let uses = std::mem::take(&mut self.uses[from.0 as usize]);
        let readers = std::mem::take(&mut self.readers[from.0 as usize]);
        for node in &readers {
            let inputs = self.graph.nodes[node.0 as usize].inputs.iter_mut();
            for input in inputs.flatten().filter(|input| **input == from) {
                *input = to;
            }
        }
        self.readers[to.0 as usize].extend(readers);
        if uses > 0 {
            if self.uses(to) == 0 {
                self.acquire(to);
                self.uses[to.0 as usize] -= 1;
            }
            self.uses[to.0 as usize] += uses;
            if let ValueOrigin::Node(node, _) = self.value(from).origin
                && !self.is_needed(node)
            {
                self.release_inputs(node);
            }
        }
    }

    fn acquire(&mut self, id: ValueId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let node = match self.value(id).origin {
                ValueOrigin::Node(node, _) if !self.is_needed(node) => Some(node),
                _ => None,
            };
            self.uses[id.0 as usize] += 1;
            if let Some(node) = node {
                open.extend(self.node(node).inputs.iter().flatten());
            }
        }
    }

    fn release(&mut self, id: ValueId) {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            self.uses[id.0 as usize] -= 1;
            if let ValueOrigin::Node(node, _) = self.value(id).origin
                && !self.is_needed(node)
            {
                open.extend(self.node(node).inputs.iter().flatten());
            }
        }
    }

    fn release_inputs(&mut self, node: NodeId) {
        let inputs: Vec<_> = self.node(node).inputs.iter().flatten().copied().collect();
        for input in inputs {
            self.release(input);
        }
    }

    /// Returns the graph of what the outputs need.
    pub(super) fn finish(self) -> Graph {
        let mut nodes = self
            .graph
            .ancestors(&self.graph.outputs, &HashSet::new())
            .nodes;
        // An inserted node stands before the one that it was made for, and after those inserted there earlier.
        nodes.sort_by_key(|id| match (id.0 as usize).checked_sub(self.originals) {
            Some(place) => (self.inserted[place].0, place),
            None => (id.0, usize::MAX),
        });
        self.graph
            .extract(&self.graph.inputs, &self.graph.outputs, &nodes)
    }
}

fn node_id(place: usize) -> NodeId {
    NodeId(u32::try_from(place).expect("a pass adds few nodes to a graph of bounded size"))
}

fn value_id(place: usize) -> ValueId {
    ValueId(u32::try_from(place).expect("a pass adds few values to a graph of bounded size"))
}
