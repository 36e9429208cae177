//! Convolution over one to three spatial dimensions.

use tch::Tensor;

use crate::graph::Conv;

use super::super::cause::Cause;
use super::super::ffi::cuda::{self, Geometry, is_on_host};
use super::args::{Args, Kernel, signed};
use super::window::{Windows, each, pad};

/// `test_basic_conv_with_padding`, `test_basic_conv_without_padding`, `test_conv_with_strides_padding`,
/// `test_conv_with_strides_no_padding`, `test_conv_with_strides_and_asymmetric_padding`,
/// `test_conv_with_autopad_same`
pub(super) fn convolution(op: &Conv) -> Kernel {
    let op = op.clone();
    Box::new(move |args| Ok(convolve(&op, args)?.into()))
}

/// Returns the convolution of the first three inputs, in memory of its own.
pub(super) fn convolve(op: &Conv, args: &Args<'_>) -> Result<Tensor, Cause> {
    let (x, weight) = (args.tensor(0)?, args.tensor(1)?);
    let (shape, weight_shape) = (x.size(), weight.size());
    if shape.len() < 3 || shape.len() != weight_shape.len() {
        return Err(Cause::new(format!(
            "weight {weight_shape:?} does not fit data {shape:?}"
        )));
    }
    let windows = Windows {
        auto_pad: op.auto_pad,
        pads: &op.pads,
        strides: &op.strides,
        dilations: &op.dilations,
        ceil_mode: false,
    };
    let axes = windows.place(&shape[2..], &weight_shape[2..])?;
    let symmetric = axes
        .iter()
        .all(|axis| axis.begin == axis.end && axis.begin >= 0);
    let padded;
    let (x, padding) = if symmetric {
        (x, each(&axes, |axis| axis.begin))
    } else {
        padded = pad(x, &axes, |axis| (axis.begin, axis.end), 0.0)?;
        (&padded, vec![0; axes.len()])
    };
    let geometry = Geometry {
        stride: each(&axes, |axis| axis.stride),
        padding,
        dilation: each(&axes, |axis| axis.dilation),
        added: None,
        groups: signed(op.groups.max(1)),
    };
    convolve_at(x, weight, args.optional(2)?, &geometry)
}

/// Convolves where the data is.
pub(super) fn convolve_at(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Geometry,
) -> Result<Tensor, Cause> {
    if !is_on_host(x) {
        return cuda::convolution(x, weight, bias, geometry);
    }
    let Geometry {
        stride,
        padding,
        dilation,
        added,
        groups,
    } = geometry;
    let none = vec![0; stride.len()];
    Ok(x.f_convolution(
        weight,
        bias,
        stride,
        padding,
        dilation,
        added.is_some(),
        added.as_ref().unwrap_or(&none),
        *groups,
    )?)
}
