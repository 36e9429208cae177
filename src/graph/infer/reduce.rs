//! Operators that take dimensions away: reductions and searches for extremes.

use crate::types::{DType, Dim};

use super::dims::axes;
use super::operands::{Operands, one};
use super::{Fact, Size};
use crate::graph::{Fault, Reduce};

/// Inputs: data, axes?.
pub(super) fn reduce(
    kind: Reduce,
    keep_dims: bool,
    noop_with_empty_axes: bool,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 2)?;
    operands.require_int64(1)?;
    match kind {
        // Extremes of BOOL came with opset 20.
        Reduce::Max | Reduce::Min => {
            let accept = |dtype| dtype != DType::Bytes;
            operands.require(0, accept, "a numeric datatype or BOOL")?;
        }
        _ => operands.require_number(0)?,
    }
    let data = operands.get(0)?;
    let listed = operands.list(1)?;
    let given = operands.optional(1).is_some();
    let Some(dims) = data.dims() else {
        return Ok(one(data.dtype, None));
    };
    let reduced = match listed {
        Some(values) if !values.is_empty() => axes(&values, dims.len())?,
        None if given && operands.list_length(1) != Some(0) => {
            let open = keep_dims.then(|| vec![Dim::Any; dims.len()]);
            return Ok(one(data.dtype, open));
        }
        _ if noop_with_empty_axes => return Ok(one(data.dtype, Some(dims.to_vec()))),
        _ => (0..dims.len()).collect(),
    };
    let contents = match (kind, data.numbers()) {
        (Reduce::Prod, Some(numbers)) if dims.len() == 1 && !reduced.is_empty() => numbers
            .iter()
            .try_fold(1_i64, |product, &number| product.checked_mul(number)),
        _ => None,
    };
    let dims = without(dims, &reduced, keep_dims);
    let fact = one(data.dtype, Some(dims)).remove(0);
    Ok(vec![fact.with_contents(
        contents.map(|product| vec![Size::Known(product)]),
    )])
}

pub(super) fn arg_extreme(
    axis: i64,
    keep_dims: bool,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_number(0)?;
    let dims = match operands.get(0)?.dims() {
        Some(dims) => Some(without(
            dims,
            &[super::axis(axis, dims.len(), "axis")?],
            keep_dims,
        )),
        None => None,
    };
    Ok(one(Some(DType::I64), dims))
}

/// Inputs: data, axis.
pub(super) fn cumulative(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_number(0)?;
    let data = operands.get(0)?;
    if let (Some(rank), Some(&[value])) = (data.rank(), operands.list(1)?.as_deref()) {
        super::axis(value, rank, "axis")?;
    }
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}

/// Returns dimensions with those at `places` gone, or 1.
fn without(dims: &[Dim], places: &[usize], keep: bool) -> Vec<Dim> {
    dims.iter()
        .enumerate()
        .filter_map(|(place, dim)| match places.contains(&place) {
            true => keep.then_some(Dim::Fixed(1)),
            false => Some(dim.clone()),
        })
        .collect()
}
