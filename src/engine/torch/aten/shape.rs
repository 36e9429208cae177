//! Operators that move, join, split, describe or convert elements.

use tch::{Kind, Tensor};

use crate::types::DType;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::scalar::{Number, full};
use super::args::{Integers, Kernel, axes_of, axis_of, signed, split_of};
use super::context::NodeContext;
use super::storage;

/// `test_reshape_allowzero_reordered`, `_extended_dims`, `_negative_dim`, `_negative_extended_dims`, `_one_dim`,
/// `_reduced_dims`, `_reordered_all_dims`, `_reordered_last_dims`, `_zero_and_negative_dim`, `_zero_dim`
pub(super) fn reshape(context: &NodeContext<'_>, allow_zero: bool) -> Result<Kernel, Cause> {
    let shape = context.integers(1)?;
    Ok(Box::new(move |args| {
        let wanted = shape.required(args, "shape")?;
        let x = args.tensor(0)?;
        Ok(x.f_reshape(resolve_shape(&x.size(), &wanted, allow_zero)?)?
            .into())
    }))
}

/// Fills in copied sizes and the inferred one. libtorch would not infer a size beside an empty dimension.
fn resolve_shape(input: &[i64], wanted: &[i64], allow_zero: bool) -> Result<Vec<i64>, Cause> {
    let unfit = || Cause::new(format!("shape {wanted:?} does not fit data {input:?}"));
    let mut shape = wanted.to_vec();
    for (index, size) in shape.iter_mut().enumerate() {
        if *size == 0 && !allow_zero {
            *size = *input.get(index).ok_or_else(unfit)?;
        }
    }
    let mut unknown = shape
        .iter()
        .enumerate()
        .filter(|(_, size)| **size == -1)
        .map(|(index, _)| index);
    let Some(inferred) = unknown.next() else {
        return Ok(shape);
    };
    if unknown.next().is_some() {
        return Err(Cause::new(format!(
            "shape {wanted:?} leaves more than one size open"
        )));
    }
    let known = |sizes: &[i64]| {
        sizes
            .iter()
            .try_fold(1_i64, |product, &size| product.checked_mul(size))
    };
    shape[inferred] = 1;
    let (total, others) = (
        known(input).ok_or_else(unfit)?,
        known(&shape).ok_or_else(unfit)?,
    );
    shape[inferred] = match others {
        // An empty tensor fits whatever the open size is.
        0 if total == 0 => 0,
        0 => return Err(unfit()),
        _ if total % others != 0 => return Err(unfit()),
        _ => total / others,
    };
    Ok(shape)
}

/// `test_flatten_axis0` to `test_flatten_axis3`, `test_flatten_default_axis`, `test_flatten_negative_axis1` to `4`
pub(super) fn flatten(axis: i64) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let axis = split_of(axis, shape.len())?;
        let rows: i64 = shape[..axis].iter().product();
        let columns: i64 = shape[axis..].iter().product();
        Ok(x.f_reshape([rows, columns])?.into())
    })
}

/// `test_transpose_default`, `test_transpose_all_permutations_0` to `_5`
pub(super) fn transpose(permutation: Option<&[usize]>) -> Kernel {
    let permutation: Option<Vec<i64>> =
        permutation.map(|order| order.iter().map(|&axis| signed(axis)).collect());
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let reversed: Vec<i64>;
        let order = match &permutation {
            Some(order) => order,
            None => {
                reversed = (0..signed(x.dim())).rev().collect();
                &reversed
            }
        };
        Ok(x.f_permute(order)?.into())
    })
}

/// `test_squeeze`, `test_squeeze_negative_axes`
pub(super) fn squeeze(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let axes = context.integers(1)?;
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let axes: Vec<usize> = match axes.read(args)? {
            Some(axes) => axes_of(&axes, shape.len())?,
            None => (0..shape.len()).filter(|&axis| shape[axis] == 1).collect(),
        };
        if let Some(axis) = axes.iter().find(|&&axis| shape[axis] != 1) {
            return Err(Cause::new(format!(
                "dimension {axis} of {shape:?} is not 1"
            )));
        }
        let kept = (0..shape.len())
            .filter(|axis| !axes.contains(axis))
            .map(|axis| shape[axis]);
        Ok(x.f_reshape(kept.collect::<Vec<_>>())?.into())
    }))
}

/// `test_unsqueeze_axis_0` to `_axis_2`, `test_unsqueeze_negative_axes`, `test_unsqueeze_three_axes`,
/// `test_unsqueeze_two_axes`, `test_unsqueeze_unsorted_axes`
pub(super) fn unsqueeze(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let axes = context.integers(1)?;
    Ok(Box::new(move |args| {
        let axes = axes.required(args, "axes")?;
        let x = args.tensor(0)?;
        let mut shape = x.size();
        for axis in axes_of(&axes, shape.len() + axes.len())? {
            shape.insert(axis, 1);
        }
        Ok(x.f_reshape(shape)?.into())
    }))
}

