//! Operations of attention. Masked and future positions count in full, as padding of a convolution does.

use crate::graph::{Attention, LinearAttention};

use super::flops::SOFTMAX;
use super::shapes::{Shapes, elements, times};

/// `softmax(scale · q · kᵀ + mask) · v` for every row of every head: two products, the softmax, and what is done to a
/// score before it (Vaswani et al., 2017, *Attention Is All You Need*, 3.2).
fn scores(rows: u64, columns: u64, sizes: [u64; 2], each: u64) -> u64 {
    let [key, value] = sizes;
    let products = times(2, key.saturating_add(value));
    times(
        times(rows, columns),
        products.saturating_add(SOFTMAX + each),
    )
}

/// Inputs: Q, K, V, mask?, past key?, past value?.
pub(super) fn attention(op: &Attention, shapes: &Shapes<'_>) -> Option<u64> {
    let [query, key, value] = [shapes.input(0)?, shapes.input(1)?, shapes.input(2)?];
    let count = |shape: &[usize], given: Option<usize>| match (given, shape) {
        (Some(heads), [batch, sequence, hidden]) => {
            Some([*batch, heads, *sequence, hidden.checked_div(heads)?])
        }
        (None, [batch, heads, sequence, size]) => Some([*batch, *heads, *sequence, *size]),
        _ => None,
    };
    let [batch, heads, rows, size] = count(query, op.heads.map(|heads| heads.query))?;
    let key_value = op.heads.map(|heads| heads.key_value);
    let [.., columns, _] = count(key, key_value)?;
    let [.., value_size] = count(value, key_value)?;
    let past = shapes.input(4).and_then(|past| past.get(2)).copied();
    let columns = columns.saturating_add(past.unwrap_or(0));
    // The scale; the mask; a division, a tangent and a product.
    let each = 1 + u64::from(shapes.has(3) || op.causal) + if op.softcap.is_some() { 3 } else { 0 };
    let rows = elements(&[batch, heads, rows]);
    let sizes = [size as u64, value_size as u64];
    Some(scores(rows, columns as u64, sizes, each))
}

/// Inputs: q [.., l, e], k [.., s, e], v [.., s, n], mask?.
pub(super) fn scaled_dot_product(shapes: &Shapes<'_>) -> Option<u64> {
    let (size, rows) = shapes.input(0)?.split_last()?;
    let [.., columns, value] = shapes.input(2)? else {
        return None;
    };
    let each = 1 + u64::from(shapes.has(3));
    let sizes = [*size as u64, *value as u64];
    Some(scores(elements(rows), *columns as u64, sizes, each))
}

/// For every step and head of the state: `S = exp(g) · S + k ⊗ β (v − Sᵀ k)`; for every step and query head `Sᵀ q`
/// (Yang et al., 2024, *Gated Delta Networks*, 3).
pub(super) fn linear_attention(op: LinearAttention, shapes: &Shapes<'_>) -> Option<u64> {
    let [query, key, value] = [shapes.input(0)?, shapes.input(1)?, shapes.input(2)?];
    let steps = elements(query.get(..2)?);
    let key_size = key.last()?.checked_div(op.heads.key_value)? as u64;
    let value_size = value.last()?.checked_div(op.heads.key_value)? as u64;
    let state = times(key_size, value_size);
    let decay = if op.gated { state } else { 0 };
    let delta = if op.delta {
        times(2, state).saturating_add(times(2, value_size))
    } else {
        0
    };
    let update = times(2, state).saturating_add(decay).saturating_add(delta);
    let read = times(2, state).saturating_add(value_size);
    let heads = [
        times(op.heads.key_value as u64, update),
        times(op.heads.query as u64, read),
    ];
    Some(times(steps, heads[0].saturating_add(heads[1])))
}
