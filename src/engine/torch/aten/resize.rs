//! Images of another size.
//!
//! One kernel of libtorch where it has the operator just so; otherwise one dimension after another, as a sum of picked
//! elements with weights.

use tch::{Kind, Tensor};

use crate::graph::{Coordinates, Interpolation, Resize, Rounding};

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar;
use super::args::{Args, Integers, Kernel, axis_of, is_integer, signed};
use super::bounds::checked;
use super::context::NodeContext;
use super::coordinates::Along;

/// `test_resize_…`, all of them, and `test_upsample_nearest`
pub(super) fn resize(context: &NodeContext<'_>, op: &Resize) -> Result<Kernel, Cause> {
    let op = op.clone();
    let sizes = context.integers(3)?;
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let mut all = changes(&op, &sizes, args, &x.size())?;
        let mut shape = x.size();
        for along in &all {
            shape[along.axis] = along.output;
        }
        let shape = checked(shape)?;
        all.retain(|along| !along.is_identity(op.coordinates));
        if all.is_empty() {
            return Ok(x.shallow_clone().into());
        }
        if shape.contains(&0) {
            return Ok(Tensor::f_empty(shape, (x.f_kind()?, x.device()))?.into());
        }
        if let Some(along) = all.iter().find(|along| along.input == 0) {
            return Err(Cause::new(format!(
                "dimension {} is empty: nothing to resize",
                along.axis
            )));
        }
        if let Some(result) = fused(&op, x, &all)? {
            return Ok(result.into());
        }
        if let Interpolation::Nearest(rounding) = op.interpolation {
            return Ok(nearest(&op, rounding, x, &all)?.into());
        }
        let kind = x.f_kind()?;
        let wide = match kind {
            Kind::Double | Kind::Float => kind,
            Kind::Half | Kind::BFloat16 => Kind::Float,
            _ => Kind::Double,
        };
        let mut result = x.f_totype(wide)?;
        for along in &all {
            result = interpolated(&op, &result, along)?;
        }
        Ok(narrowed(&result, kind)?.into())
    }))
}

/// Finds how each axis changes.
fn changes(
    op: &Resize,
    sizes: &Integers,
    args: &Args<'_>,
    shape: &[i64],
) -> Result<Vec<Along>, Cause> {
    let rank = shape.len();
    let axes: Vec<usize> = match &op.axes {
        Some(axes) => axes
            .iter()
            .map(|&axis| axis_of(axis, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    let counted = |name: &str, length: usize| {
        if length == axes.len() {
            return Ok(());
        }
        Err(Cause::new(format!(
            "{name} has {length} numbers for {} axes",
            axes.len()
        )))
    };
    let region = match args.optional(1)? {
        Some(region) if op.coordinates == Coordinates::CropAndResize => {
            let region = numbers(region)?;
            counted("roi", region.len() / 2)?;
            region
        }
        _ => [vec![0.0; axes.len()], vec![1.0; axes.len()]].concat(),
    };
    let of = |place: usize, output: i64, scale: f64, length: f64| Along {
        axis: axes[place],
        input: shape[axes[place]],
        output,
        scale,
        length,
        region: (region[place], region[axes.len() + place]),
    };
    if let Some(sizes) = sizes.read(args)?.filter(|sizes| !sizes.is_empty()) {
        counted("sizes", sizes.len())?;
        let pairs: Option<Vec<(usize, usize)>> = axes
            .iter()
            .zip(sizes.iter())
            .map(|(&axis, &size)| {
                usize::try_from(shape[axis])
                    .ok()
                    .zip(usize::try_from(size).ok())
            })
            .collect();
        let pairs = pairs.ok_or_else(|| Cause::new(format!("sizes {sizes:?} are no sizes")))?;
        let common = op.aspect.factor(&pairs);
        let fitted = op.aspect.fitted(&pairs);
        let changes = pairs.iter().zip(fitted).enumerate();
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let change = |(place, (&(size, _), fitted)): (usize, (&(usize, usize), usize))| {
            let length = fitted as f64;
            let scale = common.unwrap_or(length / size.max(1) as f64);
            of(place, signed(fitted), scale, length)
        };
        return Ok(changes.map(change).collect());
    }
    let scales = match op.scales.as_slice() {
        [] => numbers(args.tensor(2)?)?,
        known => known.iter().copied().map(f64::from).collect(),
    };
    counted("scales", scales.len())?;
    if let Some(scale) = scales
        .iter()
        .find(|&&scale| !(scale > 0.0 && scale.is_finite()))
    {
        return Err(Cause::new(format!("scale {scale} is not positive")));
    }
    let change = |(place, &scale): (usize, &f64)| {
        let size = shape[axes[place]];
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let length = size as f64 * scale;
        of(place, product(size, scale), scale, length)
    };
    Ok(scales.iter().enumerate().map(change).collect())
}

/// Multiplies a size as ONNX does, in FP32, and rounds down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the rule; a cast saturates"
)]
fn product(size: i64, scale: f64) -> i64 {
    (size as f32 * scale as f32) as i64
}

fn numbers(list: &Tensor) -> Result<Vec<f64>, Cause> {
    let list = list
        .f_totype(Kind::Double)?
        .f_reshape([-1])?
        .f_contiguous()?;
    let mut values = vec![0.0_f64; list.numel()];
    let count = values.len();
    list.f_copy_data(&mut values, count)?;
    Ok(values)
}

/// Runs the kernel that libtorch has for images whose last two dimensions change, if it has one.
fn fused(op: &Resize, x: &Tensor, all: &[Along]) -> Result<Option<Tensor>, Cause> {
    let shape = x.size();
    let image = shape.len() == 4 && all.iter().all(|along| along.axis >= 2);
    if !image || is_integer(x)? {
        return Ok(None);
    }
    let of = |axis: usize| {
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
        let unchanged = Along {
            axis,
            input: shape[axis],
            output: shape[axis],
            scale: 1.0,
            length: shape[axis] as f64,
            region: (0.0, 1.0),
        };
        all.iter()
            .find(|along| along.axis == axis)
            .copied()
            .unwrap_or(unchanged)
    };
    let both = [of(2), of(3)];
    let size = both.map(|along| along.output);
    if let Interpolation::Nearest(rounding) = op.interpolation {
        let same = both.iter().all(|along| {
            op.coordinates != Coordinates::CropAndResize
                && along.nearest(op.coordinates, rounding) == picked(along)
        });
        return Ok(match same {
            true => Some(x.f_upsample_nearest2d(size, None, None)?),
            false => None,
        });
    }
    let rounded = both.iter().any(Along::is_rounded);
    let single = size.contains(&1);
    let align_corners = match op.coordinates {
        Coordinates::HalfPixel => false,
        Coordinates::HalfPixelSymmetric if !rounded => false,
        Coordinates::PytorchHalfPixel if !single => false,
        Coordinates::AlignCorners if !rounded => true,
        _ => return Ok(None),
    };
    if op.antialias || op.exclude_outside {
        return Ok(None);
    }
    let [height, width] = both.map(|along| along.scale);
    Ok(match op.interpolation {
        Interpolation::Linear => {
            Some(x.f_upsample_bilinear2d(size, align_corners, height, width)?)
        }
        Interpolation::Cubic { coefficient: -0.75 } => {
            Some(x.f_upsample_bicubic2d(size, align_corners, height, width)?)
        }
        _ => None,
    })
}

/// The elements that libtorch's nearest neighbour picks, which it calculates in FP32.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as libtorch does"
)]
fn picked(along: &Along) -> Vec<i64> {
    let ratio = along.input as f32 / along.output as f32;
    (0..along.output)
        .map(|index| ((index as f32 * ratio) as i64).min(along.input - 1))
        .collect()
}

