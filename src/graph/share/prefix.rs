//! What graphs compute alike from their inputs on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::graph::hash::Digest;

use super::report::{Segment, SharedPrefix, Subject, ends};

/// Returns the common prefix of every group of graphs that has one longer than a larger group.
///
/// A node with a digest that another graph has too reads values that the other has too, so the shared nodes of a graph
/// always begin at its inputs.
pub(super) fn prefixes(subjects: &[Subject<'_>]) -> Vec<SharedPrefix> {
    let mut holders: HashMap<Digest, BTreeSet<usize>> = HashMap::new();
    for (place, subject) in subjects.iter().enumerate() {
        for &digest in &subject.prints.nodes {
            holders.entry(digest).or_default().insert(place);
        }
    }
    let groups: BTreeSet<&BTreeSet<usize>> =
        holders.values().filter(|graphs| graphs.len() > 1).collect();
    let mut prefixes: Vec<_> = groups
        .into_iter()
        .map(|group| prefix(subjects, group, &holders))
        .collect();
    prefixes.sort_by_key(|prefix| Reverse((prefix.saved_bytes, prefix.nodes)));
    prefixes
}

fn prefix(
    subjects: &[Subject<'_>],
    group: &BTreeSet<usize>,
    holders: &HashMap<Digest, BTreeSet<usize>>,
) -> SharedPrefix {
    let is_shared = |digest: &Digest| holders[digest].is_superset(group);
    let shared = |graph: usize| -> HashSet<usize> {
        let nodes = subjects[graph].prints.nodes.iter().enumerate();
        nodes
            .filter(|(_, digest)| is_shared(digest))
            .map(|(node, _)| node)
            .collect()
    };
    let places = group.iter().map(|&graph| {
        let subject = &subjects[graph];
        let (inputs, outputs) = ends(subject.graph, &shared(graph));
        // By digest, so that the order means the same in every graph.
        let ordered: BTreeMap<_, _> = outputs
            .into_iter()
            .map(|id| (subject.prints.values[id.0 as usize], id))
            .collect();
        Segment {
            graph,
            inputs: inputs.into_iter().map(|id| subject.name(id)).collect(),
            outputs: ordered.into_values().map(|id| subject.name(id)).collect(),
        }
    });
    let places: Vec<_> = places.collect();
    let nodes = shared(places[0].graph);
    let bytes: u64 = subjects[places[0].graph]
        .weights_of(nodes.iter().copied())
        .values()
        .sum();
    SharedPrefix {
        nodes: nodes.len(),
        saved_bytes: bytes * (places.len() as u64 - 1),
        places,
    }
}
