//! Gemm and MatMul with constant weights become `Linear`, whose weight is laid out one way.

use super::draft::Draft;
use crate::graph::{Graph, NodeId, Op, ValueId};
use crate::types::Tensor;

pub(super) fn fuse(graph: &Graph) -> Graph {
    let mut draft = Draft::of(graph);
    for id in draft.originals() {
        if draft.is_needed(id)
            && let Some(inputs) = inputs_of(&mut draft, id)
        {
            let name = draft.node(id).name.clone();
            draft.replace(id, name, Op::Linear { activation: None }, inputs);
        }
    }
    draft.finish()
}

/// Returns the inputs that a node has as a `Linear`.
fn inputs_of(draft: &mut Draft, id: NodeId) -> Option<Vec<Option<ValueId>>> {
    let node = draft.node(id);
    let [Some(data), Some(weight), ..] = *node.inputs.as_slice() else {
        return None;
    };
    let addend = node.inputs.get(2).copied().flatten();
    let tensor = draft.constant(weight)?;
    let [_, columns] = *tensor.shape() else {
        return None;
    };
    if !tensor.dtype().is_float() || draft.value(data).dtype != Some(tensor.dtype()) {
        return None;
    }
    match node.op {
        Op::MatMul => Some(vec![Some(data), Some(weight), None]),
        #[expect(clippy::float_cmp, reason = "factors of exactly one")]
        Op::Gemm {
            alpha: 1.0,
            beta,
            transpose_a: false,
            transpose_b,
        } if beta == 1.0 || addend.is_none() => {
            let turned = if transpose_b {
                Some(transposed(tensor)?)
            } else {
                None
            };
            let columns = turned.as_ref().map_or(columns, |turned| turned.shape()[1]);
            let fitted = match addend {
                Some(addend) => fitted(draft.constant(addend)?, columns)?,
                None => None,
            };
            let weight = match turned {
                Some(turned) => draft.add_constant(weight, "transposed", turned),
                None => weight,
            };
            let bias = match (addend, fitted) {
                (Some(addend), Some(fitted)) => Some(draft.add_constant(addend, "fitted", fitted)),
                (addend, _) => addend,
            };
            Some(vec![Some(data), Some(weight), bias])
        }
        _ => None,
    }
}

/// Returns an addend as one element per column; the inner `None` if it is that already, the outer one if it is
/// something else per row.
pub(super) fn fitted(addend: &Tensor, columns: usize) -> Option<Option<Tensor>> {
    let copies = match *addend.shape() {
        [size] if size == columns => return Some(None),
        [] | [1] | [1, 1] => columns,
        [1, size] if size == columns => 1,
        _ => return None,
    };
    let bytes = addend.bytes().repeat(copies);
    Tensor::copy_of(addend.dtype(), vec![columns], &bytes)
        .ok()
        .map(Some)
}

fn transposed(matrix: &Tensor) -> Option<Tensor> {
    let [rows, columns] = *matrix.shape() else {
        return None;
    };
    let bytes = matrix.bytes();
    let turned = match matrix.dtype().size()? {
        2 => turn::<2>(bytes, rows, columns),
        4 => turn::<4>(bytes, rows, columns),
        8 => turn::<8>(bytes, rows, columns),
        _ => return None,
    };
    Tensor::copy_of(matrix.dtype(), vec![columns, rows], &turned).ok()
}

/// Goes by squares, so that both sides stay in the cache.
fn turn<const SIZE: usize>(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    const SIDE: usize = 32;
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let mut turned = vec![[0; SIZE]; elements.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for row in top..rows.min(top + SIDE) {
                for column in left..columns.min(left + SIDE) {
                    turned[column * rows + row] = elements[row * columns + column];
                }
            }
        }
    }
    turned.into_flattened()
}
