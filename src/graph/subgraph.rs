//! Which nodes a value needs, and a graph of just those.

use std::collections::{HashMap, HashSet};

use super::{Graph, Node, NodeId, Value, ValueId, ValueOrigin};

/// What some values are computed by and from.
pub(super) struct Ancestors {
    /// In topological order.
    pub(super) nodes: Vec<NodeId>,
    /// Inputs of the graph, and values at which the walk was told to stop, with one of the values that need each.
    pub(super) sources: HashMap<ValueId, ValueId>,
}

impl Graph {
    /// Walks from `values` towards the inputs, not beyond those in `stop`.
    pub(super) fn ancestors(&self, values: &[ValueId], stop: &HashSet<ValueId>) -> Ancestors {
        let mut nodes = HashSet::new();
        let mut sources = HashMap::new();
        let mut seen: HashSet<ValueId> = HashSet::new();
        for &value in values {
            let mut open = vec![value];
            while let Some(id) = open.pop() {
                if !seen.insert(id) {
                    continue;
                }
                match self.value(id).origin {
                    ValueOrigin::Initializer(_) => {}
                    _ if stop.contains(&id) => {
                        sources.insert(id, value);
                    }
                    ValueOrigin::Input(_) => {
                        sources.insert(id, value);
                    }
                    ValueOrigin::Node(node, _) => {
                        if nodes.insert(node) {
                            open.extend(self.node(node).inputs.iter().flatten());
                        }
                    }
                }
            }
        }
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_unstable();
        Ancestors { nodes, sources }
    }

    /// Returns a graph of the given nodes, which are in topological order and need nothing but each other, weights and
    /// `inputs`. Weights come along as far as they are used, sharing memory.
    pub(super) fn extract(
        &self,
        inputs: &[ValueId],
        outputs: &[ValueId],
        nodes: &[NodeId],
    ) -> Self {
        let mut part = Part {
            whole: self,
            values: Vec::new(),
            ids: HashMap::new(),
        };
        let new_inputs = inputs
            .iter()
            .enumerate()
            .map(|(place, &id)| part.add(id, ValueOrigin::Input(place)))
            .collect();
        let mut new_nodes = Vec::with_capacity(nodes.len());
        for (&id, place) in nodes.iter().zip(0_u32..) {
            let node = self.node(id);
            let node_inputs = node
                .inputs
                .iter()
                .map(|input| input.map(|input| part.used(input)))
                .collect();
            let node_outputs = node.outputs.iter().enumerate().map(|(output, value)| {
                // A value that comes in from outside is not computed a second time.
                let value = (*value).filter(|value| !part.ids.contains_key(value))?;
                Some(part.add(value, ValueOrigin::Node(NodeId(place), output)))
            });
            let node_outputs = node_outputs.collect();
            let (name, op) = (node.name.clone(), node.op.clone());
            new_nodes.push(Node {
                name,
                op,
                inputs: node_inputs,
                outputs: node_outputs,
            });
        }
        let new_outputs = outputs.iter().map(|&output| part.used(output)).collect();
        Self {
            name: self.name.clone(),
            path: self.path.clone(),
            data_files: self.data_files.clone(),
            nodes: new_nodes,
            values: part.values,
            inputs: new_inputs,
            outputs: new_outputs,
        }
    }
}

/// A sub-graph under construction.
struct Part<'a> {
    whole: &'a Graph,
    values: Vec<Value>,
    /// From the ids of the whole to those of the part.
    ids: HashMap<ValueId, ValueId>,
}

impl Part<'_> {
    fn add(&mut self, id: ValueId, origin: ValueOrigin) -> ValueId {
        let number =
            u32::try_from(self.values.len()).expect("a part has no more values than the whole");
        self.values.push(Value {
            origin,
            ..self.whole.value(id).clone()
        });
        self.ids.insert(id, ValueId(number));
        ValueId(number)
    }

    /// Returns the new id of a value that is there already, or is a weight.
    fn used(&mut self, id: ValueId) -> ValueId {
        match self.ids.get(&id) {
            Some(&known) => known,
            None => self.add(id, self.whole.value(id).origin.clone()),
        }
    }
}
