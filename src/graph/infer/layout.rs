//! Operators that move dimensions: Flatten, Transpose, Squeeze, Unsqueeze, Shape, Size, Cast, Identity.

use crate::types::{DType, Dim, RANK_MAX, ShapeSpec};

use super::dims::{Product, axes, boundary};
use super::operands::{Operands, one};
use super::{Fact, Size};
use crate::graph::Fault;

pub(super) fn identity(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    Ok(vec![operands.get(0)?.clone()])
}

pub(super) fn cast(to: DType, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let contents = match to {
        DType::I64 => data.contents.clone(),
        DType::Bool => data.contents.as_ref().map(|contents| {
            let truth = |size: &Size| size.known().map(|value| i64::from(value != 0));
            let truths = contents.iter().map(truth);
            truths
                .map(|truth| truth.map_or(Size::Unknown, Size::Known))
                .collect()
        }),
        DType::I32 => data.contents.clone().filter(|contents| {
            contents.iter().all(|size| {
                size.known()
                    .is_none_or(|value| i32::try_from(value).is_ok())
            })
        }),
        _ => None,
    };
    Ok(vec![
        Fact::new(Some(to), data.shape.clone()).with_contents(contents),
    ])
}

pub(super) fn bit_cast(to: DType, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    if let Some(seen) = data.dtype
        && (seen.bits() != to.bits() || to.bits().is_none())
    {
        let expected = match to.bits() {
            Some(bits) => format!("a datatype of {bits} bits as {to} has"),
            None => "numbers, as strings have no bits of a known number".to_owned(),
        };
        return Err(Fault::DType {
            input: 0,
            seen,
            expected,
        });
    }
    Ok(vec![Fact::new(Some(to), data.shape.clone())])
}

/// The number of elements; a scalar.
pub(super) fn size(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let size = match operands.get(0)?.dims() {
        Some(dims) => Size::from(&Product::of(dims)?.dim()),
        None => Size::Unknown,
    };
    Ok(one(Some(DType::I64), Some(Vec::new()))
        .into_iter()
        .map(|fact| fact.with_contents(Some(vec![size.clone()])))
        .collect())
}

pub(super) fn flatten(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, Some(vec![Dim::Any; 2])));
    };
    let (rows, columns) = dims.split_at(boundary(axis, dims.len(), "axis")?);
    let dims = vec![Product::of(rows)?.dim(), Product::of(columns)?.dim()];
    Ok(one(data.dtype, Some(dims)))
}

pub(super) fn transpose(
    permutation: Option<&[usize]>,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let wrong = |rank: usize| Fault::Parameter {
        parameter: "perm",
        seen: format!("{permutation:?}"),
        expected: format!("each of the {rank} dimensions once"),
    };
    if let Some(permutation) = permutation {
        let mut sorted = permutation.to_vec();
        sorted.sort_unstable();
        if sorted
            .iter()
            .enumerate()
            .any(|(place, &axis)| place != axis)
        {
            return Err(wrong(permutation.len()));
        }
    }
    let dims = match (data.dims(), permutation) {
        (Some(dims), Some(permutation)) if dims.len() != permutation.len() => {
            return Err(wrong(dims.len()));
        }
        (Some(dims), Some(permutation)) => {
            Some(permutation.iter().map(|&axis| dims[axis].clone()).collect())
        }
        (Some(dims), None) => Some(dims.iter().rev().cloned().collect()),
        (None, permutation) => permutation.map(|permutation| vec![Dim::Any; permutation.len()]),
    };
    Ok(one(data.dtype, dims))
}

/// Inputs: data, axes?.
pub(super) fn squeeze(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 2)?;
    operands.require_int64(1)?;
    let data = operands.get(0)?;
    let listed = operands.list(1)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let gone = match (operands.optional(1), listed) {
        (Some(_), Some(values)) => axes(&values, dims.len())?,
        (None, _) if dims.iter().all(|dim| dim.fixed().is_some()) => (0..dims.len())
            .filter(|&place| dims[place] == Dim::Fixed(1))
            .collect(),
        _ => {
            let rank = operands
                .list_length(1)
                .and_then(|count| dims.len().checked_sub(count));
            return Ok(one(data.dtype, rank.map(|rank| vec![Dim::Any; rank])));
        }
    };
    if let Some(&place) = gone
        .iter()
        .find(|&&place| dims[place].fixed().is_some_and(|size| size != 1))
    {
        return Err(Fault::Shape {
            input: 0,
            seen: ShapeSpec(dims.to_vec()),
            expected: format!("size 1 in dimension {place}, which is squeezed"),
        });
    }
    let kept = dims
        .iter()
        .enumerate()
        .filter(|(place, _)| !gone.contains(place));
    let kept = ShapeSpec(kept.map(|(_, dim)| dim.clone()).collect());
    Ok(vec![
        Fact::new(data.dtype, Some(kept)).with_contents(data.contents.clone()),
    ])
}

/// Inputs: data, axes.
pub(super) fn unsqueeze(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_int64(1)?;
    let data = operands.get(0)?;
    operands.get(1)?;
    let listed = operands.list(1)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let Some(values) = listed else {
        let rank = operands
            .list_length(1)
            .filter(|&count| count <= RANK_MAX)
            .map(|count| count + dims.len());
        return Ok(one(data.dtype, rank.map(|rank| vec![Dim::Any; rank])));
    };
    let rank = dims.len() + values.len();
    let new = axes(&values, rank)?;
    let mut old = dims.iter().cloned();
    let dims = (0..rank)
        .map(|place| {
            if new.contains(&place) {
                Dim::Fixed(1)
            } else {
                old.next().unwrap_or(Dim::Any)
            }
        })
        .collect();
    Ok(vec![
        Fact::new(data.dtype, Some(ShapeSpec(dims))).with_contents(data.contents.clone()),
    ])
}

/// The sizes of the dimensions `start..end`; both are clamped.
pub(super) fn shape(
    start: i64,
    end: Option<i64>,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let Some(dims) = operands.get(0)?.dims() else {
        return Ok(one(Some(DType::I64), Some(vec![Dim::Any])));
    };
    let rank = i64::try_from(dims.len()).unwrap_or(i64::MAX);
    let clamp = |value: i64| {
        let value = if value < 0 {
            value.saturating_add(rank)
        } else {
            value
        };
        usize::try_from(value.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (clamp(start), clamp(end.unwrap_or(rank)));
    let sizes: Vec<_> = dims
        .get(start..end)
        .unwrap_or_default()
        .iter()
        .map(Size::from)
        .collect();
    let shape = ShapeSpec::fixed(&[sizes.len()]);
    Ok(vec![
        Fact::new(Some(DType::I64), Some(shape)).with_contents(Some(sizes)),
    ])
}
