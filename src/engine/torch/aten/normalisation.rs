//! Normalisations and softmaxes.

use tch::Tensor;

use super::super::cause::Cause;
use super::args::{Kernel, axis_of, signed, split_of};

/// `test_batchnorm_epsilon`, `test_batchnorm_example`
pub(super) fn batch_normalization(epsilon: f32) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        if x.dim() < 2 {
            return Err(Cause::new(format!("data {:?} has no channels", x.size())));
        }
        let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|input| args.tensor(input));
        let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
        let epsilon = f64::from(epsilon);
        let result = x.f_batch_norm(
            Some(scale),
            Some(bias),
            Some(mean),
            Some(variance),
            false,
            0.0,
            epsilon,
            false,
        )?;
        Ok(result.into())
    })
}

/// `test_layer_normalization_2d_axis0` to `_4d_axis3` and those with negative axes, without `Mean` and `InvStdDev`
pub(super) fn layer_normalization(axis: i64, epsilon: f32) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let normalised = &shape[axis_of(axis, shape.len())?..];
        // libtorch wants scale and bias of just this shape, ONNX of one that broadcasts to it.
        let fitted = |tensor: &Tensor| {
            if tensor.size() == normalised {
                return Ok(tensor.shallow_clone());
            }
            tensor.f_expand(normalised, false)?.f_contiguous()
        };
        let scale = fitted(args.tensor(1)?)?;
        let bias = args.optional(2)?.map(fitted).transpose()?;
        Ok(
            x.f_layer_norm(normalised, Some(scale), bias, f64::from(epsilon), false)?
                .into(),
        )
    })
}

/// `test_softmax_axis_0` to `_axis_2`, `test_softmax_default_axis`, `test_softmax_example`,
/// `test_softmax_large_number`, `test_softmax_negative_axis`, and the same of `test_logsoftmax_…`
pub(super) fn softmax(axis: i64, log: bool) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let axis = signed(axis_of(axis, x.dim().max(1))?);
        Ok(softmax_along(x, axis, log)?.into())
    })
}

/// The same before opset 13, which has no backend tests any more.
pub(super) fn flat_softmax(axis: i64, log: bool) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let axis = split_of(axis, shape.len())?;
        let rows: i64 = shape[..axis].iter().product();
        let columns: i64 = shape[axis..].iter().product();
        Ok(softmax_along(&x.f_reshape([rows, columns])?, 1, log)?
            .f_reshape(shape)?
            .into())
    })
}

fn softmax_along(x: &Tensor, axis: i64, log: bool) -> Result<Tensor, Cause> {
    Ok(if log {
        x.f_log_softmax(axis, None)?
    } else {
        x.f_softmax(axis, None)?
    })
}
