//! Averages and norms over windows.

use tch::{Kind, Tensor};

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar;
use super::args::signed;
use super::pooling::plain_mode;
use super::window::{Axis, each, pad};

pub(super) fn average(x: &Tensor, axes: &[Axis], count_include_pad: bool) -> Result<Tensor, Cause> {
    let dilated = axes.iter().any(|axis| axis.dilation != 1);
    if let Some(ceil_mode) = plain_mode(axes).filter(|_| !dilated) {
        return average_pool(x, axes, ceil_mode, count_include_pad);
    }
    let kind = x.f_kind()?;
    let sums = window_sums(&widened(x)?, axes)?;
    let divisors = divisors(axes, count_include_pad, sums.f_kind()?)?;
    let divisors = beside(&divisors, &sums)?;
    Ok(sums.f_div(&divisors)?.f_totype(kind)?)
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

/// Returns the p-norm of every window.
pub(super) fn norm(x: &Tensor, axes: &[Axis], p: f64) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let sums = window_sums(&powers(&widened(x)?, p)?, axes)?;
    Ok(scalar::power(&sums, p.recip())?.f_totype(kind)?)
}

/// Returns the p-norm over some dimensions, which are kept.
pub(super) fn norm_over(x: &Tensor, axes: &[i64], p: f64) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let sums = powers(&widened(x)?, p)?.f_sum_dim_intlist(axes, true, None)?;
    Ok(scalar::power(&sums, p.recip())?.f_totype(kind)?)
}

fn powers(x: &Tensor, p: f64) -> Result<Tensor, Cause> {
    scalar::power(&x.f_abs()?, p)
}

/// Sums of 16-bit numbers are made in FP32.
fn widened(x: &Tensor) -> Result<Tensor, Cause> {
    Ok(match x.f_kind()? {
        Kind::Half | Kind::BFloat16 => x.f_totype(Kind::Float)?,
        _ => x.shallow_clone(),
    })
}
