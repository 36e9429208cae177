//! Reductions along axes.

use tch::{Kind, Tensor};

use crate::graph::Reduce;
use crate::types::DType;

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::{Number, full, subtract_from};
use super::args::{Integers, Kernel, axes_of, axis_of, is_integer, signed};
use super::context::NodeContext;
use super::order::{one_integer, ordered};

/// Reductions, with these backend tests: of each of `test_reduce_sum_…`, `_mean_…`, `_max_…`, `_min_…`, `_prod_…`,
/// `_l1_…`, `_l2_…`, `_sum_square_…`, `_log_sum_…`, `_log_sum_exp_…` those ending in
/// `default_axes_keepdims_example`, `_random`, `do_not_keepdims_…`, `keepdims_…`, `negative_axes_keepdims_…`,
/// `empty_set` and `empty_set_non_reduced_axis_zero`; also `test_reduce_sum_empty_axes_input_noop`,
/// `test_reduce_max_bool_inputs`, `test_reduce_min_bool_inputs`
pub(super) fn reduce(
    context: &NodeContext<'_>,
    kind: Reduce,
    keep_dims: bool,
    noop_with_empty_axes: bool,
) -> Result<Kernel, Cause> {
    let axes = context.integers(1)?;
    let dtype = context.input_dtype(0);
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
        let keep_dims = keep_dims && args.tensor(0)?.dim() > 0;
        let result = reduced(x, dtype, kind, &axes, keep_dims)?;
        Ok(result.into())
    }))
}

fn reduced(
    x: &Tensor,
    dtype: Option<DType>,
    reduce: Reduce,
    axes: &[i64],
    keep_dims: bool,
) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let integer = is_integer(x)?;
    // Squares and exponentials of a half overflow early, and have no place in an integer.
    let wide = match kind {
        Kind::Half | Kind::BFloat16 => Kind::Float,
        _ if integer => Kind::Double,
        _ => kind,
    };
    let squares = |x: &Tensor, kind: Kind| x.f_mul(x)?.f_sum_dim_intlist(axes, keep_dims, kind);
    Ok(match reduce {
        Reduce::Sum => x.f_sum_dim_intlist(axes, keep_dims, kind)?,
        Reduce::L1 => x.f_abs()?.f_sum_dim_intlist(axes, keep_dims, kind)?,
        Reduce::SumSquare if integer => squares(x, kind)?,
        Reduce::SumSquare => squares(&x.f_totype(wide)?, wide)?.f_totype(kind)?,
        Reduce::LogSum => x
            .f_sum_dim_intlist(axes, keep_dims, wide)?
            .f_log()?
            .f_totype(kind)?,
        Reduce::LogSumExp => x
            .f_totype(wide)?
            .f_logsumexp(axes, keep_dims)?
            .f_totype(kind)?,
        Reduce::Mean if integer => x
            .f_mean_dim(axes, keep_dims, Kind::Double)?
            .f_totype(kind)?,
        Reduce::Mean => x.f_mean_dim(axes, keep_dims, None)?,
        Reduce::L2 => squares(&x.f_totype(wide)?, wide)?
            .f_sqrt()?
            .f_totype(kind)?,
        Reduce::Prod => {
            let mut result = x.shallow_clone();
            // From the last axis, so that the others keep their places.
            for &axis in axes.iter().rev() {
                result = result.f_prod_dim_int(axis, keep_dims, kind)?;
            }
            result
        }
        Reduce::Max | Reduce::Min if axes.iter().any(|&axis| x.size()[axis_index(axis)] == 0) => {
            let bound = bound(kind, dtype, reduce == Reduce::Max);
            beside(&full(&remaining(x, axes, keep_dims), bound, kind)?, x)?
        }
        Reduce::Max => ordered(&ordered(x, dtype)?.f_amax(axes, keep_dims)?, dtype)?,
        Reduce::Min => ordered(&ordered(x, dtype)?.f_amin(axes, keep_dims)?, dtype)?,
    })
}

fn axis_index(axis: i64) -> usize {
    usize::try_from(axis).unwrap_or(0)
}

fn remaining(x: &Tensor, axes: &[i64], keep_dims: bool) -> Vec<i64> {
    let mut shape = x.size();
    for &axis in axes.iter().rev() {
        if keep_dims {
            shape[axis_index(axis)] = 1;
        } else {
            shape.remove(axis_index(axis));
        }
    }
    shape
}

