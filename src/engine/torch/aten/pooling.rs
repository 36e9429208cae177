//! Average and maximum over windows.

use tch::{Kind, Tensor};

use crate::graph::{Pool, PoolKind};

use super::super::cause::Cause;
use super::args::{Kernel, signed};
use super::window::{Axis, Windows, each, pad};

/// Pooling, with these backend tests:
/// - `test_maxpool_1d_default`, `_2d_default`, `_3d_default`, `_2d_ceil`, `_2d_ceil_output_size_reduce_by_one`,
///   `_2d_dilations`, `_2d_pads`, `_2d_precomputed_pads`, `_2d_precomputed_strides`,
///   `_2d_precomputed_same_upper`, `_2d_same_lower`, `_2d_same_upper`, `_2d_strides`, `_2d_uint8`, `_3d_dilations`
/// - `test_averagepool_1d_default`, `_2d_default`, `_3d_default`, `_2d_ceil`,
///   `_2d_ceil_last_window_starts_on_pad`, `_2d_dilations`, `_2d_pads`, `_2d_pads_count_include_pad`,
///   `_2d_precomputed_pads`, `_2d_precomputed_pads_count_include_pad`, `_2d_precomputed_same_upper`,
///   `_2d_precomputed_strides`, `_2d_same_lower`, `_2d_same_upper`, `_2d_strides`, `_3d_dilations_small`
pub(super) fn pool(op: &Pool) -> Kernel {
    let op = op.clone();
    let kernel: Vec<i64> = op.kernel.iter().map(|&size| signed(size)).collect();
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
        let result = match op.kind {
            PoolKind::Max => maximum(x, &axes)?,
            PoolKind::Average => average(x, &axes, op.count_include_pad)?,
        };
        Ok(result.into())
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
            && 2 * axis.begin <= axis.kernel
            && room >= 0
            && output == axis.output
    })
}

/// Finds the rounding mode in which libtorch places the windows just so.
fn plain_mode(axes: &[Axis]) -> Option<bool> {
    [false, true]
        .into_iter()
        .find(|&ceil_mode| is_plain(axes, ceil_mode))
}

fn maximum(x: &Tensor, axes: &[Axis]) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    if !is_float(kind) {
        // Exact for the types that ONNX allows here, INT8 and UINT8.
        return Ok(maximum(&x.f_totype(Kind::Double)?, axes)?.f_totype(kind)?);
    }
    if let Some(ceil_mode) = plain_mode(axes) {
        return max_pool(x, axes, each(axes, |axis| axis.begin), ceil_mode);
    }
    let padded = pad(
        x,
        axes,
        |axis| (axis.begin, axis.reach()),
        f64::NEG_INFINITY,
    )?;
    max_pool(&padded, axes, vec![0; axes.len()], false)
}

fn max_pool(
    x: &Tensor,
    axes: &[Axis],
    padding: Vec<i64>,
    ceil_mode: bool,
) -> Result<Tensor, Cause> {
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

fn average(x: &Tensor, axes: &[Axis], count_include_pad: bool) -> Result<Tensor, Cause> {
    let dilated = axes.iter().any(|axis| axis.dilation != 1);
    if let Some(ceil_mode) = plain_mode(axes).filter(|_| !dilated) {
        return average_pool(x, axes, ceil_mode, count_include_pad);
    }
    let sums = window_sums(x, axes)?;
    Ok(sums.f_div(&divisors(axes, count_include_pad, x.f_kind()?)?)?)
}

fn average_pool(
    x: &Tensor,
    axes: &[Axis],
    ceil_mode: bool,
    include: bool,
) -> Result<Tensor, Cause> {
    let (kernel, stride) = (
        each(axes, |axis| axis.kernel),
        each(axes, |axis| axis.stride),
    );
    let padding = each(axes, |axis| axis.begin);
    Ok(match axes.len() {
        1 => x.f_avg_pool1d(kernel, stride, padding, ceil_mode, include)?,
        2 => x.f_avg_pool2d(kernel, stride, padding, ceil_mode, include, None)?,
        _ => x.f_avg_pool3d(kernel, stride, padding, ceil_mode, include, None)?,
    })
}

/// Sums the elements of every window: a convolution of each channel with ones.
fn window_sums(x: &Tensor, axes: &[Axis]) -> Result<Tensor, Cause> {
    let shape = x.size();
    let options = (x.f_kind()?, x.device());
    let padded = pad(x, axes, |axis| (axis.begin, axis.reach()), 0.0)?;
    let mut planes = padded.size();
    planes.splice(..2, [shape[0] * shape[1], 1]);
    let mut ones = each(axes, |axis| axis.kernel);
    ones.splice(..0, [1, 1]);
    let sums = padded.f_reshape(planes)?.f_convolution(
        &Tensor::f_ones(ones, options)?,
        None::<&Tensor>,
        each(axes, |axis| axis.stride),
        vec![0; axes.len()],
        each(axes, |axis| axis.dilation),
        false,
        vec![0; axes.len()],
        1,
    )?;
    let mut result = each(axes, |axis| axis.output);
    result.splice(..0, [shape[0], shape[1]]);
    Ok(sums.f_reshape(result)?)
}

/// Counts, for every window, the elements that the average is over: those of the data and, where asked for, of the
/// declared padding; never what lies behind it, which `ceil_mode` may reach.
fn divisors(axes: &[Axis], count_include_pad: bool, kind: Kind) -> Result<Tensor, Cause> {
    let mut total = Tensor::f_ones([1], (kind, tch::Device::Cpu))?;
    for axis in axes {
        let (low, high) = if count_include_pad {
            (-axis.begin, axis.input + axis.end)
        } else {
            (0, axis.input)
        };
        let counts: Vec<i64> = (0..axis.output)
            .map(|window| {
                let first = window * axis.stride - axis.begin;
                let inside = |step: &i64| (low..high).contains(&(first + step * axis.dilation));
                signed((0..axis.kernel).filter(inside).count().max(1))
            })
            .collect();
        let counts = Tensor::f_from_slice(&counts)?.f_totype(kind)?;
        total = total.f_unsqueeze(-1)?.f_mul(&counts)?;
    }
    Ok(total.f_squeeze_dim(0)?)
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