/// `test_concat_1d_axis_0` to `test_concat_3d_axis_2`, `test_concat_1d_axis_negative_1` …
pub(super) fn concat(axis: i64) -> Kernel {
    Box::new(move |args| {
        let tensors = args.tensors()?;
        let rank = tensors.first().map_or(0, |first| first.dim());
        Ok(Tensor::f_cat(&tensors, signed(axis_of(axis, rank)?))?.into())
    })
}

/// `test_split_equal_parts_1d_opset13`, `_2d_opset13`, `_default_axis_opset13`, the same of opset 18,
/// `test_split_variable_parts_…`, `test_split_zero_size_splits_…`, `test_split_1d_uneven_split_opset18`,
/// `test_split_2d_uneven_split_opset18`
pub(super) fn split(context: &NodeContext<'_>, axis: i64) -> Result<Kernel, Cause> {
    let sizes = context.integers(1)?;
    let parts = context.outputs();
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let shape = x.size();
        let axis = axis_of(axis, shape.len())?;
        let sizes = match sizes.read(args)? {
            Some(sizes) => sizes.into_owned(),
            None => equal_parts(shape[axis], signed(parts)),
        };
        if sizes.len() != parts {
            return Err(Cause::new(format!("{parts} outputs, but sizes {sizes:?}")));
        }
        Ok(x.f_split_with_sizes(sizes, signed(axis))?.into())
    }))
}

/// Parts of equal size but for the last ones, which take what is left.
fn equal_parts(size: i64, parts: i64) -> Vec<i64> {
    let part = (size + parts - 1) / parts.max(1);
    (0..parts)
        .map(|index| (size - index * part).clamp(0, part))
        .collect()
}

/// `test_expand_dim_changed`, `test_expand_dim_unchanged`
pub(super) fn expand(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let shape = context.integers(1)?;
    Ok(Box::new(move |args| {
        let wanted = shape.required(args, "shape")?;
        let x = args.tensor(0)?;
        Ok(x.f_expand(broadcast(&x.size(), &wanted)?, false)?.into())
    }))
}

fn broadcast(a: &[i64], b: &[i64]) -> Result<Vec<i64>, Cause> {
    let rank = a.len().max(b.len());
    let size = |shape: &[i64], index: usize| {
        (index + shape.len())
            .checked_sub(rank)
            .map_or(1, |index| shape[index])
    };
    (0..rank)
        .map(|index| match (size(a, index), size(b, index)) {
            (1, size) | (size, 1) => Ok(size),
            (left, right) if left == right => Ok(left),
            _ => Err(Cause::new(format!(
                "shapes {a:?} and {b:?} do not broadcast"
            ))),
        })
        .collect()
}

/// `test_shape`, `test_shape_example`, `test_shape_clip_end`, `test_shape_clip_start`, `test_shape_end_1`,
/// `test_shape_end_negative_1`, `test_shape_start_1`, `test_shape_start_1_end_2`,
/// `test_shape_start_1_end_negative_1`, `test_shape_start_negative_1`
pub(super) fn shape(start: i64, end: Option<i64>) -> Kernel {
    Box::new(move |args| {
        let shape = args.datum(0)?.shape()?;
        let rank = signed(shape.len());
        let clamped = |bound: i64| {
            let bound = if bound < 0 {
                bound.saturating_add(rank)
            } else {
                bound
            };
            usize::try_from(bound.clamp(0, rank)).unwrap_or(0)
        };
        let (start, end) = (clamped(start), clamped(end.unwrap_or(rank)));
        Ok(Tensor::f_from_slice(shape.get(start..end).unwrap_or_default())?.into())
    })
}

/// `test_constantofshape_float_ones`, `test_constantofshape_int_shape_zero`, `test_constantofshape_int_zeros`
pub(super) fn constant_of_shape(
    context: &NodeContext<'_>,
    value: f64,
    dtype: DType,
) -> Result<Kernel, Cause> {
    let kind = kind_of(storage::kept_as(dtype))?;
    let shape: Integers = context.integers(0)?;
    Ok(Box::new(move |args| {
        let shape = shape.required(args, "shape")?;
        let number = match kind {
            Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double => Number::Float(value),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "an integer's value is an integer"
            )]
            _ => Number::Int(value as i64),
        };
        Ok(full(&shape, number, kind)?.into())
    }))
}

/// `test_identity`, `test_sequence_map_identity_1_sequence_expanded`
pub(super) fn identity() -> Kernel {
    Box::new(|args| Ok(args.passed_on(0)?.into()))
}
