//! Addends and activations join the convolution or `Linear` before them.

use super::draft::Draft;
use super::layout::first_input;
use super::numbers;
use crate::graph::{Activation, Binary, FusedConv, Graph, Node, NodeId, Op, ValueId};
use crate::types::Dim;

pub(super) fn fuse(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id)
            && let Some(Fused { name, op, inputs }) =
                with_addend(&draft, id).or_else(|| with_activation(&draft, id))
        {
            draft.replace(id, name, op, inputs);
        }
    }
    draft.finish()
}

struct Fused {
    name: String,
    op: Op,
    inputs: Vec<Option<ValueId>>,
}

/// Returns the convolution that the sum of its result and another tensor can be.
fn with_addend(draft: &Draft, id: NodeId) -> Option<Fused> {
    let node = draft.node(id);
    let (Op::Binary(Binary::Add), &[Some(a), Some(b)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let candidate = |product: ValueId, addend: ValueId| {
        let maker = draft.sole_maker(product)?;
        let Op::Conv(conv) = &maker.op else {
            return None;
        };
        let residual =
            draft.constant(addend).is_none() && may_be_same_shape(draft, product, addend);
        residual.then_some((draft.maker_id(product), maker, conv, addend))
    };
    // Of two convolutions the later one, so that inputs are not kept for long.
    let found = [candidate(a, b), candidate(b, a)].into_iter().flatten();
    let (_, maker, conv, addend) = found.max_by_key(|(id, ..)| *id)?;
    let mut inputs = maker.inputs.clone();
    inputs.resize(3, None);
    inputs.push(Some(addend));
    let conv = conv.clone();
    Some(Fused {
        name: maker.name.clone(),
        op: Op::FusedConv(FusedConv {
            conv,
            activation: None,
        }),
        inputs,
    })
}

/// Tells whether two values may have the same sizes, as far as is known, and surely the same number of them.
fn may_be_same_shape(draft: &Draft, one: ValueId, other: ValueId) -> bool {
    let (Some(one_dims), Some(other_dims)) = (draft.shape(one), draft.shape(other)) else {
        return false;
    };
    let pairs = one_dims.iter().zip(other_dims);
    let differ = |(one, other): (&Dim, &Dim)| match (one.fixed(), other.fixed()) {
        (Some(one), Some(other)) => one != other,
        // A size of 1 would be stretched.
        (Some(1), None) | (None, Some(1)) => true,
        _ => false,
    };
    one_dims.len() == other_dims.len()
        && !pairs.into_iter().any(differ)
        && draft.value(one).dtype == draft.value(other).dtype
}

/// Returns the product that the activation of its result can be.
fn with_activation(draft: &Draft, id: NodeId) -> Option<Fused> {
    let node = draft.node(id);
    let activation = activation_of(draft, node)?;
    let maker = draft.sole_maker(first_input(node)?)?;
    let activation = Some(activation);
    let op = match &maker.op {
        Op::Conv(conv) => Op::FusedConv(FusedConv {
            conv: conv.clone(),
            activation,
        }),
        Op::FusedConv(FusedConv {
            conv,
            activation: None,
        }) => Op::FusedConv(FusedConv {
            conv: conv.clone(),
            activation,
        }),
        Op::Linear { activation: None } => Op::Linear { activation },
        _ => return None,
    };
    Some(Fused {
        name: maker.name.clone(),
        op,
        inputs: maker.inputs.clone(),
    })
}

fn activation_of(draft: &Draft, node: &Node) -> Option<Activation> {
    match node.op {
        Op::Unary(function) => Activation::of(function),
        Op::Clip => {
            let bound = |input: usize, absent: f64| match node.inputs.get(input).copied().flatten()
            {
                Some(bound) => {
                    numbers::scalar(draft.constant(bound)?).filter(|bound| !bound.is_nan())
                }
                None => Some(absent),
            };
            Some(Activation::Clip {
                min: bound(1, f64::NEG_INFINITY)?,
                max: bound(2, f64::INFINITY)?,
            })
        }
        _ => None,
    }
}
