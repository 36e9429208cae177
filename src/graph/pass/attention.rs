//! `softmax(scale · q · kᵀ + mask) · v` in one operator.

use super::draft::Draft;
use super::layout::first_input;
use super::numbers;
use super::scores::{Scores, scores};
use crate::graph::{Graph, Node, NodeId, Op, ScaledDotProduct, Unary, ValueId};
use crate::types::{DType, ShapeSpec};

pub(super) fn fuse(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id)
            && let Some((scores, values)) = found(&draft, id)
        {
            replace(&mut draft, id, &scores, values);
        }
    }
    draft.finish()
}

/// Matches a product of probabilities and values.
fn found(draft: &Draft, id: NodeId) -> Option<(Scores, ValueId)> {
    let node = draft.node(id);
    let (Op::MatMul, &[Some(probabilities), Some(values)]) = (&node.op, node.inputs.as_slice())
    else {
        return None;
    };
    let softmax = softmax(draft, probabilities)?;
    let scores = scores(draft, first_input(softmax)?)?;
    let ranks = [scores.query, scores.key, values].map(|id| draft.rank(id));
    let dtype = draft.value(scores.query).dtype?;
    (ranks[0]? >= 2 && ranks == [ranks[0]; 3] && dtype.is_float()).then_some((scores, values))
}

/// Returns the softmax over the last dimension that computes probabilities. Exporters put zeros where it has no number,
/// as in a row of which the mask leaves nothing; the operator does so by itself.
fn softmax(draft: &Draft, probabilities: ValueId) -> Option<&Node> {
    let node = draft.sole_maker(probabilities)?;
    let softmax = match (&node.op, node.inputs.as_slice()) {
        (Op::Where, &[Some(test), Some(zero), Some(own)]) => {
            let test = draft.sole_maker(test)?;
            let guards = test.op.name() == "IsNaN"
                && first_input(test) == Some(own)
                && draft.uses(own) == 2
                && !draft.is_output(own)
                && numbers::scalar(draft.constant(zero)?) == Some(0.0);
            guards.then(|| draft.maker(own))??
        }
        _ => node,
    };
    let last = draft.rank(first_input(softmax)?)?.checked_sub(1)?;
    match softmax.op {
        Op::Softmax { axis } | Op::FlatSoftmax { axis, log: false } => {
            (axis == -1 || usize::try_from(axis) == Ok(last)).then_some(softmax)
        }
        _ => None,
    }
}

fn replace(draft: &mut Draft, id: NodeId, scores: &Scores, values: ValueId) {
    let mut key = scores.key;
    if let Some(permutation) = &scores.permutation {
        let dims = draft.shape(key);
        let dims = dims.and_then(|dims| {
            permutation
                .iter()
                .map(|&axis| dims.get(axis).cloned())
                .collect()
        });
        let permutation = Some(permutation.clone());
        let shape = dims.map(ShapeSpec);
        key = draft.insert(id, "transposed", Op::Transpose { permutation }, key, shape);
    }
    let mask = scores.mask.map(|(mask, hides)| {
        let shape = draft.value(mask).shape.clone();
        if hides {
            draft.insert(id, "inverted", Op::Unary(Unary::Not), mask, shape)
        } else {
            mask
        }
    });
    let op = Op::ScaledDotProduct(ScaledDotProduct {
        scale: scores.scale,
        causal: false,
    });
    let name = draft.node(id).name.clone();
    let inputs = vec![Some(scores.query), Some(key), Some(values), mask];
    draft.replace(id, name, op, inputs);
}

/// Tells whether a mask is one that the operator takes beside queries of a dtype.
pub(super) fn is_mask(draft: &Draft, mask: ValueId, query: DType) -> bool {
    matches!(draft.value(mask).dtype, Some(dtype) if dtype == DType::Bool || dtype == query)
}
