//! Cuts a graph into consecutive segments.

use std::collections::HashSet;

use super::{Graph, GraphError, NodeId, ValueId, ValueOrigin};

impl Graph {
    /// Returns consecutive segments of the graph, one more than there are cuts.
    ///
    /// A segment computes what its cut tensor needs and no earlier segment has computed; the last one computes the
    /// rest. The outputs of each segment are exactly the inputs of the next, in the same order: the cut tensor first,
    /// then every other value that a later segment reads or the model puts out. So a value that is needed further
    /// down (a skip connection, an input of the model used late, an output computed early) passes through the
    /// segments between, as an input that is also an output, and any list of tensors in the order of the model is a
    /// valid list of cuts. The first segment has the inputs of the model, the last one its outputs.
    ///
    /// # Errors
    /// If a name is unknown, given twice, an input or a weight, if a cut is computed before the one listed ahead of
    /// it, or if nothing is left to compute after the last one.
    pub fn chain(&self, cuts: &[String]) -> Result<Vec<Self>, GraphError> {
        let ids = self.find_all(cuts)?;
        let stages = self.stages(&ids)?;
        let mut segments = Vec::with_capacity(stages.len());
        let mut inputs = self.inputs.clone();
        for (place, nodes) in stages.iter().enumerate() {
            let outputs = match ids.get(place) {
                Some(&cut) => self.live(cut, &inputs, nodes, &stages[place + 1..]),
                None => self.outputs.clone(),
            };
            let segment = self.extract(&inputs, &outputs, nodes);
            if cfg!(debug_assertions) {
                segment.verify()?;
            }
            segments.push(segment);
            inputs = outputs;
        }
        Ok(segments)
    }

    /// Returns the nodes of each segment.
    fn stages(&self, cuts: &[ValueId]) -> Result<Vec<Vec<NodeId>>, GraphError> {
        let none = HashSet::new();
        let name = |id: ValueId| self.value(id).name.clone();
        let mut done: HashSet<NodeId> = HashSet::new();
        let mut stages = Vec::with_capacity(cuts.len() + 1);
        for (place, &cut) in cuts.iter().enumerate() {
            let maker = match self.value(cut).origin {
                ValueOrigin::Node(maker, _) => maker,
                ValueOrigin::Input(_) => {
                    return Err(GraphError::CutAtInput {
                        path: self.path.clone(),
                        name: name(cut),
                    });
                }
                ValueOrigin::Initializer(_) => {
                    return Err(GraphError::CutAtInitializer {
                        path: self.path.clone(),
                        name: name(cut),
                    });
                }
            };
            if done.contains(&maker) {
                let before = name(cuts[place - 1]);
                return Err(GraphError::CutOrder {
                    path: self.path.clone(),
                    cut: name(cut),
                    before,
                });
            }
            stages.push(self.ancestors(&[cut], &none).nodes);
            self.keep_new(&mut stages, &mut done);
        }
        stages.push(self.ancestors(&self.outputs, &none).nodes);
        self.keep_new(&mut stages, &mut done);
        match cuts.last() {
            Some(&cut) if stages.last().is_some_and(Vec::is_empty) => {
                Err(GraphError::NothingAfterCut {
                    path: self.path.clone(),
                    cut: name(cut),
                })
            }
            _ => Ok(stages),
        }
    }

    fn keep_new(&self, stages: &mut [Vec<NodeId>], done: &mut HashSet<NodeId>) {
        if let Some(last) = stages.last_mut() {
            last.retain(|&node| done.insert(node));
        }
    }

    /// Returns what a segment hands on: its cut, then whatever it has or computes that is needed after it.
    fn live(
        &self,
        cut: ValueId,
        inputs: &[ValueId],
        nodes: &[NodeId],
        later: &[Vec<NodeId>],
    ) -> Vec<ValueId> {
        let read = later
            .iter()
            .flatten()
            .flat_map(|&node| self.node(node).inputs.iter().flatten());
        let needed: HashSet<ValueId> = read.chain(&self.outputs).copied().collect();
        let computed = nodes
            .iter()
            .flat_map(|&node| self.node(node).outputs.iter().flatten());
        let others = inputs
            .iter()
            .chain(computed)
            .filter(|&&id| id != cut && needed.contains(&id));
        [&cut].into_iter().chain(others).copied().collect()
    }
}
