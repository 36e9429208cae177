//! LinearAttention and the causal convolution that goes with it.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::attention::{divided, packed};
use super::dims::equal_dim;
use super::operands::Operands;
use crate::graph::{Fault, LinearAttention};

/// Inputs: query, key, value, state?, decay?, beta?.
pub(super) fn linear_attention(
    op: &LinearAttention,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 6)?;
    for input in 0..6 {
        operands.require_float(input)?;
        operands.require_rank(input, if input == 3 { 4 } else { 3 }, "")?;
    }
    for (input, wanted) in [(4, op.gated), (5, op.delta)] {
        match (wanted, operands.optional(input)) {
            (true, None) => return Err(Fault::NoInput { input }),
            (false, Some(_)) => {
                return Err(Fault::InputCount {
                    seen: operands.0.len(),
                    expected: format!("no input {input}, which this update_rule has no use for"),
                });
            }
            _ => {}
        }
    }
    let dtype = operands.common_dtype([0, 1, 2, 4, 5])?;
    let dim = |input: usize, axis: usize| {
        let dims = operands.optional(input).and_then(Fact::dims);
        dims.and_then(|dims| dims.get(axis).cloned())
            .unwrap_or(Dim::Any)
    };
    let head_size = |input: usize, count: usize| {
        divided(&dim(input, 2), count).ok_or_else(|| {
            wrong(
                operands,
                input,
                &format!("a last dimension that is a multiple of {count}, the number of heads"),
            )
        })
    };
    let heads = op.heads;
    let (query_size, key_size) = (head_size(0, heads.query)?, head_size(1, heads.key_value)?);
    let value_size = head_size(2, heads.key_value)?;
    let (batch, time) = (dim(0, 0), dim(0, 1));
    let key_heads = Dim::Fixed(heads.key_value);
    let key_size = equal_dim(&query_size, &key_size).ok_or_else(|| {
        wrong(
            operands,
            1,
            &format!("heads of size {query_size} as input 0 has"),
        )
    })?;
    let state = vec![
        batch.clone(),
        key_heads.clone(),
        key_size.clone(),
        value_size.clone(),
    ];
    let along = [batch.clone(), time.clone()];
    for input in [1, 2, 4, 5] {
        if (0..2).any(|axis| equal_dim(&dim(input, axis), &along[axis]).is_none()) {
            return Err(wrong(operands, input, "the batch and sequence of input 0"));
        }
    }
    if (0..4).any(|axis| equal_dim(&dim(3, axis), &state[axis]).is_none()) {
        return Err(wrong(operands, 3, &ShapeSpec(state).to_string()));
    }
    let all = packed(&key_heads, &key_size)?;
    if equal_dim(&dim(4, 2), &key_heads)
        .or(equal_dim(&dim(4, 2), &all))
        .is_none()
    {
        return Err(wrong(
            operands,
            4,
            &format!("a last dimension of size {key_heads} or {all}"),
        ));
    }
    if dim(5, 2)
        .fixed()
        .is_some_and(|size| size != 1 && size != heads.key_value)
    {
        return Err(wrong(
            operands,
            5,
            &format!("a last dimension of size {key_heads} or 1"),
        ));
    }
    let hidden = packed(&Dim::Fixed(heads.query), &value_size)?;
    let state_dtype = operands.optional(3).map_or(dtype, |state| state.dtype);
    Ok(vec![
        Fact::new(dtype, Some(ShapeSpec(vec![batch, time, hidden]))),
        Fact::new(state_dtype, Some(ShapeSpec(state))),
    ])
}

/// Inputs: data, weight, bias?, past?.
pub(super) fn causal_conv(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 4)?;
    for (input, rank) in [(0, 3), (1, 3), (2, 1), (3, 3)] {
        operands.require_float(input)?;
        operands.require_rank(input, rank, "")?;
    }
    let dtype = operands.common_dtype(0..4)?;
    let (data, weight) = (operands.get(0)?, operands.get(1)?);
    let part = |fact: &Fact, axis: usize| {
        fact.dims()
            .and_then(|dims| dims.get(axis).cloned())
            .unwrap_or(Dim::Any)
    };
    let channels = part(data, 1);
    let kept = match part(weight, 2).fixed() {
        Some(0) => return Err(wrong(operands, 1, "a kernel of at least one element")),
        size => size.map_or(Dim::Any, |size| Dim::Fixed(size - 1)),
    };
    let state = vec![part(data, 0), channels.clone(), kept];
    let wanted = [
        (1, vec![channels.clone(), Dim::Fixed(1), Dim::Any]),
        (2, vec![channels]),
        (3, state.clone()),
    ];
    for (input, expected) in wanted {
        let seen = operands
            .optional(input)
            .and_then(Fact::dims)
            .unwrap_or_default();
        if seen
            .iter()
            .zip(&expected)
            .any(|(seen, expected)| equal_dim(seen, expected).is_none())
        {
            return Err(wrong(operands, input, &ShapeSpec(expected).to_string()));
        }
    }
    Ok(vec![
        Fact::new(dtype, data.shape.clone()),
        Fact::new(dtype, Some(ShapeSpec(state))),
    ])
}

fn wrong(operands: Operands<'_>, input: usize, expected: &str) -> Fault {
    let shape = operands.optional(input).and_then(|fact| fact.shape.clone());
    Fault::Shape {
        input,
        seen: shape.unwrap_or_else(|| ShapeSpec(Vec::new())),
        expected: expected.to_owned(),
    }
}
