//! Operators that make tensors from a few numbers: Range, `EyeLike`, random numbers.

use crate::types::{DType, Dim, ShapeSpec};

use super::operands::{Operands, one};
use super::target::{show, target};
use super::{CONTENTS_MAX, Fact, Size};
use crate::graph::{Distribution, Fault, Random};

/// Inputs: start, limit, delta.
pub(super) fn range(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    for input in 0..3 {
        operands.require_number(input)?;
        let shape = operands.get(input)?.shape.as_ref();
        // A scalar; exporters also write it as a list of one element.
        if let Some(shape) = shape.filter(|shape| shape.0.iter().any(is_not_one)) {
            return Err(Fault::Shape {
                input,
                seen: shape.clone(),
                expected: "a scalar".to_owned(),
            });
        }
    }
    let dtype = operands.common_dtype(0..3)?;
    let element = |input: usize| {
        let contents = operands.optional(input)?.contents.as_ref()?;
        contents.first().cloned()
    };
    let (start, limit, delta) = (element(0), element(1), element(2));
    let (length, contents) = match (start, limit, delta) {
        (Some(Size::Known(start)), Some(Size::Known(limit)), Some(Size::Known(delta))) => {
            let length = steps(start, limit, delta)?;
            (Dim::Fixed(length), elements(start, delta, length))
        }
        (Some(Size::Known(0)), Some(Size::Symbol(limit)), Some(Size::Known(1))) => {
            (Dim::Symbol(limit), None)
        }
        _ => (Dim::Any, None),
    };
    Ok(one(dtype, Some(vec![length]))
        .into_iter()
        .map(|fact| fact.with_contents(contents.clone()))
        .collect())
}

fn is_not_one(dim: &Dim) -> bool {
    dim.fixed().is_some_and(|size| size != 1)
}

fn steps(start: i64, limit: i64, delta: i64) -> Result<usize, Fault> {
    let (distance, delta) = (i128::from(limit) - i128::from(start), i128::from(delta));
    if delta == 0 {
        return Err(Fault::Parameter {
            parameter: "delta",
            seen: "0".to_owned(),
            expected: "a number other than 0".to_owned(),
        });
    }
    let count =
        distance / delta + i128::from(distance % delta != 0 && (distance < 0) == (delta < 0));
    usize::try_from(count.max(0)).map_err(|_| Fault::Oversized {
        shape: format!("[{count}]"),
    })
}

fn elements(start: i64, delta: i64, length: usize) -> Option<Vec<Size>> {
    if length > CONTENTS_MAX {
        return None;
    }
    let count = i64::try_from(length).ok()?;
    (0..count)
        .map(|step| Some(Size::Known(start.checked_add(step.checked_mul(delta)?)?)))
        .collect()
}

pub(super) fn eye_like(dtype: DType, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_rank(0, 2, "")?;
    let dims = operands.get(0)?.dims();
    let dims = dims.map_or_else(|| vec![Dim::Any; 2], <[Dim]>::to_vec);
    Ok(one(Some(dtype), Some(dims)))
}

pub(super) fn random(op: &Random, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    if let Distribution::Classes { samples } = op.distribution {
        operands.require_float(0)?;
        operands.require_rank(0, 2, ": a row of logarithms for each draw")?;
        let rows = operands.get(0)?.dims().and_then(<[Dim]>::first);
        let rows = rows.cloned().unwrap_or(Dim::Any);
        return Ok(one(Some(op.dtype), Some(vec![rows, Dim::Fixed(samples)])));
    }
    let dims = match target(operands, 0)? {
        (_, Some(sizes)) => {
            let dims: Option<Vec<_>> = sizes.iter().map(Size::dim).collect();
            Some(dims.ok_or_else(|| Fault::Parameter {
                parameter: "shape",
                seen: show(&sizes),
                expected: "sizes of at least 0".to_owned(),
            })?)
        }
        (rank, None) => rank.map(|rank| vec![Dim::Any; rank]),
    };
    Ok(vec![Fact::new(Some(op.dtype), dims.map(ShapeSpec))])
}
