//! Pooling: one element for every window, or for the whole image.

use tch::{Kind, Tensor};

use crate::graph::{Pool, PoolKind};

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::args::{Kernel, Outputs, signed};
use super::averaging::{average, norm, norm_over};
use super::context::NodeContext;
use super::window::{Axis, Windows, each, pad};

/// Pooling, with these backend tests:
/// - `test_maxpool_1d_default`, `_2d_default`, `_3d_default`, `_2d_ceil`, `_2d_ceil_output_size_reduce_by_one`,
///   `_2d_dilations`, `_2d_pads`, `_2d_precomputed_pads`, `_2d_precomputed_strides`,
///   `_2d_precomputed_same_upper`, `_2d_same_lower`, `_2d_same_upper`, `_2d_strides`, `_2d_uint8`, `_3d_dilations`
/// - `test_averagepool_1d_default`, `_2d_default`, `_3d_default`, `_2d_ceil`,
///   `_2d_ceil_last_window_starts_on_pad`, `_2d_dilations`, `_2d_pads`, `_2d_pads_count_include_pad`,
///   `_2d_precomputed_pads`, `_2d_precomputed_pads_count_include_pad`, `_2d_precomputed_same_upper`,
///   `_2d_precomputed_strides`, `_2d_same_lower`, `_2d_same_upper`, `_2d_strides`, `_3d_dilations_small`
/// - `test_maxpool_with_argmax_2d_precomputed_pads`, `_2d_precomputed_strides`
/// - `test_lppool_1d_default`, `_2d_default`, `_3d_default`, `_2d_dilations`, `_2d_pads`, `_2d_same_lower`,
///   `_2d_same_upper`, `_2d_strides`
pub(super) fn pool(context: &NodeContext<'_>, op: &Pool) -> Kernel {
    let op = op.clone();
    let kernel: Vec<i64> = op.kernel.iter().map(|&size| signed(size)).collect();
    let indexed = context.node().outputs.get(1).is_some_and(Option::is_some);
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        if shape.len() < 3 {
            return Err(Cause::new(format!(
                "data {shape:?} has no spatial dimension"
            )));
        }
        let windows = Windows {
            auto_pad: op.auto_pad,
            pads: &op.pads,
            strides: &op.strides,
            dilations: &op.dilations,
            ceil_mode: op.ceil_mode,
        };
        let axes = windows.place(&shape[2..], &kernel)?;
        Ok(match op.kind {
            PoolKind::Max if indexed => {
                let (values, indices) = indexed_maximum(x, &axes, op.column_major)?;
                Outputs::from(vec![values, indices])
            }
            PoolKind::Max => maximum(x, &axes)?.into(),
            PoolKind::Average => average(x, &axes, op.count_include_pad)?.into(),
            PoolKind::Lp { p } => norm(x, &axes, p.into())?.into(),
        })
    })
}

/// Whether libtorch places the windows just so: equal padding on both sides, of half a kernel at most.
fn is_plain(axes: &[Axis], ceil_mode: bool) -> bool {
    axes.iter().all(|axis| {
        let room = axis.input + 2 * axis.begin - axis.span();
        let mut output = room.div_euclid(axis.stride) + 1;
        if ceil_mode && room.rem_euclid(axis.stride) != 0 {
            output += i64::from(output * axis.stride < axis.input + axis.begin);
        }
        axis.begin == axis.end
            && axis.begin >= 0
            && 2 * axis.begin <= axis.kernel
            && room >= 0
            && output == axis.output
    })
}

/// Finds the rounding mode in which libtorch places the windows just so.
pub(super) fn plain_mode(axes: &[Axis]) -> Option<bool> {
    [false, true]
        .into_iter()
        .find(|&ceil_mode| is_plain(axes, ceil_mode))
}

fn maximum(x: &Tensor, axes: &[Axis]) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    if !is_float(kind) {
        return Ok(maximum(&x.f_totype(wider(kind))?, axes)?.f_totype(kind)?);
    }
    let (x, padding, ceil_mode) = placed(x, axes)?;
    let (kernel, stride) = (
        each(axes, |axis| axis.kernel),
        each(axes, |axis| axis.stride),
    );
    let dilation = each(axes, |axis| axis.dilation);
    Ok(match axes.len() {
        1 => x.f_max_pool1d(kernel, stride, padding, dilation, ceil_mode)?,
        2 => x.f_max_pool2d(kernel, stride, padding, dilation, ceil_mode)?,
        _ => x.f_max_pool3d(kernel, stride, padding, dilation, ceil_mode)?,
    })
}

