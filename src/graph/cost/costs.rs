//! Costs of nodes, and their sums.

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;
use std::sync::Arc;

use crate::graph::infer::Fact;
use crate::graph::{Graph, Node, Op, ValueId, ValueOrigin};
use crate::types::{Bindings, byte_count};

use super::bodies;
use super::flops::work;
use super::shapes::Shapes;
use super::sizes::sized;

/// What some nodes and weights take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    pub nodes: usize,
    pub flops: u64,
    /// Nodes of which the operations are not known, and are not in `flops`.
    pub uncounted: usize,
    /// Elements of weights that are trained; see [`Initializer::is_setting`](crate::graph::Initializer::is_setting).
    pub parameters: u64,
    /// Bytes of all tensors that the model carries.
    pub weight_bytes: u64,
}

/// Costs of one graph, for given sizes of its symbols.
#[derive(Debug)]
pub struct Costs {
    /// Of each node, without weights.
    pub nodes: Vec<Cost>,
    /// Operators with nodes whose operations are not known, and how many: there is no rule, or a size is open.
    pub uncounted: BTreeMap<&'static str, usize>,
    weights: Vec<Cost>,
    bytes: Vec<Option<u64>>,
}

impl AddAssign<&Self> for Cost {
    fn add_assign(&mut self, other: &Self) {
        self.nodes += other.nodes;
        self.flops = self.flops.saturating_add(other.flops);
        self.uncounted += other.uncounted;
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.weight_bytes = self.weight_bytes.saturating_add(other.weight_bytes);
    }
}

impl Cost {
    /// Returns what is left when a part is taken away.
    pub(in crate::graph) fn without(&self, part: &Self) -> Self {
        Self {
            nodes: self.nodes.saturating_sub(part.nodes),
            flops: self.flops.saturating_sub(part.flops),
            uncounted: self.uncounted.saturating_sub(part.uncounted),
            parameters: self.parameters.saturating_sub(part.parameters),
            weight_bytes: self.weight_bytes.saturating_sub(part.weight_bytes),
        }
    }
}

impl Graph {
    /// Returns what the graph takes when the symbols of its inputs have the given sizes; one without a size is 1.
    pub fn costs(&self, sizes: &Bindings) -> Costs {
        let facts = sized(self, sizes);
        let mut uncounted = BTreeMap::new();
        let work = nodes_work(self, &facts, sizes);
        let nodes = self.nodes.iter().zip(work).map(|(node, flops)| {
            if flops.is_none() {
                *uncounted.entry(node.op.name()).or_default() += 1;
            }
            Cost {
                nodes: 1,
                flops: flops.unwrap_or(0),
                uncounted: usize::from(flops.is_none()),
                ..Cost::default()
            }
        });
        let nodes = nodes.collect();
        let weights = self.values.iter().map(|value| match &value.origin {
            ValueOrigin::Initializer(initializer) => {
                let elements: usize = initializer.tensor.shape().iter().product();
                Cost {
                    parameters: if initializer.is_setting() {
                        0
                    } else {
                        elements as u64
                    },
                    weight_bytes: initializer.tensor.bytes().len() as u64,
                    ..Cost::default()
                }
            }
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => Cost::default(),
        });
        let bytes = facts.iter().map(|fact| {
            let bytes = byte_count(fact.dtype?, &fact.shape.as_ref()?.concrete()?).ok()?;
            Some(bytes as u64)
        });
        Costs {
            nodes,
            uncounted,
            weights: weights.collect(),
            bytes: bytes.collect(),
        }
    }
}

impl Costs {
    /// Returns the sum over a graph, of which these are the costs. A tensor that several values share counts once.
    pub fn total(&self, graph: &Graph) -> Cost {
        let mut total = Cost::default();
        self.nodes.iter().for_each(|cost| total += cost);
        let mut met = HashSet::new();
        for (value, cost) in graph.values.iter().zip(&self.weights) {
            if let ValueOrigin::Initializer(initializer) = &value.origin
                && met.insert(Arc::as_ptr(initializer))
            {
                total += cost;
            }
        }
        total
    }

    /// Returns the bytes of a value, if its size is known.
    pub fn bytes(&self, id: ValueId) -> Option<u64> {
        self.bytes[id.0 as usize]
    }

    /// Returns what a weight takes; nothing for another value.
    pub(in crate::graph) fn weight(&self, id: ValueId) -> Cost {
        self.weights[id.0 as usize]
    }
}

/// Returns the operations of each node of a graph, of whose values `facts` are known.
pub(super) fn nodes_work(graph: &Graph, facts: &[Fact], sizes: &Bindings) -> Vec<Option<u64>> {
    let nodes = graph.nodes.iter();
    nodes.map(|node| node_work(node, facts, sizes)).collect()
}

/// Returns the sum; `None` if one of them is not known.
pub(super) fn total_flops(work: &[Option<u64>]) -> Option<u64> {
    let mut flops = work.iter().copied();
    flops.try_fold(0_u64, |total, flops| Some(total.saturating_add(flops?)))
}

fn node_work(node: &Node, facts: &[Fact], sizes: &Bindings) -> Option<u64> {
    let fact = |id: &Option<ValueId>| Some(&facts[(*id)?.0 as usize]);
    if let Op::Control(control) = &node.op {
        let inputs: Vec<_> = node.inputs.iter().map(fact).collect();
        return bodies::work(control, &inputs, sizes);
    }
    let shapes = |ids: &[Option<ValueId>]| -> Vec<_> {
        let shape = |id: &Option<ValueId>| fact(id)?.shape.as_ref()?.concrete();
        ids.iter().map(shape).collect()
    };
    let (inputs, outputs) = (shapes(&node.inputs), shapes(&node.outputs));
    let shapes = Shapes {
        inputs: &inputs,
        outputs: &outputs,
    };
    work(&node.op, &shapes)
}
