//! The report, and the order in which it is made.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use crate::graph::hash::{Digest, Fingerprints, WeightDigests};
use crate::graph::{Graph, ValueId, ValueOrigin};

use super::prefix::prefixes;
use super::segments::segments;

/// What graphs have in common. Graphs are told by their places in the list that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharing {
    /// The largest first. Of two groups one of which holds the other, the smaller has the longer prefix.
    pub prefixes: Vec<SharedPrefix>,
    /// The largest first, beside what the prefix of the two graphs has.
    pub segments: Vec<SharedSegment>,
    /// Bytes of the weights of all graphs.
    pub weight_bytes: u64,
    /// Bytes that are left when equal tensors are kept once.
    pub distinct_bytes: u64,
}

/// Nodes that a group of graphs computes alike from the inputs on, with equal weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPrefix {
    pub nodes: usize,
    /// Bytes that keeping its weights once for the group saves.
    pub saved_bytes: u64,
    /// The prefix in each graph of the group, in the order of the graphs.
    pub places: Vec<Segment>,
}

/// A sub-network that two graphs hold with equal weights, whatever is before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSegment {
    pub nodes: usize,
    pub saved_bytes: u64,
    /// The sub-network in both graphs. Inputs and outputs are in an order that means the same in both.
    pub places: [Segment; 2],
}

/// Where a sub-network lies in a graph: between these tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub graph: usize,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

/// A graph with its digests.
pub(super) struct Subject<'a> {
    pub(super) graph: &'a Graph,
    pub(super) weights: WeightDigests,
    pub(super) prints: Fingerprints,
}

impl Subject<'_> {
    pub(super) fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.clone()
    }

    /// Returns digest and size of every weight that some nodes use.
    pub(super) fn weights_of(
        &self,
        nodes: impl IntoIterator<Item = usize>,
    ) -> HashMap<Digest, u64> {
        let nodes = nodes.into_iter().map(|node| &self.graph.nodes[node]);
        let inputs = nodes.flat_map(|node| node.inputs.iter().flatten().copied());
        inputs.filter_map(|id| self.weight(id)).collect()
    }

    fn weight(&self, id: ValueId) -> Option<(Digest, u64)> {
        match &self.graph.value(id).origin {
            ValueOrigin::Initializer(initializer) => {
                let bytes = initializer.tensor.bytes().len() as u64;
                Some((self.weights.get(id)?, bytes))
            }
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        }
    }
}

/// Finds what graphs have in common. `progress` is told of bytes of weights as they are read.
pub fn share(graphs: &[&Graph], progress: &mut dyn FnMut(u64)) -> Sharing {
    let mut subjects = Vec::with_capacity(graphs.len());
    for &graph in graphs {
        let weights = WeightDigests::of(graph, progress);
        let prints = Fingerprints::of_content(graph, &weights);
        subjects.push(Subject {
            graph,
            weights,
            prints,
        });
    }
    let mut all = HashMap::new();
    let mut weight_bytes = 0;
    for subject in &subjects {
        let own = subject.weights_of(0..subject.graph.nodes.len());
        weight_bytes += own.values().sum::<u64>();
        all.extend(own);
    }
    let mut shared_segments: Vec<_> = (0..subjects.len())
        .flat_map(|left| (left + 1..subjects.len()).map(move |right| (left, right)))
        .flat_map(|(left, right)| segments(&subjects, left, right))
        .collect();
    shared_segments.sort_by_key(|segment| Reverse((segment.saved_bytes, segment.nodes)));
    Sharing {
        prefixes: prefixes(&subjects),
        segments: shared_segments,
        weight_bytes,
        distinct_bytes: all.values().sum(),
    }
}

/// Returns the tensors between which some nodes of a graph lie: what they read of others, and what others read of them
/// or the model puts out.
pub(super) fn ends(graph: &Graph, nodes: &HashSet<usize>) -> (Vec<ValueId>, Vec<ValueId>) {
    let made = |id: ValueId| match graph.value(id).origin {
        ValueOrigin::Node(node, _) => Some(nodes.contains(&(node.0 as usize))),
        ValueOrigin::Input(_) => Some(false),
        ValueOrigin::Initializer(_) => None,
    };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let add = |list: &mut Vec<ValueId>, id: ValueId| {
        if !list.contains(&id) {
            list.push(id);
        }
    };
    for (place, node) in graph.nodes.iter().enumerate() {
        for &id in node.inputs.iter().flatten() {
            match (nodes.contains(&place), made(id)) {
                (true, Some(false)) => add(&mut inputs, id),
                (false, Some(true)) => add(&mut outputs, id),
                _ => {}
            }
        }
    }
    for &id in &graph.outputs {
        if made(id) == Some(true) {
            add(&mut outputs, id);
        }
    }
    (inputs, outputs)
}
