//! Convolution over one to three spatial dimensions.

use tch::Tensor;

use crate::graph::Conv;

use super::super::cause::Cause;
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
    let result = x.f_convolution(
        weight,
        args.optional(2)?,
        each(&axes, |axis| axis.stride),
        padding,
        each(&axes, |axis| axis.dilation),
        false,
        vec![0; axes.len()],
        signed(op.groups.max(1)),
    )?;
    Ok(result)
}
