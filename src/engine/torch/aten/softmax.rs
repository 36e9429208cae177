//! Softmaxes.

use tch::Tensor;

use super::super::cause::Cause;
use super::args::{Kernel, axis_of, signed, split_of};

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