/// The least value of a type, which is the maximum of no elements, or the greatest, their minimum.
fn bound(kind: Kind, dtype: Option<DType>, least: bool) -> Number {
    let (low, high) = match (dtype, kind) {
        (Some(DType::U16), _) => (0, i64::from(u16::MAX)),
        (Some(DType::U32), _) => (0, i64::from(u32::MAX)),
        // Kept with the same bits.
        (Some(DType::U64), _) => (0, -1),
        (_, Kind::Bool) => (0, 1),
        (_, Kind::Uint8) => (0, i64::from(u8::MAX)),
        (_, Kind::Int8) => (i64::from(i8::MIN), i64::from(i8::MAX)),
        (_, Kind::Int16) => (i64::from(i16::MIN), i64::from(i16::MAX)),
        (_, Kind::Int) => (i64::from(i32::MIN), i64::from(i32::MAX)),
        (_, Kind::Int64) => (i64::MIN, i64::MAX),
        _ if least => return Number::Float(f64::NEG_INFINITY),
        _ => return Number::Float(f64::INFINITY),
    };
    Number::Int(if least { low } else { high })
}

/// Of each of `test_argmax_…` and `test_argmin_…`: `default_axis_example`, `default_axis_random`, `keepdims_…`,
/// `negative_axis_keepdims_…`, `no_keepdims_…`, all also with `_select_last_index`
pub(super) fn arg_extreme(
    context: &NodeContext<'_>,
    largest: bool,
    axis: i64,
    keep_dims: bool,
    select_last: bool,
) -> Kernel {
    let dtype = context.input_dtype(0);
    Box::new(move |args| {
        let x = &ordered(args.tensor(0)?, dtype)?;
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

/// `test_hardmax_axis_0` to `_axis_2`, `test_hardmax_default_axis`, `test_hardmax_example`,
/// `test_hardmax_negative_axis`, `test_hardmax_one_hot`
pub(super) fn hardmax(axis: i64) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let zeros = x.f_zeros_like()?;
        if x.numel() == 0 {
            return Ok(zeros.into());
        }
        let axis = signed(axis_of(axis, x.dim())?);
        let greatest = x.f_argmax(axis, true)?;
        let ones = greatest.f_ones_like()?.f_totype(x.f_kind()?)?;
        Ok(zeros.f_scatter(axis, &greatest, &ones)?.into())
    })
}

/// `test_cumsum_1d`, `test_cumsum_1d_exclusive`, `test_cumsum_1d_int32_exclusive`, `test_cumsum_1d_reverse`,
/// `test_cumsum_1d_reverse_exclusive`, `test_cumsum_2d_axis_0`, `test_cumsum_2d_axis_1`, `test_cumsum_2d_int32`,
/// `test_cumsum_2d_negative_axis`, and the same of `test_cumprod_…`
pub(super) fn cumulative(
    context: &NodeContext<'_>,
    product: bool,
    exclusive: bool,
    reverse: bool,
) -> Result<Kernel, Cause> {
    let axis = match context.integers(1)? {
        Integers::Constant(list) => Some(list),
        _ => None,
    };
    Ok(Box::new(move |args| {
        let axis = match axis.as_deref() {
            Some(&[axis]) => axis,
            _ => one_integer(args.tensor(1)?)?,
        };
        let x = args.tensor(0)?;
        let kind = x.f_kind()?;
        let axis = axis_of(axis, x.dim())?;
        let size = x.size()[axis];
        let axis = signed(axis);
        let mut elements = if reverse {
            x.f_flip([axis])?
        } else {
            x.shallow_clone()
        };
        if exclusive && size > 0 {
            let mut shape = x.size();
            shape[axis_index(axis)] = 1;
            let neutral = beside(&full(&shape, i64::from(product), kind)?, x)?;
            let rest = elements.f_narrow(axis, 0, size - 1)?;
            elements = Tensor::f_cat(&[neutral, rest], axis)?;
        }
        let result = if product {
            elements.f_cumprod(axis, kind)?
        } else {
            elements.f_cumsum(axis, kind)?
        };
        Ok(if reverse {
            result.f_flip([axis])?.into()
        } else {
            result.into()
        })
    }))
}