/// A type that libtorch finds maxima in, and that holds the integers exactly which ONNX allows here.
fn wider(kind: Kind) -> Kind {
    match kind {
        Kind::Int8 | Kind::Uint8 => Kind::Float,
        _ => Kind::Double,
    }
}

/// Returns data, padding and rounding mode for which libtorch places the windows just so.
fn placed(x: &Tensor, axes: &[Axis]) -> Result<(Tensor, Vec<i64>, bool), Cause> {
    if let Some(ceil_mode) = plain_mode(axes) {
        return Ok((x.shallow_clone(), each(axes, |axis| axis.begin), ceil_mode));
    }
    let amounts = |axis: &Axis| (axis.begin, axis.reach());
    let padded = pad(x, axes, amounts, f64::NEG_INFINITY)?;
    Ok((padded, vec![0; axes.len()], false))
}

/// Returns maxima, and the index of each among all elements of the data: images one after another, row-major or not
/// within each.
fn indexed_maximum(
    x: &Tensor,
    axes: &[Axis],
    column_major: bool,
) -> Result<(Tensor, Tensor), Cause> {
    let kind = x.f_kind()?;
    if !is_float(kind) {
        let wide = x.f_totype(wider(kind))?;
        let (values, indices) = indexed_maximum(&wide, axes, column_major)?;
        return Ok((values.f_totype(kind)?, indices));
    }
    let (padded, padding, ceil_mode) = placed(x, axes)?;
    let (kernel, stride) = (
        each(axes, |axis| axis.kernel),
        each(axes, |axis| axis.stride),
    );
    let dilation = each(axes, |axis| axis.dilation);
    let (values, indices) = match axes.len() {
        1 => padded.f_max_pool1d_with_indices(kernel, stride, padding, dilation, ceil_mode)?,
        2 => padded.f_max_pool2d_with_indices(kernel, stride, padding, dilation, ceil_mode)?,
        _ => padded.f_max_pool3d_with_indices(kernel, stride, padding, dilation, ceil_mode)?,
    };
    let extended = padded.size() != x.size();
    let mut places = if extended || column_major {
        let sizes = padded.size();
        in_image(&indices, axes, &sizes[2..], extended, column_major)?
    } else {
        indices
    };
    let plane: i64 = axes.iter().map(|axis| axis.input).product();
    let shape = values.size();
    let images: Vec<i64> = (0..shape[0] * shape[1])
        .map(|image| image * plane)
        .collect();
    let mut head = vec![1; shape.len()];
    head[..2].copy_from_slice(&shape[..2]);
    let images = Tensor::f_from_slice(&images)?.f_reshape(head)?;
    places = places.f_add(&beside(&images, &places)?)?;
    Ok((values, places))
}

/// Turns row-major indices in a padded image into ones in the image itself.
fn in_image(
    indices: &Tensor,
    axes: &[Axis],
    sizes: &[i64],
    extended: bool,
    column_major: bool,
) -> Result<Tensor, Cause> {
    let single = |number: i64| beside(&Tensor::f_from_slice(&[number])?, indices);
    let mut rest = indices.shallow_clone();
    let mut result = indices.f_zeros_like()?;
    for (place, axis) in axes.iter().enumerate().rev() {
        let mut along = rest.f_remainder_tensor(&single(sizes[place])?)?;
        rest = rest.f_floor_divide(&single(sizes[place])?)?;
        if extended {
            // A window of nothing but negative infinities may point into the padding.
            along = along
                .f_sub(&single(axis.begin)?)?
                .f_clamp_tensor(Some(single(0)?), Some(single(axis.input - 1)?))?;
        }
        let before = if column_major {
            &axes[..place]
        } else {
            &axes[place + 1..]
        };
        let step = before.iter().map(|axis| axis.input).product();
        result = result.f_add(&along.f_mul(&single(step)?)?)?;
    }
    Ok(result)
}

/// `test_globalaveragepool`, `test_globalaveragepool_precomputed`, `test_globalmaxpool`,
/// `test_globalmaxpool_precomputed`
pub(super) fn global_pool(kind: PoolKind) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let axes: Vec<i64> = (2..signed(x.dim())).collect();
        if axes.is_empty() {
            return Err(Cause::new(format!(
                "data {:?} has no spatial dimension",
                x.size()
            )));
        }
        let result = match kind {
            PoolKind::Average => x.f_mean_dim(axes, true, None)?,
            PoolKind::Max => x.f_amax(axes, true)?,
            PoolKind::Lp { p } => norm_over(x, &axes, p.into())?,
        };
        Ok(result.into())
    })
}

fn is_float(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double
    )
}
