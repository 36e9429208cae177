//! Computes once what is computed alike, and keeps one of equal weights.

use std::collections::HashMap;

use super::draft::Draft;
use crate::graph::{Graph, Node, ValueId, ValueOrigin};
use crate::types::{DType, Tensor};

/// Bytes at the beginning of a weight by which it is looked up; the rest is compared.
const PREFIX: usize = 64;

pub(super) fn merge(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    merge_weights(&mut draft);
    merge_nodes(&mut draft);
    draft.finish()
}

fn merge_weights(draft: &mut Draft) {
    type Key = (DType, Vec<usize>, Vec<u8>);
    let mut known: HashMap<Key, Vec<(ValueId, Tensor)>> = HashMap::new();
    let values = (0_u32..).map(ValueId).take(draft.graph().values.len());
    for id in values.collect::<Vec<_>>() {
        let Some(tensor) = draft.constant(id).filter(|_| draft.uses(id) > 0).cloned() else {
            continue;
        };
        let bytes = tensor.bytes();
        let prefix = bytes[..bytes.len().min(PREFIX)].to_vec();
        let alike = known
            .entry((tensor.dtype(), tensor.shape().to_vec(), prefix))
            .or_default();
        match alike.iter().find(|(_, other)| other.bytes() == bytes) {
            Some(&(first, _)) => {
                draft.forward(id, first);
            }
            None => alike.push((id, tensor)),
        }
    }
}

fn merge_nodes(draft: &mut Draft) {
    type Key = (&'static str, Vec<Option<ValueId>>);
    let mut known: HashMap<Key, Vec<usize>> = HashMap::new();
    for id in draft.originals() {
        let node = draft.node(id);
        if !draft.is_needed(id) || !node.op.is_repeatable() {
            continue;
        }
        let alike = known
            .entry((node.op.name(), node.inputs.clone()))
            .or_default();
        let first = alike.iter().find(|&&first| {
            let first = &draft.graph().nodes[first];
            is_same(first, node) && covers(first, node)
        });
        let Some(&first) = first else {
            alike.push(id.0 as usize);
            continue;
        };
        let firsts = draft.graph().nodes[first].outputs.clone();
        let pairs = node.outputs.clone().into_iter().zip(firsts);
        for (own, first) in pairs {
            if let (Some(own), Some(first)) = (own, first)
                && matches!(draft.value(own).origin, ValueOrigin::Node(maker, _) if maker == id)
            {
                draft.forward(own, first);
            }
        }
    }
}

/// Tells whether two nodes of equal inputs do the same. What prints alike is told apart by being unequal, and −0 from 0,
/// which are equal, by printing otherwise.
fn is_same(one: &Node, other: &Node) -> bool {
    one.op == other.op && format!("{:?}", one.op) == format!("{:?}", other.op)
}

/// Tells whether a node has every output that another one has.
fn covers(one: &Node, other: &Node) -> bool {
    let has = |place: usize| one.outputs.get(place).is_some_and(Option::is_some);
    one.outputs.len() == other.outputs.len()
        && other
            .outputs
            .iter()
            .enumerate()
            .all(|(place, output)| output.is_none() || has(place))
}
