//! Padding, also with negative amounts, which crop.

use tch::Tensor;

use crate::graph::PadMode;

use super::super::cause::Cause;
use super::super::ffi::scalar::Number;
use super::args::{Kernel, axis_of, number, signed};
use super::context::NodeContext;

/// `test_constant_pad`, `test_constant_pad_axes`, `test_constant_pad_negative_axes`, `test_edge_pad`,
/// `test_reflect_pad`
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
        let result = match mode {
            PadMode::Constant => {
                let value = match constant {
                    None if given => number(args.tensor(2)?)?.to_f64(),
                    known => known.map_or(0.0, Number::to_f64),
                };
                let list: Vec<i64> = amounts
                    .iter()
                    .rev()
                    .flat_map(|&(begin, end)| [begin, end])
                    .collect();
                x.f_pad(list, "constant", value)?
            }
            PadMode::Edge => repeat(x, &amounts, |index, size| index.clamp(0, size - 1))?,
            PadMode::Reflect => repeat(x, &amounts, mirrored)?,
        };
        Ok(result.into())
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
        result = result.f_index_select(signed(axis), &Tensor::f_from_slice(&indices)?)?;
    }
    Ok(result)
}
