//! Products of matrices.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::dims::{broadcast, broadcast_dim, equal_dim, mismatch};
use super::operands::{Operands, one};
use crate::graph::Fault;

pub(super) fn matmul(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_number(0)?;
    let dtype = operands.common_dtype([0, 1])?;
    let (left, right) = (operands.get(0)?, operands.get(1)?);
    let (Some(left), Some(right)) = (left.dims(), right.dims()) else {
        return Ok(one(dtype, None));
    };
    let wrong = || {
        mismatch(
            left,
            right,
            "the first has as many columns as the second has rows",
        )
    };
    let (Some((inner, left_rest)), false) = (left.split_last(), right.is_empty()) else {
        return Err(wrong());
    };
    // A list counts as a row on the left and as a column on the right; the dimension it lacks is not in the result.
    let (rows, left_batch) = match left_rest.split_last() {
        Some((rows, batch)) => (Some(rows), batch),
        None => (None, left_rest),
    };
    let (right_batch, other_inner, columns) = match right {
        [batch @ .., inner, columns] => (batch, inner, Some(columns)),
        [inner] => (&[][..], inner, None),
        [] => return Err(wrong()),
    };
    if equal_dim(inner, other_inner).is_none() {
        return Err(wrong());
    }
    let mut dims = broadcast(left_batch, right_batch)?;
    dims.extend(rows.cloned());
    dims.extend(columns.cloned());
    Ok(one(dtype, Some(dims)))
}

pub(super) fn gemm(
    transpose_a: bool,
    transpose_b: bool,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_number(0)?;
    let dtype = operands.common_dtype(0..3)?;
    operands.require_rank(0, 2, "")?;
    operands.require_rank(1, 2, "")?;
    let sides = |fact: &Fact, transposed: bool| match fact.dims() {
        Some([rows, columns]) if transposed => (columns.clone(), rows.clone()),
        Some([rows, columns]) => (rows.clone(), columns.clone()),
        _ => (Dim::Any, Dim::Any),
    };
    let (a, b) = (operands.get(0)?, operands.get(1)?);
    let (rows, inner) = sides(a, transpose_a);
    let (other_inner, columns) = sides(b, transpose_b);
    if equal_dim(&inner, &other_inner).is_none() {
        let rule = "the first, transposed if transA, has as many columns as the second, transposed if transB, has rows";
        return Err(mismatch(
            a.dims().unwrap_or_default(),
            b.dims().unwrap_or_default(),
            rule,
        ));
    }
    let product = [rows, columns];
    if let Some(addend) = operands.optional(2).and_then(Fact::dims) {
        let wrong = || mismatch(&product, addend, "the addend broadcasts to the product");
        if addend.len() > 2 {
            return Err(wrong());
        }
        for (size, added) in product.iter().rev().zip(addend.iter().rev()) {
            let fits = match (size, added) {
                (Dim::Fixed(size), Dim::Fixed(added)) => added == size || *added == 1,
                _ => broadcast_dim(size.clone(), added.clone()).is_some(),
            };
            if !fits {
                return Err(wrong());
            }
        }
    }
    Ok(one(dtype, Some(product.to_vec())))
}

/// Determinants: the last two dimensions are those of a square.
pub(super) fn det(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    match dims {
        [batch @ .., rows, columns] if equal_dim(rows, columns).is_some() => {
            Ok(one(data.dtype, Some(batch.to_vec())))
        }
        _ => Err(Fault::Shape {
            input: 0,
            seen: ShapeSpec(dims.to_vec()),
            expected: "square matrices in the last two dimensions".to_owned(),
        }),
    }
}
