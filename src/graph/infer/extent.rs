//! Operators that change the spatial extent of an image: Pad, CenterCropPad, DepthToSpace, SpaceToDepth.

use crate::types::{Dim, ShapeSpec};

use super::Fact;
use super::operands::{Operands, one};
use crate::graph::Fault;

/// Inputs: data, pads, value?, axes?.
pub(super) fn pad(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 4)?;
    operands.require_int64(1)?;
    let dtype = operands.common_dtype([0, 2])?;
    let pads = operands.list(1)?;
    let axes = operands.list(3)?;
    let Some(dims) = operands.get(0)?.dims() else {
        return Ok(one(dtype, None));
    };
    let axes = match (operands.optional(3), axes) {
        (None, _) => Some((0..dims.len()).collect()),
        (Some(_), Some(axes)) => {
            // In the order given: it pairs them with the pads.
            super::dims::axes(&axes, dims.len())?;
            Some(
                axes.iter()
                    .map(|&axis| super::axis(axis, dims.len(), "axes"))
                    .collect::<Result<Vec<_>, _>>()?,
            )
        }
        (Some(_), None) => None,
    };
    let (Some(pads), Some(axes)) = (pads, axes) else {
        return Ok(one(dtype, Some(vec![Dim::Any; dims.len()])));
    };
    let wrong = |expected: String| Fault::Parameter {
        parameter: "pads",
        seen: format!("{pads:?}"),
        expected,
    };
    if pads.len() != 2 * axes.len() {
        return Err(wrong(format!(
            "{} numbers, two for each dimension",
            2 * axes.len()
        )));
    }
    let mut padded = dims.to_vec();
    for (place, &axis) in axes.iter().enumerate() {
        let change = i128::from(pads[place]) + i128::from(pads[axes.len() + place]);
        padded[axis] = match &dims[axis] {
            dim if change == 0 => dim.clone(),
            Dim::Fixed(size) => usize::try_from(*size as i128 + change)
                .map(Dim::Fixed)
                .map_err(|_| {
                    wrong(format!(
                        "no more cropping than dimension {axis} of size {size} has"
                    ))
                })?,
            Dim::Symbol(_) | Dim::Any => Dim::Any,
        };
    }
    Ok(one(dtype, Some(padded)))
}

/// Inputs: data, sizes.
pub(super) fn center_crop_pad(
    axes: Option<&[i64]>,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_index(1)?;
    let data = operands.get(0)?;
    let sizes = operands.list(1)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let axes: Vec<usize> = match axes {
        Some(axes) => {
            super::dims::axes(axes, dims.len())?;
            axes.iter()
                .map(|&axis| super::axis(axis, dims.len(), "axes"))
                .collect::<Result<_, _>>()?
        }
        None => (0..dims.len()).collect(),
    };
    let mut dims = dims.to_vec();
    if operands
        .list_length(1)
        .is_some_and(|length| length != axes.len())
        || sizes.iter().flatten().any(|&size| size < 0)
    {
        return Err(Fault::Parameter {
            parameter: "shape",
            seen: match sizes {
                Some(sizes) => format!("{sizes:?}"),
                None => format!("a list of {}", operands.list_length(1).unwrap_or_default()),
            },
            expected: format!("{} sizes of at least 0", axes.len()),
        });
    }
    let contents = operands.get(1)?.contents.as_deref();
    for (place, &axis) in axes.iter().enumerate() {
        let size = contents.and_then(|sizes| sizes.get(place)?.dim());
        dims[axis] = size.unwrap_or(Dim::Any);
    }
    Ok(one(data.dtype, Some(dims)))
}

/// Returns the four sizes of an image.
fn image(data: &Fact) -> Result<Option<&[Dim; 4]>, Fault> {
    let Some(dims) = data.dims() else {
        return Ok(None);
    };
    dims.try_into().map(Some).map_err(|_| Fault::Shape {
        input: 0,
        seen: ShapeSpec(dims.to_vec()),
        expected: "4 dimensions: batch, channels, height, width".to_owned(),
    })
}

/// Divides a size; one that is not known stays so.
fn divided(data: &[Dim; 4], place: usize, by: usize) -> Result<Dim, Fault> {
    match data[place].fixed() {
        Some(size) if by > 0 && size.is_multiple_of(by) => Ok(Dim::Fixed(size / by)),
        Some(_) => Err(Fault::Shape {
            input: 0,
            seen: ShapeSpec(data.to_vec()),
            expected: format!("a multiple of {by} in dimension {place}"),
        }),
        None => Ok(Dim::Any),
    }
}

fn multiplied(data: &[Dim; 4], place: usize, by: usize) -> Result<Dim, Fault> {
    match data[place].fixed() {
        Some(size) => size
            .checked_mul(by)
            .map(Dim::Fixed)
            .ok_or_else(|| super::dims::oversized(data)),
        None => Ok(Dim::Any),
    }
}

fn square(block: usize) -> Result<usize, Fault> {
    block.checked_mul(block).ok_or_else(|| Fault::Parameter {
        parameter: "blocksize",
        seen: block.to_string(),
        expected: "the side of a block".to_owned(),
    })
}

pub(super) fn depth_to_space(block: usize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    exchange(operands, |dims| {
        Ok(vec![
            dims[0].clone(),
            divided(dims, 1, square(block)?)?,
            multiplied(dims, 2, block)?,
            multiplied(dims, 3, block)?,
        ])
    })
}

pub(super) fn space_to_depth(block: usize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    exchange(operands, |dims| {
        Ok(vec![
            dims[0].clone(),
            multiplied(dims, 1, square(block)?)?,
            divided(dims, 2, block)?,
            divided(dims, 3, block)?,
        ])
    })
}

/// Elements of images that move between channels and the plane; `exchanged` takes four sizes.
fn exchange(
    operands: Operands<'_>,
    exchanged: impl FnOnce(&[Dim; 4]) -> Result<Vec<Dim>, Fault>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let shape = match image(data)? {
        Some(dims) => exchanged(dims)?,
        None => vec![Dim::Any; 4],
    };
    Ok(one(data.dtype, Some(shape)))
}
