//! Operators that put elements in order: `TopK`, Unique.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::operands::Operands;
use crate::graph::Fault;

/// Inputs: data, k.
pub(super) fn top_k(along: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    operands.require_number(0)?;
    operands.require_int64(1)?;
    let data = operands.get(0)?;
    let counts = operands.list(1)?;
    let Some(dims) = data.dims() else {
        return Ok(vec![
            Fact::new(data.dtype, None),
            Fact::new(Some(DType::I64), None),
        ]);
    };
    let place = super::axis(along, dims.len(), "axis")?;
    let mut taken = dims.to_vec();
    taken[place] = match counts.as_deref() {
        None => Dim::Any,
        Some(&[given]) => {
            let size = dims[place].fixed();
            let fits = |count: &usize| size.is_none_or(|size| *count <= size);
            let count = usize::try_from(given).ok().filter(fits);
            Dim::Fixed(count.ok_or_else(|| Fault::Parameter {
                parameter: "k",
                seen: given.to_string(),
                expected: format!("0 to {}, the size of dimension {place}", dims[place]),
            })?)
        }
        Some(several) => {
            return Err(Fault::Parameter {
                parameter: "k",
                seen: format!("{several:?}"),
                expected: "one number".to_owned(),
            });
        }
    };
    let shape = ShapeSpec(taken);
    Ok(vec![
        Fact::new(data.dtype, Some(shape.clone())),
        Fact::new(Some(DType::I64), Some(shape)),
    ])
}

pub(super) fn unique(along: Option<i64>, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let data = operands.get(0)?;
    let (distinct, places) = match (along, data.dims()) {
        (None, dims) => {
            let count = dims.map(super::dims::Product::of).transpose()?;
            let count = count.map_or(Dim::Any, super::dims::Product::dim);
            (Some(vec![Dim::Any]), count)
        }
        (Some(_), None) => (None, Dim::Any),
        (Some(along), Some(dims)) => {
            let place = super::axis(along, dims.len(), "axis")?;
            let mut distinct = dims.to_vec();
            let places = std::mem::replace(&mut distinct[place], Dim::Any);
            (Some(distinct), places)
        }
    };
    let list = |dim: Dim| Fact::new(Some(DType::I64), Some(ShapeSpec(vec![dim])));
    Ok(vec![
        Fact::new(data.dtype, distinct.map(ShapeSpec)),
        list(Dim::Any),
        list(places),
        list(Dim::Any),
    ])
}
