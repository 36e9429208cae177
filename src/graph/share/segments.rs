//! Sub-networks with equal weights in two graphs, beside their common prefix.

use std::collections::{BTreeMap, HashSet};

use crate::graph::ValueId;
use crate::graph::hash::Digest;

use super::convex::levels;
use super::growth::{Growth, Pairs, Side, Source};
use super::report::{Segment, SharedSegment, Subject};

/// Returns the sub-networks that two graphs share where they do not share all that is before.
///
/// One begins at two nodes with equal operators and weights, grows along equal wiring, and ends where the graphs differ.
/// What is not convex is taken apart, so that each can be a block. Only sub-networks with trained weights are told.
pub(super) fn segments(subjects: &[Subject<'_>], left: usize, right: usize) -> Vec<SharedSegment> {
    let (first, second) = (&subjects[left], &subjects[right]);
    let known: HashSet<Digest> = first.prints.nodes.iter().copied().collect();
    let also = second.prints.nodes.iter().copied();
    let common: HashSet<Digest> = also.filter(|digest| known.contains(digest)).collect();
    let mut growth = Growth {
        left: Side::of(first, &common),
        right: Side::of(second, &common),
    };
    let grown = growth.run();
    let parts = grown.iter().flat_map(|pairs| convex(&growth, pairs));
    let trained = |part: &Pairs| part.keys().any(|&node| growth.left.is_trained(node));
    parts
        .filter(trained)
        .map(|part| {
            let (inputs, outputs) = ends(&growth, &part);
            let place = |graph: usize, side: usize| {
                let names = |ids: &[[ValueId; 2]]| {
                    let names = ids.iter().map(|pair| subjects[graph].name(pair[side]));
                    names.collect()
                };
                Segment {
                    graph,
                    inputs: names(&inputs),
                    outputs: names(&outputs),
                }
            };
            SharedSegment {
                nodes: part.len(),
                saved_bytes: first.weights_of(part.keys().copied()).values().sum(),
                places: [place(left, 0), place(right, 1)],
            }
        })
        .collect()
}

/// Takes pairs apart into connected sets that are convex in both graphs.
fn convex(growth: &Growth<'_>, pairs: &Pairs) -> Vec<Pairs> {
    let in_left = levels(growth.left.subject.graph, &pairs.keys().copied().collect());
    let in_right = levels(
        growth.right.subject.graph,
        &pairs.values().copied().collect(),
    );
    let mut parts: BTreeMap<usize, Pairs> = BTreeMap::new();
    // Of each node: the first node of its part.
    let mut first: BTreeMap<usize, usize> = BTreeMap::new();
    for (&left, &right) in pairs {
        let level = |left: usize, right: usize| (in_left[left], in_right[right]);
        let makers = growth.left.inputs(left).iter().flatten();
        let joined: HashSet<usize> = makers
            .filter_map(|&id| match growth.left.source(id) {
                Source::Node(maker, _) => first
                    .get(&maker)
                    .copied()
                    .filter(|_| level(maker, pairs[&maker]) == level(left, right)),
                Source::Input | Source::Weight => None,
            })
            .collect();
        let own = joined.iter().copied().min().unwrap_or(left);
        let mut part = Pairs::from([(left, right)]);
        for other in joined {
            part.append(&mut parts.remove(&other).unwrap_or_default());
        }
        for &node in part.keys() {
            first.insert(node, own);
        }
        parts.insert(own, part);
    }
    parts.into_values().collect()
}

/// Returns the values that lead into and out of a part, each with the one it corresponds to. One that the other graph
/// needs further on is an output here too.
fn ends(growth: &Growth<'_>, part: &Pairs) -> (Vec<[ValueId; 2]>, Vec<[ValueId; 2]>) {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    let partners: HashSet<usize> = part.values().copied().collect();
    for (&left, &right) in part {
        let pairs = growth
            .left
            .inputs(left)
            .iter()
            .zip(growth.right.inputs(right));
        for pair in pairs {
            let (Some(one), Some(other)) = pair else {
                continue;
            };
            let outside = match growth.left.source(*one) {
                Source::Node(maker, _) => !part.contains_key(&maker),
                Source::Input => true,
                Source::Weight => false,
            };
            if outside && !inputs.contains(&[*one, *other]) {
                inputs.push([*one, *other]);
            }
        }
        let pairs = growth
            .left
            .outputs(left)
            .iter()
            .zip(growth.right.outputs(right));
        for pair in pairs {
            let (Some(one), Some(other)) = pair else {
                continue;
            };
            let leaves = |side: &Side<'_>, id: ValueId, own: &dyn Fn(usize) -> bool| {
                let read = side.readers(id).iter().any(|(node, _)| !own(*node));
                read || side.subject.graph.outputs.contains(&id)
            };
            let needed = leaves(&growth.left, *one, &|node| part.contains_key(&node))
                || leaves(&growth.right, *other, &|node| partners.contains(&node));
            if needed {
                outputs.push([*one, *other]);
            }
        }
    }
    (inputs, outputs)
}
