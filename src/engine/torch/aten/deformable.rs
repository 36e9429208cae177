//! Deformable convolution over two or three spatial dimensions.

use tch::Tensor;

use crate::graph::DeformConv;

use super::super::cause::Cause;
use super::super::ffi::scalar;
use super::args::{Kernel, signed};
use super::window::{Axis, Windows, each};

/// `test_basic_deform_conv_with_padding`, `test_basic_deform_conv_without_padding`, `test_deform_conv_with_mask_bias`,
/// `test_deform_conv_with_multiple_offset_groups`
///
/// The data is sampled where the offsets say, for every window and element of the kernel; what is left is a product
/// of matrices.
pub(super) fn deformable(op: &DeformConv) -> Kernel {
    let op = op.clone();
    Box::new(move |args| {
        let [x, weight, offsets] = [args.tensor(0)?, args.tensor(1)?, args.tensor(2)?];
        let (shape, weight_shape) = (x.size(), weight.size());
        let spatial = shape.len().saturating_sub(2);
        if !matches!(spatial, 2 | 3) || weight_shape.len() != shape.len() {
            return Err(Cause::new(format!(
                "weight {weight_shape:?} does not fit data {shape:?}, of 2 or 3 spatial dimensions"
            )));
        }
        let conv = &op.conv;
        let windows = Windows {
            auto_pad: conv.auto_pad,
            pads: &conv.pads,
            strides: &conv.strides,
            dilations: &conv.dilations,
            ceil_mode: false,
        };
        let axes = windows.place(&shape[2..], &weight_shape[2..])?;
        let (batch, channels, filters) = (shape[0], shape[1], weight_shape[0]);
        let (groups, offset_groups) = (signed(conv.groups), signed(op.offset_groups));
        if groups < 1
            || offset_groups < 1
            || channels % groups != 0
            || channels % offset_groups != 0
            || filters % groups != 0
            || weight_shape[1] != channels / groups
        {
            return Err(Cause::new(format!(
                "weight {weight_shape:?} does not fit data {shape:?} in {groups} groups with {offset_groups} of offsets"
            )));
        }
        let elements: i64 = each(&axes, |axis| axis.kernel).iter().product();
        let places: i64 = each(&axes, |axis| axis.output).iter().product();
        let grid = grid(offsets, &axes, batch * offset_groups)?;
        let mut split = shape.clone();
        split[0] = batch * offset_groups;
        split[1] = channels / offset_groups;
        let mut samples = x
            .f_reshape(split)?
            .f_grid_sampler(&grid, 0, 0, false)?
            .f_reshape([
                batch * offset_groups,
                channels / offset_groups,
                elements,
                places,
            ])?;
        if let Some(mask) = args.optional(4)? {
            let mask = mask.f_reshape([batch * offset_groups, 1, elements, places])?;
            samples = samples.f_mul(&mask)?;
        }
        let columns = samples.f_reshape([batch, groups, channels / groups * elements, places])?;
        let rows = weight.f_reshape([groups, filters / groups, channels / groups * elements])?;
        let mut result_shape = vec![batch, filters];
        result_shape.extend(each(&axes, |axis| axis.output));
        let mut result = rows.f_matmul(&columns)?.f_reshape(result_shape)?;
        if let Some(bias) = args.optional(3)? {
            let mut shape = vec![1; shape.len()];
            shape[1] = -1;
            result = result.f_add(&bias.f_reshape(shape)?)?;
        }
        Ok(result.into())
    })
}

/// Returns the places to sample, from −1 to 1 over the data, the last dimension's coordinate first: of shape
/// `[batch · offset groups, kernel elements · first output size, …, dimensions]`.
fn grid(offsets: &Tensor, axes: &[Axis], items: i64) -> Result<Tensor, Cause> {
    let rank = axes.len();
    let kernel = each(axes, |axis| axis.kernel);
    let output = each(axes, |axis| axis.output);
    let mut split = vec![items];
    split.extend(&kernel);
    split.push(signed(rank));
    split.extend(&output);
    let offsets = offsets.f_reshape(split)?;
    let kind = offsets.f_kind()?;
    let mut coordinates = Vec::with_capacity(rank);
    for (place, axis) in axes.iter().enumerate().rev() {
        let mut shape = vec![1; 2 * rank];
        shape[place] = axis.kernel;
        shape[rank + place] = axis.output;
        let base: Vec<i64> = (0..axis.kernel)
            .flat_map(|step| {
                (0..axis.output)
                    .map(move |window| window * axis.stride - axis.begin + step * axis.dilation)
            })
            .collect();
        let base = Tensor::f_from_slice(&base)?
            .f_totype(kind)?
            .f_reshape(shape)?;
        let place = offsets
            .f_select(signed(rank + 1), signed(place))?
            .f_add(&base)?;
        #[expect(clippy::cast_precision_loss, reason = "a size, far below 2^53")]
        let size = axis.input as f64;
        let scaled = scalar::multiply(&place, 2.0 / size)?;
        coordinates.push(scalar::add(&scaled, 1.0 / size - 1.0)?);
    }
    let mut shape = vec![items, kernel.iter().product::<i64>() * output[0]];
    shape.extend(&output[1..]);
    shape.push(signed(rank));
    Ok(Tensor::f_stack(&coordinates, -1)?.f_reshape(shape)?)
}