fn nearest(op: &Resize, rounding: Rounding, x: &Tensor, all: &[Along]) -> Result<Tensor, Cause> {
    let mut result = x.shallow_clone();
    for along in all {
        let places = Tensor::f_from_slice(&along.nearest(op.coordinates, rounding))?;
        result = result.f_index_select(signed(along.axis), &beside(&places, x)?)?;
        result = extrapolated(op, result, along)?;
    }
    Ok(result)
}

fn interpolated(op: &Resize, x: &Tensor, along: &Along) -> Result<Tensor, Cause> {
    let taps = along.taps(op);
    let mut shape = vec![1; x.dim()];
    shape[along.axis] = along.output;
    let mut sum: Option<Tensor> = None;
    for (places, weights) in taps.places.iter().zip(&taps.weights) {
        if weights.iter().all(|&weight| weight == 0.0) {
            continue;
        }
        let weights = Tensor::f_from_slice(weights)?
            .f_totype(x.f_kind()?)?
            .f_reshape(&shape[..])?;
        let places = beside(&Tensor::f_from_slice(places)?, x)?;
        let part = x
            .f_index_select(signed(along.axis), &places)?
            .f_mul(&beside(&weights, x)?)?;
        sum = Some(match sum {
            Some(mut sum) => sum.f_add_(&part)?,
            None => part,
        });
    }
    let sum = sum.ok_or_else(|| Cause::new("no element has a weight"))?;
    extrapolated(op, sum, along)
}

/// Fills in what lies outside of the data.
fn extrapolated(op: &Resize, x: Tensor, along: &Along) -> Result<Tensor, Cause> {
    if op.coordinates != Coordinates::CropAndResize {
        return Ok(x);
    }
    let outside = along.outside();
    if !outside.contains(&true) {
        return Ok(x);
    }
    let mut shape = vec![1; x.dim()];
    shape[along.axis] = along.output;
    let outside = beside(&Tensor::f_from_slice(&outside)?.f_reshape(shape)?, &x)?;
    let value = scalar::full(&[1], f64::from(op.extrapolation), Kind::Double)?;
    let value = beside(&value.f_totype(x.f_kind()?)?, &x)?;
    Ok(value.f_where_self(&outside, &x)?)
}

/// Converts results to the type of the data; integers are cut to its range, and rounded towards zero.
fn narrowed(x: &Tensor, kind: Kind) -> Result<Tensor, Cause> {
    let (low, high) = match kind {
        Kind::Uint8 => (0.0, 255.0),
        Kind::Int8 => (-128.0, 127.0),
        Kind::Int16 => (-32768.0, 32767.0),
        _ => return Ok(x.f_totype(kind)?),
    };
    // A sum of weights may be a little less than one, and its product then less than an integer that it should be.
    let single = x.f_totype(Kind::Float)?;
    let limited = scalar::clamp(
        &single,
        scalar::Number::Float(low),
        scalar::Number::Float(high),
    )?;
    Ok(limited.f_totype(kind)?)
}
