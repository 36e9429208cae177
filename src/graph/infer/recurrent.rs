//! Recurrent layers.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::equal_dim;
use super::operands::Operands;
use crate::graph::{Cell, Fault, Recurrent};

/// Inputs: X, W, R, B?, sequence_lens?, initial_h?, initial_c?, P?.
pub(super) fn recurrent(op: &Recurrent, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let lstm = matches!(op.cell, Cell::Lstm { .. });
    operands.count(3, if lstm { 8 } else { 6 })?;
    let floats = [0, 1, 2, 3, 5, 6, 7];
    for input in floats {
        operands.require_float(input)?;
    }
    operands.require(4, |dtype| dtype == DType::I32, "INT32")?;
    let dtype = operands.common_dtype(floats)?;
    for (input, rank) in [
        (0, 3),
        (1, 3),
        (2, 3),
        (3, 2),
        (4, 1),
        (5, 3),
        (6, 3),
        (7, 2),
    ] {
        operands.require_rank(input, rank, "")?;
    }
    let dim = |input: usize, axis: usize| {
        let dims = operands.optional(input).and_then(Fact::dims);
        dims.and_then(|dims| dims.get(axis).cloned())
            .unwrap_or(Dim::Any)
    };
    let hidden = op.hidden_size.map_or_else(|| dim(2, 2), Dim::Fixed);
    let directions = Dim::Fixed(op.direction.count());
    let rows = |times: usize| {
        let size = hidden.fixed().and_then(|size| size.checked_mul(times));
        size.map_or(Dim::Any, Dim::Fixed)
    };
    let (time, batch) = if op.batch_first {
        (dim(0, 1), dim(0, 0))
    } else {
        (dim(0, 0), dim(0, 1))
    };
    let state = if op.batch_first {
        vec![batch.clone(), directions.clone(), hidden.clone()]
    } else {
        vec![directions.clone(), batch.clone(), hidden.clone()]
    };
    let gates = op.cell.gates();
    let wanted = [
        (1, vec![directions.clone(), rows(gates), dim(0, 2)]),
        (2, vec![directions.clone(), rows(gates), hidden.clone()]),
        (3, vec![directions.clone(), rows(2 * gates)]),
        (4, vec![batch.clone()]),
        (5, state.clone()),
        (6, state.clone()),
        (7, vec![directions.clone(), rows(3)]),
    ];
    for (input, expected) in wanted {
        let Some(seen) = operands.optional(input).and_then(Fact::dims) else {
            continue;
        };
        let fits = seen.iter().zip(&expected);
        if !fits
            .into_iter()
            .all(|(seen, expected)| equal_dim(seen, expected).is_some())
        {
            return Err(Fault::Shape {
                input,
                seen: ShapeSpec(seen.to_vec()),
                expected: ShapeSpec(expected).to_string(),
            });
        }
    }
    let sequence = if op.batch_first {
        vec![batch, time, directions, hidden]
    } else {
        vec![time, directions, batch, hidden]
    };
    let state = Fact::new(dtype, Some(ShapeSpec(state)));
    let mut facts = vec![Fact::new(dtype, Some(ShapeSpec(sequence))), state.clone()];
    if lstm {
        facts.push(state);
    }
    Ok(facts)
}
