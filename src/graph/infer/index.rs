//! Operators on places of elements: the gathering and scattering ones, `NonZero`, `OneHot`, `Tile` and their like.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::dims::{boundary, equal_dim, mismatch};
use super::operands::{Operands, one};
use crate::graph::{Combine, Fault, Index};

pub(super) fn index(op: Index, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    match op {
        Index::Compress { axis } => compress(axis, operands),
        Index::GatherElements { axis } => gather_elements(axis, operands),
        Index::GatherNd { batch_dims } => gather_nd(batch_dims, operands),
        Index::NonZero => non_zero(operands),
        Index::OneHot { axis } => one_hot(axis, operands),
        Index::ReverseSequence {
            batch_axis,
            time_axis,
        } => reverse_sequence(batch_axis, time_axis, operands),
        Index::ScatterElements { axis, combine } => scatter_elements(axis, combine, operands),
        Index::ScatterNd { combine } => scatter_nd(combine, operands),
        Index::TensorScatter { axis, .. } => tensor_scatter(axis, operands),
        Index::Tile => tile(operands),
        Index::Trilu { .. } => trilu(operands),
    }
}

fn same(data: &Fact) -> Vec<Fact> {
    vec![Fact::new(data.dtype, data.shape.clone())]
}

/// Checks the number of dimensions of an input, where it is known.
fn at_least_dims(operands: Operands<'_>, input: usize, rank: usize) -> Result<(), Fault> {
    match operands
        .optional(input)
        .and_then(|fact| fact.shape.as_ref())
    {
        Some(shape) if shape.rank() < rank => Err(Fault::Shape {
            input,
            seen: shape.clone(),
            expected: format!("at least {rank} dimensions"),
        }),
        _ => Ok(()),
    }
}

fn compress(axis: Option<i64>, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_bool(1)?;
    operands.get(1)?;
    operands.require_rank(1, 1, "")?;
    let data = operands.get(0)?;
    let Some(axis) = axis else {
        return Ok(one(data.dtype, Some(vec![Dim::Any])));
    };
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let mut dims = dims.to_vec();
    let place = super::axis(axis, dims.len(), "axis")?;
    dims[place] = Dim::Any;
    Ok(one(data.dtype, Some(dims)))
}

fn gather_elements(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_index(1)?;
    let (data, indices) = (operands.get(0)?, operands.get(1)?);
    if let Some(dims) = data.dims() {
        super::axis(axis, dims.len(), "axis")?;
        operands.require_rank(1, dims.len(), ", as input 0 has")?;
    }
    Ok(vec![Fact::new(data.dtype, indices.shape.clone())])
}

fn gather_nd(batch_dims: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_index(1)?;
    at_least_dims(operands, 0, 1)?;
    at_least_dims(operands, 1, 1)?;
    let (data, indices) = (operands.get(0)?, operands.get(1)?);
    let (Some(dims), Some([outer @ .., length])) = (data.dims(), indices.dims()) else {
        return Ok(one(data.dtype, None));
    };
    let most = dims.len().min(outer.len());
    let batch = usize::try_from(batch_dims)
        .ok()
        .filter(|&batch| batch <= most)
        .ok_or_else(|| Fault::Parameter {
            parameter: "batch_dims",
            seen: batch_dims.to_string(),
            expected: format!("0 to {most}"),
        })?;
    let Some(length) = length.fixed() else {
        return Ok(one(data.dtype, None));
    };
    let Some(slice) = length
        .checked_add(batch)
        .and_then(|from| dims.get(from..))
        .filter(|_| length > 0)
    else {
        return Err(Fault::Shape {
            input: 1,
            seen: ShapeSpec(indices.dims().unwrap_or_default().to_vec()),
            expected: format!("a last dimension of 1 to {}", dims.len() - batch),
        });
    };
    let mut result = Vec::with_capacity(outer.len() + slice.len());
    for place in 0..outer.len() {
        result.push(if place < batch {
            equal_dim(&outer[place], &dims[place])
                .ok_or_else(|| mismatch(dims, outer, "the batch dimensions are equal"))?
        } else {
            outer[place].clone()
        });
    }
    result.extend_from_slice(slice);
    Ok(one(data.dtype, Some(result)))
}

fn non_zero(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let rank = data.rank().map_or(Dim::Any, Dim::Fixed);
    let count = data.numbers().map_or(Dim::Any, |numbers| {
        Dim::Fixed(numbers.iter().filter(|&&number| number != 0).count())
    });
    Ok(one(Some(DType::I64), Some(vec![rank, count])))
}

fn one_hot(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_number(0)?;
    operands.require_number(1)?;
    let (indices, depth, values) = (operands.get(0)?, operands.get(1)?, operands.get(2)?);
    operands.require_rank(2, 1, "")?;
    let Some(dims) = indices.dims() else {
        return Ok(one(values.dtype, None));
    };
    let known = match depth.contents.as_deref() {
        Some([size]) => size.dim().unwrap_or(Dim::Any),
        _ => Dim::Any,
    };
    let mut dims = dims.to_vec();
    let place = if axis < 0 {
        super::axis(axis, dims.len() + 1, "axis")?
    } else {
        boundary(axis, dims.len(), "axis")?
    };
    dims.insert(place, known);
    Ok(one(values.dtype, Some(dims)))
}

