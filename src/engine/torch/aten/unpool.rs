//! Maxima put back where they came from.

use tch::Tensor;

use crate::graph::MaxUnpool;

use super::super::cause::Cause;
use super::args::{Kernel, signed};
use super::bounds::checked;
use super::context::NodeContext;
use super::window::filled;

/// `test_maxunpool_export_with_output_shape`, `test_maxunpool_export_without_output_shape`
///
/// As the ONNX reference has it, indices are about the shape that follows from the windows, also where another one is
/// given: that one adds zeros behind.
pub(super) fn unpool(context: &NodeContext<'_>, op: &MaxUnpool) -> Result<Kernel, Cause> {
    let op = op.clone();
    let wanted = context.integers(2)?;
    Ok(Box::new(move |args| {
        let wanted = wanted.read(args)?;
        let (x, indices) = (args.tensor(0)?, args.tensor(1)?);
        let shape = grown(&op, &x.size())?;
        if indices.size() != x.size() {
            return Err(Cause::new(format!(
                "indices {:?} for data {:?}",
                indices.size(),
                x.size()
            )));
        }
        let options = (x.f_kind()?, x.device());
        let result = Tensor::f_zeros([shape.iter().product::<i64>()], options)?
            .f_scatter(0, &indices.f_reshape([-1])?, &x.f_reshape([-1])?)?
            .f_reshape(&shape[..])?;
        let Some(wanted) = wanted.filter(|wanted| wanted[..] != shape[..]) else {
            return Ok(result.into());
        };
        if wanted.len() != shape.len() || wanted.iter().zip(&shape).any(|(want, size)| want < size)
        {
            return Err(Cause::new(format!(
                "output_shape {wanted:?} is smaller than {shape:?}, which the windows cover"
            )));
        }
        let whole = Tensor::f_zeros(checked(wanted.into_owned())?, options)?;
        let mut part = whole.shallow_clone();
        for (axis, &size) in shape.iter().enumerate() {
            part = part.f_narrow(signed(axis), 0, size)?;
        }
        part.f_copy_(&result)?;
        Ok(whole.into())
    }))
}

/// Returns the shape that the windows cover.
fn grown(op: &MaxUnpool, input: &[i64]) -> Result<Vec<i64>, Cause> {
    let rank = op.kernel.len();
    if input.len() != rank + 2 {
        return Err(Cause::new(format!(
            "data {input:?} has not {rank} spatial dimensions"
        )));
    }
    let kernel = filled(&op.kernel, rank, 1, "kernel_shape")?;
    let strides = filled(&op.strides, rank, 1, "strides")?;
    let pads = filled(&op.pads, 2 * rank, 0, "pads")?;
    let grown = (0..rank).map(|place| {
        (input[place + 2] - 1) * strides[place] + kernel[place] - pads[place] - pads[rank + place]
    });
    checked(input[..2].iter().copied().chain(grown).collect())
}
