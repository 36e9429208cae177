//! Operators that old exporters spell out, put together again.

use super::draft::Draft;
use super::{gates, layer_norm};
use crate::graph::{Graph, NodeId, Op, ValueId};

/// What a node turns out to compute.
pub(super) struct Formula {
    pub(super) op: Op,
    pub(super) inputs: Vec<ValueId>,
}

pub(super) fn fuse(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if !draft.is_needed(id) {
            continue;
        }
        if let Some(Formula { op, inputs }) = found(&mut draft, id) {
            let name = draft.node(id).name.clone();
            let inputs = inputs.into_iter().map(Some).collect();
            draft.replace(id, name, op, inputs);
        }
    }
    draft.finish()
}

fn found(draft: &mut Draft, id: NodeId) -> Option<Formula> {
    gates::found(draft, draft.node(id)).or_else(|| layer_norm::found(draft, id))
}