fn reverse_sequence(
    batch_axis: i64,
    time_axis: i64,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_int64(1)?;
    operands.require_rank(1, 1, "")?;
    at_least_dims(operands, 0, 2)?;
    let data = operands.get(0)?;
    operands.get(1)?;
    if !matches!((batch_axis, time_axis), (0, 1) | (1, 0)) {
        return Err(Fault::Parameter {
            parameter: "batch_axis",
            seen: format!("{batch_axis} beside time_axis {time_axis}"),
            expected: "0 and 1, in either order".to_owned(),
        });
    }
    Ok(same(data))
}

/// What can be added, multiplied and compared.
fn require_combinable(combine: Combine, operands: Operands<'_>) -> Result<(), Fault> {
    if combine == Combine::Replace {
        return Ok(());
    }
    operands.require_number(0)
}

fn scatter_elements(
    axis: i64,
    combine: Combine,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_index(1)?;
    operands.common_dtype([0, 2])?;
    require_combinable(combine, operands)?;
    let (data, indices, updates) = (operands.get(0)?, operands.get(1)?, operands.get(2)?);
    if let Some(dims) = data.dims() {
        super::axis(axis, dims.len(), "axis")?;
        operands.require_rank(1, dims.len(), ", as input 0 has")?;
    }
    if let (Some(indices), Some(updates)) = (&indices.shape, &updates.shape)
        && !indices.compatible(updates)
    {
        return Err(mismatch(
            &indices.0,
            &updates.0,
            "there are as many updates as indices",
        ));
    }
    Ok(same(data))
}

fn scatter_nd(combine: Combine, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_index(1)?;
    operands.common_dtype([0, 2])?;
    require_combinable(combine, operands)?;
    at_least_dims(operands, 0, 1)?;
    at_least_dims(operands, 1, 1)?;
    let (data, indices, updates) = (operands.get(0)?, operands.get(1)?, operands.get(2)?);
    if let (Some(dims), Some([outer @ .., length]), Some(written)) =
        (data.dims(), indices.dims(), updates.dims())
        && let Some(length) = length.fixed()
    {
        let slice = dims.get(length..).ok_or_else(|| Fault::Shape {
            input: 1,
            seen: ShapeSpec(indices.dims().unwrap_or_default().to_vec()),
            expected: format!("a last dimension of at most {}", dims.len()),
        })?;
        let expected = ShapeSpec([outer, slice].concat());
        if !expected.compatible(&ShapeSpec(written.to_vec())) {
            return Err(Fault::Shape {
                input: 2,
                seen: ShapeSpec(written.to_vec()),
                expected: expected.to_string(),
            });
        }
    }
    Ok(same(data))
}

fn tensor_scatter(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    operands.require_index(2)?;
    operands.common_dtype([0, 1])?;
    let (cache, update) = (operands.get(0)?, operands.get(1)?);
    if let Some(dims) = cache.dims() {
        let place = super::axis(axis, dims.len(), "axis")?;
        if place == 0 {
            return Err(Fault::Parameter {
                parameter: "axis",
                seen: axis.to_string(),
                expected: "a dimension after the batch".to_owned(),
            });
        }
        if let Some(own) = update.dims() {
            let fits = own.len() == dims.len()
                && (0..dims.len())
                    .all(|at| at == place || equal_dim(&dims[at], &own[at]).is_some());
            if !fits {
                return Err(mismatch(
                    dims,
                    own,
                    "all sizes are equal, but those along the axis",
                ));
            }
        }
    }
    Ok(same(cache))
}

fn tile(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_int64(1)?;
    let data = operands.get(0)?;
    operands.get(1)?;
    let repeats = operands.list(1)?;
    let Some(dims) = data.dims() else {
        let rank = repeats.map(|repeats| repeats.len());
        return Ok(one(data.dtype, rank.map(|rank| vec![Dim::Any; rank])));
    };
    let Some(repeats) = repeats else {
        return Ok(one(data.dtype, Some(vec![Dim::Any; dims.len()])));
    };
    let wrong = || Fault::Parameter {
        parameter: "repeats",
        seen: format!("{repeats:?}"),
        expected: format!("{} numbers of at least 0", dims.len()),
    };
    if repeats.len() != dims.len() {
        return Err(wrong());
    }
    let mut tiled = Vec::with_capacity(dims.len());
    for (dim, &count) in dims.iter().zip(&repeats) {
        let count = usize::try_from(count).map_err(|_| wrong())?;
        tiled.push(match dim.fixed() {
            Some(size) => Dim::Fixed(
                size.checked_mul(count)
                    .ok_or_else(|| super::dims::oversized(dims))?,
            ),
            None if count == 1 => dim.clone(),
            None => Dim::Any,
        });
    }
    Ok(one(data.dtype, Some(tiled)))
}

fn trilu(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 2)?;
    operands.require_int64(1)?;
    at_least_dims(operands, 0, 2)?;
    Ok(same(operands.get(0)?))
}
