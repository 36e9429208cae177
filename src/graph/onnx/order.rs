//! Puts nodes in an order in which each comes after those it reads from.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::proto::NodeProto;
use super::scope::names_read_by;
use crate::graph::Defect;

/// Returns the places of the nodes in topological order, which is the order of the file where that is one already.
///
/// `names` has the name of each node. Names that no node defines are inputs, weights, or errors to be found later.
pub(super) fn order(nodes: &[NodeProto], names: &[String]) -> Result<Vec<usize>, Defect> {
    let mut makers = HashMap::new();
    for (place, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if makers.insert(output.as_str(), place).is_some() {
                return Err(Defect::DefinedTwice {
                    tensor: output.clone(),
                });
            }
        }
    }
    let sources = |node: &NodeProto| -> Vec<usize> {
        let read = names_read_by(node).into_iter();
        read.filter_map(|name| makers.get(name).copied()).collect()
    };
    let sources: Vec<_> = nodes.iter().map(sources).collect();
    let mut waiting: Vec<usize> = sources.iter().map(Vec::len).collect();
    let mut readers = vec![Vec::new(); nodes.len()];
    for (place, sources) in sources.iter().enumerate() {
        sources
            .iter()
            .for_each(|&source| readers[source].push(place));
    }
    let mut ready: BinaryHeap<_> = (0..nodes.len())
        .filter(|&place| waiting[place] == 0)
        .map(Reverse)
        .collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse(place)) = ready.pop() {
        order.push(place);
        for &reader in &readers[place] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(Reverse(reader));
            }
        }
    }
    if order.len() == nodes.len() {
        return Ok(order);
    }
    // Every node left waits for another one left: walking from reader to source has to come round.
    let mut trail = Vec::new();
    let mut seen = HashMap::new();
    let mut next = waiting.iter().position(|&count| count > 0);
    while let Some(place) = next {
        if let Some(start) = seen.insert(place, trail.len()) {
            trail.drain(..start);
            break;
        }
        trail.push(place);
        let mut sources = sources[place].iter().copied();
        next = sources.find(|&source| waiting[source] > 0);
    }
    const SHOWN: usize = 10;
    Err(Defect::Cycle {
        nodes: trail
            .iter()
            .rev()
            .take(SHOWN)
            .map(|&place| names[place].clone())
            .collect(),
    })
}
