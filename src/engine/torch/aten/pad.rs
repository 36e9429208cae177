//! Padding, also with negative amounts, which crop.

use tch::Tensor;

use crate::graph::PadMode;

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::{Number, full};
use super::args::{Kernel, axis_of, number, signed};
use super::bounds::checked;
use super::context::NodeContext;

/// `test_constant_pad`, `test_constant_pad_axes`, `test_constant_pad_negative_axes`, `test_edge_pad`,
/// `test_reflect_pad`, `test_wrap_pad`
pub(super) fn pad(context: &NodeContext<'_>, mode: PadMode) -> Result<Kernel, Cause> {
    let pads = context.integers(1)?;
    let constant = context.number(2)?;
    let given = context.has_input(2);
    let axes = context.integers(3)?;
    Ok(Box::new(move |args| {
        let pads = pads.required(args, "pads")?;
        let x = args.tensor(0)?;
        let rank = x.dim();
        let axes: Vec<usize> = match axes.read(args)? {
            Some(axes) => axes
                .iter()
                .map(|&axis| axis_of(axis, rank))
                .collect::<Result<_, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Cause::new(format!(
                "pads {pads:?} do not fit {} axes",
                axes.len()
            )));
        }
        let mut amounts = vec![(0, 0); rank];
        for (index, &axis) in axes.iter().enumerate() {
            amounts[axis] = (pads[index], pads[axes.len() + index]);
        }
        padded(x, &amounts)?;
        let result = match mode {
            PadMode::Constant => {
                let value = match constant {
                    None if given => number(args.tensor(2)?)?,
                    known => known.unwrap_or(Number::Int(0)),
                };
                filled(x, &amounts, value)?
            }
            PadMode::Edge => repeat(x, &amounts, |index, size| index.clamp(0, size - 1))?,
            PadMode::Reflect => repeat(x, &amounts, mirrored)?,
            PadMode::Wrap => {
                // What is cropped is not there to be repeated.
                let part = |limit: fn(i64, i64) -> i64| {
                    let amounts = amounts.iter();
                    amounts.map(move |&(begin, end)| (limit(begin, 0), limit(end, 0)))
                };
                let cropped: Vec<_> = part(i64::min).collect();
                let added: Vec<_> = part(i64::max).collect();
                repeat(
                    &filled(x, &cropped, Number::Int(0))?,
                    &added,
                    i64::rem_euclid,
                )?
            }
        };
        Ok(result.into())
    }))
}

/// Returns the shape of the result, if there can be one.
fn padded(x: &Tensor, amounts: &[(i64, i64)]) -> Result<Vec<i64>, Cause> {
    let sizes = x.size().into_iter().zip(amounts);
    let sizes = sizes.map(|(size, (begin, end))| size.checked_add(*begin)?.checked_add(*end));
    let shape = sizes.collect::<Option<_>>();
    checked(shape.ok_or_else(|| unfit(x, amounts))?)
}

fn unfit(x: &Tensor, amounts: &[(i64, i64)]) -> Cause {
    Cause::new(format!("pads {amounts:?} do not fit data {:?}", x.size()))
}

/// Pads with a number, exactly also where FP64 does not have it.
fn filled(x: &Tensor, amounts: &[(i64, i64)], value: Number) -> Result<Tensor, Cause> {
    let shape = padded(x, amounts)?;
    let is_exact = |value: i64| value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS;
    if !matches!(value, Number::Int(value) if !is_exact(value)) {
        let list = amounts.iter().rev().flat_map(|&(begin, end)| [begin, end]);
        return Ok(x.f_pad(list.collect::<Vec<_>>(), "constant", value.to_f64())?);
    }
    let whole = beside(&full(&shape, value, x.f_kind()?)?, x)?;
    let (mut source, mut target) = (x.shallow_clone(), whole.shallow_clone());
    for (axis, &(begin, end)) in amounts.iter().enumerate() {
        let size = x.size()[axis];
        let kept = size + begin.min(0) + end.min(0);
        if kept < 0 {
            return Err(unfit(x, amounts));
        }
        source = source.f_narrow(signed(axis), (-begin).max(0), kept)?;
        target = target.f_narrow(signed(axis), begin.max(0), kept)?;
    }
    target.f_copy_(&source)?;
    Ok(whole)
}

/// `test_center_crop_pad_crop`, `_crop_and_pad`, `_crop_axes_chw`, `_crop_axes_hwc`, `_crop_negative_axes_hwc`, `_pad`
pub(super) fn center_crop_pad(
    context: &NodeContext<'_>,
    axes: Option<&[i64]>,
) -> Result<Kernel, Cause> {
    let sizes = context.integers(1)?;
    let axes = axes.map(<[i64]>::to_vec);
    Ok(Box::new(move |args| {
        let sizes = sizes.required(args, "shape")?;
        let x = args.tensor(0)?;
        let shape = x.size();
        let axes: Vec<usize> = match &axes {
            Some(axes) => axes
                .iter()
                .map(|&axis| axis_of(axis, shape.len()))
                .collect::<Result<_, _>>()?,
            None => (0..shape.len()).collect(),
        };
        if sizes.len() != axes.len() || sizes.iter().any(|&size| size < 0) {
            return Err(Cause::new(format!(
                "shape {sizes:?} is not {} sizes",
                axes.len()
            )));
        }
        let mut amounts = vec![(0, 0); shape.len()];
        for (&axis, &size) in axes.iter().zip(sizes.iter()) {
            let change = size - shape[axis];
            // Half of it before, rounded towards no change.
            amounts[axis] = (change / 2, change - change / 2);
        }
        Ok(filled(x, &amounts, Number::Int(0))?.into())
    }))
}

/// Index of the element that a mirror at the first and the last one shows at `index`.
fn mirrored(index: i64, size: i64) -> i64 {
    let period = 2 * (size - 1);
    if period == 0 {
        return 0;
    }
    let place = index.rem_euclid(period);
    if place < size { place } else { period - place }
}

/// Pads with elements of the tensor: `source` tells which one, of an index outside (or inside) of the dimension.
fn repeat(
    x: &Tensor,
    amounts: &[(i64, i64)],
    source: fn(i64, i64) -> i64,
) -> Result<Tensor, Cause> {
    let mut result = x.shallow_clone();
    for (axis, &(begin, end)) in amounts.iter().enumerate() {
        if (begin, end) == (0, 0) {
            continue;
        }
        let size = result.size()[axis];
        if size == 0 {
            return Err(Cause::new(format!(
                "dimension {axis} is empty: nothing to pad with"
            )));
        }
        // An index tensor longer than memory cannot be asked for by a small file.
        let bounds = begin
            .checked_neg()
            .zip(size.checked_add(end))
            .filter(|(first, last)| {
                last.checked_sub(*first)
                    .is_some_and(|length| (0..=i64::from(i32::MAX)).contains(&length))
            });
        let Some((first, last)) = bounds else {
            return Err(Cause::new(format!(
                "padding a dimension of {size} by {begin} and {end} is not possible"
            )));
        };
        let indices: Vec<i64> = (first..last).map(|index| source(index, size)).collect();
        let indices = beside(&Tensor::f_from_slice(&indices)?, x)?;
        result = result.f_index_select(signed(axis), &indices)?;
    }
    Ok(result)
}
