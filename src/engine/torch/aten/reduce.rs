//! Reductions along axes.

use tch::{Kind, Tensor};

use crate::graph::Reduce;

use super::super::cause::Cause;
use super::super::ffi::scalar::{full, subtract_from};
use super::args::{Kernel, axes_of, axis_of, is_integer, signed};
use super::context::NodeContext;

/// Reductions, with these backend tests: of each of `test_reduce_sum_…`, `_mean_…`, `_max_…`, `_min_…`, `_prod_…`,
/// `_l1_…`, `_l2_…` those ending in `default_axes_keepdims_example`, `_random`, `do_not_keepdims_…`, `keepdims_…`,
/// `negative_axes_keepdims_…`, `empty_set` and `empty_set_non_reduced_axis_zero`; also
/// `test_reduce_sum_empty_axes_input_noop`, `test_reduce_max_bool_inputs`, `test_reduce_min_bool_inputs`
pub(super) fn reduce(
    context: &NodeContext<'_>,
    kind: Reduce,
    keep_dims: bool,
    noop_with_empty_axes: bool,
) -> Result<Kernel, Cause> {
    let axes = context.integers(1)?;
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let axes = axes.read(args)?.unwrap_or_default();
        if axes.is_empty() && noop_with_empty_axes {
            return Ok(x.shallow_clone().into());
        }
        let axes: Vec<i64> = if axes.is_empty() {
            (0..signed(x.dim())).collect()
        } else {
            axes_of(&axes, x.dim())?.into_iter().map(signed).collect()
        };
        // Nothing to reduce in a scalar, but `L1` and `L2` still take the magnitude.
        let (x, axes) = if x.dim() == 0 {
            (&x.f_reshape([1])?, vec![0])
        } else {
            (x, axes)
        };
        let result = reduced(x, kind, &axes, keep_dims && args.tensor(0)?.dim() > 0)?;
        Ok(result.into())
    }))
}

fn reduced(x: &Tensor, reduce: Reduce, axes: &[i64], keep_dims: bool) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let integer = is_integer(x)?;
    Ok(match reduce {
        Reduce::Sum => x.f_sum_dim_intlist(axes, keep_dims, kind)?,
        Reduce::L1 => x.f_abs()?.f_sum_dim_intlist(axes, keep_dims, kind)?,
        Reduce::Mean if integer => x
            .f_mean_dim(axes, keep_dims, Kind::Double)?
            .f_totype(kind)?,
        Reduce::Mean => x.f_mean_dim(axes, keep_dims, None)?,
        Reduce::L2 => {
            // Squares of a half overflow early.
            let wide = match kind {
                Kind::Half | Kind::BFloat16 => Kind::Float,
                _ if integer => Kind::Double,
                _ => kind,
            };
            let x = x.f_totype(wide)?;
            x.f_mul(&x)?
                .f_sum_dim_intlist(axes, keep_dims, wide)?
                .f_sqrt()?
                .f_totype(kind)?
        }
        Reduce::Prod => {
            let mut result = x.shallow_clone();
            // From the last axis, so that the others keep their places.
            for &axis in axes.iter().rev() {
                result = result.f_prod_dim_int(axis, keep_dims, kind)?;
            }
            result
        }
        Reduce::Max | Reduce::Min if axes.iter().any(|&axis| x.size()[axis_index(axis)] == 0) => {
            extreme_of_nothing(x, reduce == Reduce::Max, axes, keep_dims)?
        }
        Reduce::Max => x.f_amax(axes, keep_dims)?,
        Reduce::Min => x.f_amin(axes, keep_dims)?,
    })
}

fn axis_index(axis: i64) -> usize {
    usize::try_from(axis).unwrap_or(0)
}

/// The maximum of no elements is the least value of the type; the minimum the greatest.
fn extreme_of_nothing(
    x: &Tensor,
    maximum: bool,
    axes: &[i64],
    keep_dims: bool,
) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let mut shape = x.size();
    for &axis in axes.iter().rev() {
        if keep_dims {
            shape[axis_index(axis)] = 1;
        } else {
            shape.remove(axis_index(axis));
        }
    }
    let (least, greatest) = match kind {
        Kind::Bool => (0, 1),
        Kind::Uint8 => (0, i64::from(u8::MAX)),
        Kind::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        Kind::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        Kind::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Kind::Int64 => (i64::MIN, i64::MAX),
        _ => {
            let value = if maximum {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            };
            return full(&shape, value, kind);
        }
    };
    full(&shape, if maximum { least } else { greatest }, kind)
}

/// Of each of `test_argmax_…` and `test_argmin_…`: `default_axis_example`, `default_axis_random`, `keepdims_…`,
/// `negative_axis_keepdims_…`, `no_keepdims_…`, all also with `_select_last_index`
pub(super) fn arg_extreme(largest: bool, axis: i64, keep_dims: bool, select_last: bool) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let axis = signed(axis_of(axis, x.dim())?);
        let extreme = |x: &Tensor| {
            if largest {
                x.f_argmax(axis, keep_dims)
            } else {
                x.f_argmin(axis, keep_dims)
            }
        };
        if !select_last {
            return Ok(extreme(x)?.into());
        }
        let last = x.size()[axis_index(axis)] - 1;
        // The first of the reversed elements; its index counts from the end.
        Ok(subtract_from(&extreme(&x.f_flip([axis])?)?, last)?.into())
    })
}
