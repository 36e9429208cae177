//! Computes what depends on weights alone.
//!
//! Only what has a known size is computed, and only as long as the model does not grow by more than
//! [`GROWTH_BYTES_MAX`]: a small file may describe weights of any size. A repetition of elements, which costs a run
//! nothing, is computed only where it stays small.

use super::Evaluate;
use super::draft::Draft;
use crate::graph::{Container, Graph, NodeId, Op};
use crate::types::{Dim, byte_count};

/// Bytes that folded weights may take in all.
const GROWTH_BYTES_MAX: usize = 1 << 29;

/// Bytes up to which elements are repeated.
const REPEATED_BYTES_MAX: usize = 1 << 16;

pub(super) fn fold(graph: &Graph, evaluate: &Evaluate<'_>) -> Graph {
    let mut draft = Draft::of(graph);
    let mut room = GROWTH_BYTES_MAX;
    for id in draft.originals() {
        let Some(bytes) = size(&draft, id).filter(|&bytes| bytes <= room) else {
            continue;
        };
        let Some(results) = evaluate(draft.graph(), draft.node(id)) else {
            continue;
        };
        room -= bytes;
        let outputs = draft.node(id).outputs.clone();
        for (output, result) in outputs.into_iter().zip(results) {
            if let (Some(output), Some(tensor)) = (output, result) {
                draft.fix(output, tensor);
            }
        }
    }
    draft.finish()
}

/// Returns the bytes of a node's results if they can be computed now.
fn size(draft: &Draft, id: NodeId) -> Option<usize> {
    let node = draft.node(id);
    let mut inputs = node.inputs.iter().flatten();
    let foldable =
        node.op.is_repeatable() && inputs.all(|&input| draft.initializer(input).is_some());
    if !foldable || !draft.is_needed(id) {
        return None;
    }
    let mut bytes = 0_usize;
    for &output in node.outputs.iter().flatten() {
        let value = draft.value(output);
        let dims = draft.shape(output)?.iter().map(Dim::fixed);
        let shape: Vec<usize> = dims.collect::<Option<_>>()?;
        if value.container != Container::Tensor {
            return None;
        }
        bytes = bytes.checked_add(byte_count(value.dtype?, &shape).ok()?)?;
    }
    let repeats = matches!(node.op, Op::Expand) && bytes > REPEATED_BYTES_MAX;
    (!repeats).then_some(bytes)
}
