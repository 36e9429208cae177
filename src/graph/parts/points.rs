//! The points at which one tensor alone carries everything that follows.

use std::collections::HashMap;

use crate::graph::cost::{Cost, Costs};
use crate::graph::{Graph, ValueId, ValueOrigin};

use super::is_computed;

/// A tensor that cuts a graph in two, so that nothing else crosses.
#[derive(Debug, Clone, PartialEq)]
pub struct CutPoint {
    pub value: ValueId,
    /// What is computed up to the cut, and what after it. Weights that both sides use count on both.
    pub before: Cost,
    pub after: Cost,
}

impl Graph {
    /// Returns every tensor that cuts the graph in two by itself, in the order of the model.
    ///
    /// Everything but weights that is needed after such a point comes from it, so any of them in this order make a
    /// chain. Takes time proportional to the size of the graph: nodes stand in topological order, and whatever that
    /// order, a tensor through which all ways lead has all other nodes either before or after it.
    pub fn cut_points(&self, costs: &Costs) -> Vec<CutPoint> {
        let computed = is_computed(self);
        let last_use = self.last_uses();
        let is_live = |id: ValueId, place: usize| {
            computed[id.0 as usize] && last_use[id.0 as usize].is_some_and(|last| last > place)
        };
        let mut ending = vec![0_usize; self.nodes.len()];
        for (last, computed) in last_use.iter().zip(&computed) {
            if let (Some(last), true) = (*last, *computed)
                && last < self.nodes.len()
            {
                ending[last] += 1;
            }
        }
        let used = |id: &&ValueId| last_use[id.0 as usize].is_some();
        let mut live = self.inputs.iter().filter(used).count();
        let mut sums = Sums::of(self, costs, &last_use);
        let mut points = Vec::new();
        for (place, node) in self.nodes.iter().enumerate() {
            sums.pass(place);
            let made = node.outputs.iter().flatten().copied();
            let made: Vec<_> = made.filter(|&id| computed[id.0 as usize]).collect();
            live += made.iter().filter(|id| used(id)).count();
            live -= ending[place];
            let crossing = made.iter().copied().find(|&id| is_live(id, place));
            let Some(value) = crossing.filter(|_| live == 1) else {
                continue;
            };
            if last_use[value.0 as usize] == Some(self.nodes.len())
                && !self.reads_after(value, place)
            {
                continue;
            }
            points.push(CutPoint {
                value,
                before: sums.before,
                after: sums.after(),
            });
        }
        points
    }

    /// Returns of each value the place of the last node that reads it, or one past the last node for an output.
    pub(in crate::graph) fn last_uses(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.values.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            for id in node.inputs.iter().flatten() {
                last[id.0 as usize] = Some(place);
            }
        }
        for id in &self.outputs {
            last[id.0 as usize] = Some(self.nodes.len());
        }
        last
    }

    /// Tells of an output of the graph whether nodes after a place read it too.
    fn reads_after(&self, value: ValueId, place: usize) -> bool {
        let mut later = self.nodes[place + 1..].iter();
        later.any(|node| node.inputs.contains(&Some(value)))
    }
}

/// Costs up to a place that moves through the graph, and what is left of the whole.
struct Sums<'a> {
    costs: &'a Costs,
    before: Cost,
    /// Work of the nodes passed, without their weights.
    work: Cost,
    /// Of weights that no later node uses.
    finished: Cost,
    total: Cost,
    /// Values that are weights, by the node that uses them first and last.
    first: HashMap<usize, Vec<ValueId>>,
    last: HashMap<usize, Vec<ValueId>>,
}

impl<'a> Sums<'a> {
    fn of(graph: &Graph, costs: &'a Costs, last_use: &[Option<usize>]) -> Self {
        let mut first: HashMap<usize, Vec<ValueId>> = HashMap::new();
        let mut last: HashMap<usize, Vec<ValueId>> = HashMap::new();
        let mut met = vec![false; graph.values.len()];
        for (place, node) in graph.nodes.iter().enumerate() {
            for &id in node.inputs.iter().flatten() {
                let is_weight = matches!(graph.value(id).origin, ValueOrigin::Initializer(_));
                if is_weight && !std::mem::replace(&mut met[id.0 as usize], true) {
                    first.entry(place).or_default().push(id);
                    if let Some(end) = last_use[id.0 as usize] {
                        last.entry(end).or_default().push(id);
                    }
                }
            }
        }
        Self {
            costs,
            before: Cost::default(),
            work: Cost::default(),
            finished: Cost::default(),
            total: costs.total(graph),
            first,
            last,
        }
    }

    fn pass(&mut self, place: usize) {
        let work = &self.costs.nodes[place];
        self.before += work;
        self.work += work;
        for &id in self.first.get(&place).into_iter().flatten() {
            self.before += &self.costs.weight(id);
        }
        for &id in self.last.get(&place).into_iter().flatten() {
            self.finished += &self.costs.weight(id);
        }
    }

    fn after(&self) -> Cost {
        self.total.without(&self.work).without(&self.finished)
    }
}
