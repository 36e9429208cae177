//! Operators that read images between their elements, from files, or in regions.

use crate::types::{DType, Dim, ShapeSpec};

use super::operands::{Operands, one};
use super::{Fact, Size};
use crate::graph::{Aspect, Fault, PixelFormat, Resize, RoiAlign};

/// Inputs: data, region?, scales?, sizes?.
pub(super) fn resize(op: &Resize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 4)?;
    operands.require_number(0)?;
    for input in 1..3 {
        operands.require_float(input)?;
        operands.require_rank(input, 1, ", a list")?;
    }
    operands.require_int64(3)?;
    let data = operands.get(0)?;
    let sizes = operands
        .optional(3)
        .filter(|_| operands.list_length(3) != Some(0));
    if op.scales.is_empty() && operands.optional(2).is_none() && sizes.is_none() {
        return Err(Fault::NoInput { input: 2 });
    }
    check_scales(&op.scales)?;
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let axes = axes(op.axes.as_deref(), dims.len())?;
    let count = |parameter: &'static str, length: usize| {
        if length == axes.len() {
            return Ok(());
        }
        Err(Fault::Parameter {
            parameter,
            seen: format!("a list of {length}"),
            expected: format!("{} numbers, one for each axis", axes.len()),
        })
    };
    let mut resized = dims.to_vec();
    if !op.scales.is_empty() {
        count("scales", op.scales.len())?;
        for (&axis, &scale) in axes.iter().zip(&op.scales) {
            resized[axis] =
                scaled(&dims[axis], scale).ok_or_else(|| super::dims::oversized(dims))?;
        }
    } else if let Some(sizes) = sizes {
        if let Some(length) = operands.list_length(3) {
            count("sizes", length)?;
        }
        let fitted = fitted(op.aspect, dims, &axes, sizes.contents.as_deref())?;
        for (&axis, size) in axes.iter().zip(fitted) {
            resized[axis] = size;
        }
    } else {
        for &axis in &axes {
            resized[axis] = Dim::Any;
        }
    }
    Ok(one(data.dtype, Some(resized)))
}

fn check_scales(scales: &[f32]) -> Result<(), Fault> {
    if scales.iter().all(|&scale| scale > 0.0 && scale.is_finite()) {
        return Ok(());
    }
    Err(Fault::Parameter {
        parameter: "scales",
        seen: format!("{scales:?}"),
        expected: "positive factors".to_owned(),
    })
}

