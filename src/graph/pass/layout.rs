//! Leaves out what changes nothing, and joins transposes, and reshapes, that follow one another.

use super::draft::Draft;
use crate::graph::{Container, Graph, Node, NodeId, Op, Reduce, ValueId};
use crate::types::{DType, Dim};

pub(super) fn tidy(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id) {
            join(&mut draft, id);
            drop_if_idle(&mut draft, id);
        }
    }
    draft.finish()
}

/// Makes a node read what the one before it reads, where it then does the work of both.
fn join(draft: &mut Draft, id: NodeId) {
    let Some((op, data)) = joined(draft, draft.node(id)) else {
        return;
    };
    let node = draft.node(id);
    let (name, mut inputs) = (node.name.clone(), node.inputs.clone());
    inputs[0] = Some(data);
    draft.replace(id, name, op, inputs);
}

fn joined(draft: &Draft, node: &Node) -> Option<(Op, ValueId)> {
    let data = first_input(node)?;
    let before = draft.maker(data)?;
    let source = first_input(before)?;
    match (&before.op, &node.op) {
        (Op::Transpose { .. }, Op::Transpose { .. }) => {
            let inner = permutation(draft, before)?;
            let outer = permutation(draft, node)?;
            let both = outer.iter().map(|&axis| inner.get(axis).copied());
            let permutation = Some(both.collect::<Option<_>>()?);
            Some((Op::Transpose { permutation }, source))
        }
        (
            Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze,
            Op::Reshape { allow_zero },
        ) => {
            // A size that is copied is one of the tensor in between.
            let target = draft.constant(*node.inputs.get(1)?.as_ref()?)?;
            let copies = !allow_zero && has_zero(target.bytes());
            (!copies && target.dtype() == DType::I64).then(|| (node.op.clone(), source))
        }
        _ => None,
    }
}

fn has_zero(sizes: &[u8]) -> bool {
    let (sizes, _) = sizes.as_chunks();
    sizes.iter().any(|&size| i64::from_le_bytes(size) == 0)
}

/// Returns the permutation of a transpose; `None` if it depends on an unknown number of dimensions.
pub(super) fn permutation(draft: &Draft, node: &Node) -> Option<Vec<usize>> {
    let Op::Transpose { permutation } = &node.op else {
        return None;
    };
    match permutation {
        Some(permutation) => Some(permutation.clone()),
        None => Some((0..draft.rank(first_input(node)?)?).rev().collect()),
    }
}

pub(super) fn first_input(node: &Node) -> Option<ValueId> {
    node.inputs.first().copied().flatten()
}

/// Lets everybody read the input of a node that only hands it on.
fn drop_if_idle(draft: &mut Draft, id: NodeId) {
    let node = draft.node(id);
    let (Some(input), [Some(output)]) = (first_input(node), node.outputs.as_slice()) else {
        return;
    };
    if is_idle(draft, node, input, *output) {
        draft.forward(*output, input);
    }
}

fn is_idle(draft: &Draft, node: &Node, input: ValueId, output: ValueId) -> bool {
    match &node.op {
        Op::Identity => true,
        Op::Concat { .. }
        | Op::Variadic(Reduce::Sum | Reduce::Max | Reduce::Min | Reduce::Mean) => {
            node.inputs.len() == 1 && draft.value(input).container == Container::Tensor
        }
        Op::Cast { to } => draft.value(input).dtype == Some(*to),
        Op::Transpose { .. } => permutation(draft, node)
            .is_some_and(|permutation| permutation.iter().copied().eq(0..permutation.len())),
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze | Op::Unsqueeze | Op::Expand => {
            is_same_shape(draft, input, output)
        }
        _ => false,
    }
}

/// Tells whether two values have the same sizes for certain.
pub(super) fn is_same_shape(draft: &Draft, one: ValueId, other: ValueId) -> bool {
    match (draft.shape(one), draft.shape(other)) {
        (Some(one), Some(other)) => one == other && !one.contains(&Dim::Any),
        _ => false,
    }
}
