//! A constant that is added to each row of a `Linear` without a bias becomes one.

use super::draft::Draft;
use super::linear::fitted;
use crate::graph::{Binary, Graph, Node, NodeId, Op, ValueId};

pub(super) fn fuse(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id)
            && let Some((name, inputs)) = found(&mut draft, id)
        {
            draft.replace(id, name, Op::Linear { activation: None }, inputs);
        }
    }
    draft.finish()
}

fn found(draft: &mut Draft, id: NodeId) -> Option<(String, Vec<Option<ValueId>>)> {
    let node = draft.node(id);
    let (Op::Binary(Binary::Add), &[Some(a), Some(b)]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let (product, addend) = if draft.constant(b).is_some() {
        (a, b)
    } else {
        (b, a)
    };
    let linear: Node = draft.sole_maker(product)?.clone();
    let (Op::Linear { activation: None }, &[Some(data), Some(weight)]) =
        (&linear.op, linear.inputs.as_slice())
    else {
        return None;
    };
    let columns = *draft.constant(weight)?.shape().get(1)?;
    let tensor = draft.constant(addend)?;
    // More dimensions than the product has would be added to it.
    if tensor.shape().len() > draft.rank(product)? {
        return None;
    }
    let bias = match fitted(tensor, columns)? {
        Some(fitted) => draft.add_constant(addend, "fitted", fitted),
        None => addend,
    };
    Some((linear.name, vec![Some(data), Some(weight), Some(bias)]))
}