/// Returns positions in the order given, which pairs them with scales and sizes.
fn axes(axes: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, Fault> {
    let Some(axes) = axes else {
        return Ok((0..rank).collect());
    };
    super::dims::axes(axes, rank)?;
    axes.iter()
        .map(|&axis| super::axis(axis, rank, "axes"))
        .collect()
}

/// Multiplies a size as ONNX does, in FP32, and rounds down; `None` if the product is no size.
fn scaled(dim: &Dim, scale: f32) -> Option<Dim> {
    let Some(size) = dim.fixed() else {
        return Some(if scale == 1.0 { dim.clone() } else { Dim::Any });
    };
    #[expect(clippy::cast_precision_loss, reason = "the rule")]
    let product = size as f32 * scale;
    (product < usize::MAX as f32).then_some(Dim::Fixed(product as usize))
}

/// Returns the sizes of the axes: those given, or the closest that keep their ratio.
fn fitted(
    aspect: Aspect,
    dims: &[Dim],
    axes: &[usize],
    sizes: Option<&[Size]>,
) -> Result<Vec<Dim>, Fault> {
    let Some(sizes) = sizes else {
        return Ok(vec![Dim::Any; axes.len()]);
    };
    let given = sizes.iter().map(Size::dim).collect::<Option<Vec<_>>>();
    let given = given.ok_or_else(|| Fault::Parameter {
        parameter: "sizes",
        seen: format!("{:?}", sizes.iter().map(Size::known).collect::<Vec<_>>()),
        expected: "sizes of at least 0".to_owned(),
    })?;
    if aspect == Aspect::Stretch {
        return Ok(given);
    }
    let pairs: Option<Vec<(usize, usize)>> = axes
        .iter()
        .zip(&given)
        .map(|(&axis, size)| dims[axis].fixed().zip(size.fixed()))
        .collect();
    Ok(match pairs {
        Some(pairs) => aspect.fitted(&pairs).into_iter().map(Dim::Fixed).collect(),
        None => vec![Dim::Any; axes.len()],
    })
}

/// Returns dimension `place` of an input, open where it is not known.
fn dim(operands: Operands<'_>, input: usize, place: usize) -> Result<Dim, Fault> {
    let dims = operands.get(input)?.dims();
    Ok(dims
        .and_then(|dims| dims.get(place))
        .cloned()
        .unwrap_or(Dim::Any))
}

/// Inputs: data, places.
pub(super) fn grid_sample(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_number(0)?;
    operands.require_float(1)?;
    let (data, grid) = (operands.get(0)?, operands.get(1)?);
    let Some(rank) = data.rank().or(grid.rank()) else {
        return Ok(one(data.dtype, None));
    };
    let spatial = rank.saturating_sub(2);
    let fits = data
        .rank()
        .is_none_or(|rank| grid.rank().is_none_or(|other| other == rank))
        && (1..=3).contains(&spatial)
        && dim(operands, 1, rank - 1)?
            .fixed()
            .is_none_or(|size| size == spatial);
    let Some(batch) =
        super::dims::equal_dim(&dim(operands, 0, 0)?, &dim(operands, 1, 0)?).filter(|_| fits)
    else {
        let none = ShapeSpec::default();
        let shape = |fact: &Fact| fact.shape.clone().unwrap_or_else(|| none.clone()).0;
        return Err(super::dims::mismatch(
            &shape(data),
            &shape(grid),
            "data [batch, channels, 1 to 3 sizes] goes with places [batch, as many sizes, their number]",
        ));
    };
    let mut dims = vec![batch, dim(operands, 0, 1)?];
    for place in 1..=spatial {
        dims.push(dim(operands, 1, place)?);
    }
    Ok(one(data.dtype, Some(dims)))
}

/// Inputs: matrices, shape of the image: batch, channels, two or three sizes.
pub(super) fn affine_grid(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_float(0)?;
    operands.require_rank(0, 3, ": batch, rows, columns")?;
    operands.require_int64(1)?;
    operands.list(1)?;
    let dtype = operands.get(0)?.dtype;
    let size = operands.get(1)?;
    let length = operands.list_length(1);
    if length.is_some_and(|length| !matches!(length, 4 | 5)) {
        return Err(Fault::Parameter {
            parameter: "size",
            seen: format!("a list of {}", length.unwrap_or_default()),
            expected: "4 or 5 sizes: batch, channels, two or three spatial ones".to_owned(),
        });
    }
    let Some(length) = length else {
        return Ok(one(dtype, None));
    };
    let at = |place: usize| {
        let contents = size.contents.as_deref()?;
        contents.get(place)?.dim()
    };
    let mut dims = vec![at(0).unwrap_or(Dim::Any)];
    dims.extend((2..length).map(|place| at(place).unwrap_or(Dim::Any)));
    dims.push(Dim::Fixed(length - 2));
    Ok(one(dtype, Some(dims)))
}

/// Inputs: data, regions, batch indices.
pub(super) fn roi_align(op: &RoiAlign, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_float(0)?;
    let dtype = operands.common_dtype(0..2)?;
    operands.require_int64(2)?;
    operands.require_rank(0, 4, ": batch, channels, height, width")?;
    operands.require_rank(1, 2, ": regions, four numbers each")?;
    operands.require_rank(2, 1, ", one index per region")?;
    let (regions, indices) = (dim(operands, 1, 0)?, dim(operands, 2, 0)?);
    let Some(count) = super::dims::equal_dim(&regions, &indices) else {
        return Err(super::dims::mismatch(
            operands.get(1)?.dims().unwrap_or_default(),
            operands.get(2)?.dims().unwrap_or_default(),
            "there is one batch index for each region",
        ));
    };
    let [height, width] = op.size.map(Dim::Fixed);
    Ok(one(
        dtype,
        Some(vec![count, dim(operands, 0, 1)?, height, width]),
    ))
}

/// Inputs: boxes, scores, count per class?, greatest overlap?, least score?.
pub(super) fn non_max_suppression(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 5)?;
    for input in [0, 1, 3, 4] {
        operands.require_float(input)?;
    }
    operands.require_int64(2)?;
    operands.require_rank(0, 3, ": batch, boxes, four numbers")?;
    operands.require_rank(1, 3, ": batch, classes, boxes")?;
    let fits = |left: (usize, usize), right: (usize, usize)| -> Result<bool, Fault> {
        let (left, right) = (
            dim(operands, left.0, left.1)?,
            dim(operands, right.0, right.1)?,
        );
        Ok(super::dims::equal_dim(&left, &right).is_some())
    };
    let four = dim(operands, 0, 2)?.fixed().is_none_or(|size| size == 4);
    if !four || !fits((0, 0), (1, 0))? || !fits((0, 1), (1, 2))? {
        return Err(super::dims::mismatch(
            operands.get(0)?.dims().unwrap_or_default(),
            operands.get(1)?.dims().unwrap_or_default(),
            "boxes [batch, boxes, 4] go with scores [batch, classes, boxes]",
        ));
    }
    Ok(one(Some(DType::I64), Some(vec![Dim::Any, Dim::Fixed(3)])))
}

/// Input: the bytes of a file.
pub(super) fn image_decoder(
    format: PixelFormat,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require(0, |dtype| dtype == DType::U8, "UINT8")?;
    operands.require_rank(0, 1, ", the bytes of a file")?;
    operands.get(0)?;
    let channels = match format {
        PixelFormat::Rgb | PixelFormat::Bgr => 3,
        PixelFormat::Grayscale => 1,
    };
    let dims = vec![Dim::Any, Dim::Any, Dim::Fixed(channels)];
    Ok(one(Some(DType::U8), Some(dims)))
}
