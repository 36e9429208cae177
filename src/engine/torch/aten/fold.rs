//! Blocks put together to an image, summed where they overlap.

use tch::Tensor;

use crate::graph::{AutoPad, Col2Im};

use super::super::cause::Cause;
use super::args::{Kernel, signed};
use super::bounds::checked;
use super::context::NodeContext;
use super::window::{Axis, Windows, each};

/// `test_col2im`, `test_col2im_5d`, `test_col2im_dilations`, `test_col2im_pads`, `test_col2im_strides`
pub(super) fn fold(context: &NodeContext<'_>, op: &Col2Im) -> Result<Kernel, Cause> {
    let op = op.clone();
    let (image, block) = (context.integers(1)?, context.integers(2)?);
    Ok(Box::new(move |args| {
        let image = image.required(args, "image_shape")?;
        let block = block.required(args, "block_shape")?;
        let x = args.tensor(0)?;
        let windows = Windows {
            auto_pad: AutoPad::Explicit,
            pads: &op.pads,
            strides: &op.strides,
            dilations: &op.dilations,
            ceil_mode: false,
        };
        let axes = windows.place(&image, &block)?;
        let product = |sizes: Vec<i64>| {
            sizes
                .into_iter()
                .try_fold(1_i64, i64::checked_mul)
                .unwrap_or(i64::MAX)
        };
        let elements = product(each(&axes, |axis| axis.kernel));
        let blocks = product(each(&axes, |axis| axis.output));
        let [batch, rows, columns] = x.size()[..] else {
            return Err(Cause::new(format!("blocks of shape {:?}", x.size())));
        };
        if rows % elements != 0 || columns != blocks {
            return Err(Cause::new(format!(
                "data {:?} is not {blocks} blocks of {elements} elements for each channel",
                x.size()
            )));
        }
        let channels = rows / elements;
        let mut shape = vec![batch, channels];
        shape.extend(image.iter());
        checked(shape)?;
        let symmetric = axes.iter().all(|axis| axis.begin == axis.end);
        if symmetric && axes.len() == 2 {
            return Ok(x
                .f_col2im(
                    &image[..],
                    &block[..],
                    each(&axes, |axis| axis.dilation),
                    each(&axes, |axis| axis.begin),
                    each(&axes, |axis| axis.stride),
                )?
                .into());
        }
        let padded = each(&axes, |axis| axis.begin + axis.input + axis.end);
        let mut padded_shape = vec![batch, channels];
        padded_shape.extend(&padded);
        let padded_shape = checked(padded_shape)?;
        let flat = [batch * channels, padded.iter().product()];
        let blocks = x.f_reshape([batch * channels, elements * columns])?;
        let mut result = Tensor::f_zeros(flat, (x.f_kind()?, x.device()))?
            .f_index_add(1, &places(&axes, &padded)?, &blocks)?
            .f_reshape(padded_shape)?;
        for (place, axis) in axes.iter().enumerate() {
            result = result.f_narrow(signed(place + 2), axis.begin, axis.input)?;
        }
        Ok(result.into())
    }))
}

/// Returns the index in the padded image of each element of each block: kernel elements first, then blocks.
fn places(axes: &[Axis], padded: &[i64]) -> Result<Tensor, Cause> {
    let rank = axes.len();
    let mut index = Tensor::f_zeros([1], (tch::Kind::Int64, tch::Device::Cpu))?;
    for (place, axis) in axes.iter().enumerate() {
        let step: i64 = padded[place + 1..].iter().product();
        let mut shape = vec![1; 2 * rank];
        shape[place] = axis.kernel;
        shape[rank + place] = axis.output;
        let along: Vec<i64> = (0..axis.kernel)
            .flat_map(|element| {
                (0..axis.output)
                    .map(move |window| (element * axis.dilation + window * axis.stride) * step)
            })
            .collect();
        index = index.f_add(&Tensor::f_from_slice(&along)?.f_reshape(shape)?)?;
    }
    Ok(index.f_reshape([-1])?)
}
