//! The invariants of a graph.

use std::collections::HashSet;

use super::{Graph, GraphError, NodeId, Op, ValueId, ValueOrigin};

impl Graph {
    /// Checks the invariants that the module documentation of [`graph`](super) lists.
    pub fn verify(&self) -> Result<(), GraphError> {
        let broken = |invariant: String| {
            Err(GraphError::Invariant {
                path: self.path.clone(),
                invariant,
            })
        };
        let in_nodes = self
            .nodes
            .iter()
            .flat_map(|node| node.inputs.iter().chain(&node.outputs).flatten());
        let used = in_nodes.chain(&self.inputs).chain(&self.outputs);
        if let Some(outside) = used.copied().find(|id| id.0 as usize >= self.values.len()) {
            return broken(format!("value {} of {}", outside.0, self.values.len()));
        }
        let mut names = HashSet::new();
        if let Some(value) = self
            .values
            .iter()
            .find(|value| !names.insert(value.name.as_str()))
        {
            return broken(format!("two values are named {:?}", value.name));
        }
        for (value, id) in self.values.iter().zip((0..).map(ValueId)) {
            let is_there = match &value.origin {
                ValueOrigin::Input(place) => self.inputs.get(*place) == Some(&id),
                ValueOrigin::Initializer(_) => true,
                ValueOrigin::Node(node, place) => {
                    let node = self.nodes.get(node.0 as usize);
                    node.and_then(|node| node.outputs.get(*place)) == Some(&Some(id))
                }
            };
            if !is_there {
                return broken(format!(
                    "value {:?} is not where its origin says",
                    value.name
                ));
            }
        }
        for (place, &id) in self.inputs.iter().enumerate() {
            if !matches!(self.value(id).origin, ValueOrigin::Input(own) if own == place) {
                return broken(format!("input {place} is another value"));
            }
        }
        for (node, id) in self.nodes.iter().zip((0..).map(NodeId)) {
            for input in node.inputs.iter().flatten() {
                if matches!(self.value(*input).origin, ValueOrigin::Node(source, _) if source >= id)
                {
                    return broken(format!("node {:?} stands before what it reads", node.name));
                }
            }
            for (place, output) in node.outputs.iter().enumerate() {
                let Some(output) = output else { continue };
                if !matches!(self.value(*output).origin, ValueOrigin::Node(maker, own) if (maker, own) == (id, place))
                {
                    return broken(format!(
                        "output {place} of node {:?} is another value",
                        node.name
                    ));
                }
            }
            if let Op::Control(control) = &node.op {
                control
                    .bodies()
                    .into_iter()
                    .try_for_each(|body| body.verify())?;
            }
        }
        Ok(())
    }
}
