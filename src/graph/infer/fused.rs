//! Operators that passes make of several.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::{broadcast, equal_dim, mismatch};
use super::operands::{Operands, one};
use super::{convolution, linear};
use crate::graph::{Fault, FusedConv};

/// Inputs: data, weight, bias?, addend?.
pub(super) fn conv(op: &FusedConv, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 4)?;
    let product = convolution::conv(&op.conv, operands.first(3))?;
    let Some(addend) = operands.optional(3) else {
        return Ok(product);
    };
    let dtype = operands.common_dtype([0, 3])?;
    let dims = match (product[0].dims(), addend.dims()) {
        (Some(product), Some(addend)) => Some(broadcast(product, addend)?),
        _ => None,
    };
    Ok(one(dtype, dims))
}

/// Inputs: data, weight, bias?.
pub(super) fn linear(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_float(0)?;
    operands.require_rank(1, 2, "")?;
    operands.require_rank(2, 1, ", one element per column of the weight")?;
    let dtype = operands.common_dtype(0..3)?;
    let product = linear::matmul(operands.first(2))?;
    let dims = product[0].dims().map(<[Dim]>::to_vec);
    let bias = operands.optional(2).and_then(Fact::dims);
    if let (Some(dims), Some([size])) = (&dims, bias)
        && let Some(columns) = dims.last()
        && equal_dim(columns, size).is_none()
    {
        let seen = ShapeSpec(vec![size.clone()]);
        let expected = format!("[{columns}], one element per column of the weight");
        return Err(Fault::Shape {
            input: 2,
            seen,
            expected,
        });
    }
    Ok(one(dtype, dims))
}

/// Inputs: q, k, v, mask?.
pub(super) fn attention(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 4)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype(0..3)?;
    if let (Some(seen), Some(expected)) = (
        operands.optional(3).and_then(|mask| mask.dtype),
        operands.get(0)?.dtype,
    ) && seen != DType::Bool
        && seen != expected
    {
        let expected = format!("BOOL, or {expected} as input 0 is");
        return Err(Fault::DType {
            input: 3,
            seen,
            expected,
        });
    }
    let dims = [0, 1, 2].map(|input| operands.get(input).map(Fact::dims));
    let [query, key, value] = dims;
    let (Some(query), Some(key), Some(value)) = (query?, key?, value?) else {
        return Ok(one(dtype, None));
    };
    let (
        [query_batch @ .., rows, width],
        [key_batch @ .., columns, key_width],
        [value_batch @ .., value_rows, value_width],
    ) = (query, key, value)
    else {
        let rule = "each has two dimensions at least";
        return Err(mismatch(query, key, rule));
    };
    if equal_dim(width, key_width).is_none() {
        let rule = "queries are as wide as keys";
        return Err(mismatch(query, key, rule));
    }
    if equal_dim(columns, value_rows).is_none() {
        let rule = "there are as many keys as values";
        return Err(mismatch(key, value, rule));
    }
    let mut dims = broadcast(&broadcast(query_batch, key_batch)?, value_batch)?;
    dims.extend([rows.clone(), value_width.clone()]);
    Ok(one(dtype, Some(dims)))
}
