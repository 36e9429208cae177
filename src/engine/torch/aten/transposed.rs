//! Transposed convolution over one to three spatial dimensions.

use tch::Tensor;

use crate::graph::{AutoPad, ConvTranspose};

use super::super::cause::Cause;
use super::super::ffi::cuda::Geometry;
use super::args::{Kernel, signed};
use super::convolution::convolve_at;
use super::window::filled;

/// What happens along one spatial dimension.
#[derive(Debug, Clone, Copy)]
struct Axis {
    stride: i64,
    dilation: i64,
    /// Elements left out before the first one of the result.
    begin: i64,
    /// Elements that the windows reach, with nothing left out.
    full: i64,
    output: i64,
}

/// `test_convtranspose`, `_1d`, `_3d`, `_autopad_same`, `_dilations`, `_group_2`, `_group_2_image_3`,
/// `_kernel_shape`, `_output_shape`, `_pad`, `_pads`, `test_ConvTranspose2d`, `test_ConvTranspose2d_no_bias`,
/// `test_operator_convtranspose`
pub(super) fn transposed(op: &ConvTranspose) -> Kernel {
    let op = op.clone();
    Box::new(move |args| {
        let (x, weight, bias) = (args.tensor(0)?, args.tensor(1)?, args.optional(2)?);
        let (shape, weight_shape) = (x.size(), weight.size());
        if !(3..=5).contains(&shape.len()) || shape.len() != weight_shape.len() {
            return Err(Cause::new(format!(
                "weight {weight_shape:?} does not fit data {shape:?}"
            )));
        }
        let axes = place(&op, &shape[2..], &weight_shape[2..])?;
        let groups = signed(op.conv.groups.max(1));
        Ok(match added(&axes) {
            Some(added) => {
                let begin = axes.iter().map(|axis| axis.begin).collect();
                convolve(x, weight, bias, &axes, begin, added, groups)?
            }
            None => {
                let zeros = || vec![0; axes.len()];
                let full = convolve(x, weight, None, &axes, zeros(), zeros(), groups)?;
                let amounts = axes
                    .iter()
                    .rev()
                    .flat_map(|axis| [-axis.begin, axis.output + axis.begin - axis.full]);
                let result = full.f_pad(amounts.collect::<Vec<_>>(), "constant", 0.0)?;
                match bias {
                    Some(bias) => {
                        let mut shape = vec![1; shape.len()];
                        shape[1] = -1;
                        result.f_add(&bias.f_reshape(shape)?)?
                    }
                    None => result,
                }
            }
        }
        .into())
    })
}

fn place(op: &ConvTranspose, input: &[i64], kernel: &[i64]) -> Result<Vec<Axis>, Cause> {
    let rank = input.len();
    let strides = filled(&op.conv.strides, rank, 1, "strides")?;
    let dilations = filled(&op.conv.dilations, rank, 1, "dilations")?;
    let pads = filled(&op.conv.pads, 2 * rank, 0, "pads")?;
    let added = filled(&op.output_padding, rank, 0, "output_padding")?;
    let wanted = filled(&op.output_shape, rank, 0, "output_shape")?;
    (0..rank)
        .map(|place| {
            let (stride, dilation) = (strides[place], dilations[place]);
            if kernel[place] < 1 || stride < 1 || dilation < 1 || input[place] < 1 {
                return Err(Cause::new("sizes, strides and dilations must be positive"));
            }
            let full = (input[place] - 1) * stride + (kernel[place] - 1) * dilation + 1;
            let same = matches!(op.conv.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
            let wanted = match wanted[place] {
                0 if same => Some(input[place] * stride),
                0 => None,
                size => Some(size),
            };
            let (begin, output) = match (wanted, op.conv.auto_pad) {
                (Some(output), auto_pad) => {
                    let total = (full + added[place] - output).max(0);
                    let upper = auto_pad == AutoPad::SameUpper;
                    (if upper { total / 2 } else { total - total / 2 }, output)
                }
                (None, AutoPad::Valid) => (0, full + added[place]),
                (None, _) => {
                    let (begin, end) = (pads[place], pads[rank + place]);
                    (begin, full + added[place] - begin - end)
                }
            };
            if output < 1 {
                return Err(Cause::new(format!(
                    "padding leaves nothing of {full} elements"
                )));
            }
            Ok(Axis {
                stride,
                dilation,
                begin,
                full,
                output,
            })
        })
        .collect()
}

/// Returns the elements that libtorch is to add behind each dimension, if it can: it leaves out as many at the end as
/// at the beginning first.
fn added(axes: &[Axis]) -> Option<Vec<i64>> {
    axes.iter()
        .map(|axis| {
            let added = axis.output - (axis.full - 2 * axis.begin);
            let most = axis.stride.max(axis.dilation);
            (0..most).contains(&added).then_some(added)
        })
        .collect()
}

fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    axes: &[Axis],
    padding: Vec<i64>,
    added: Vec<i64>,
    groups: i64,
) -> Result<Tensor, Cause> {
    let geometry = Geometry {
        stride: axes.iter().map(|axis| axis.stride).collect(),
        padding,
        dilation: axes.iter().map(|axis| axis.dilation).collect(),
        added: Some(added),
        groups,
    };
    convolve_at(x, weight, bias, &geometry)
}
