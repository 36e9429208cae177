//! Operators whose output shape is the content of an input: Reshape, Expand, `ConstantOfShape`.

use crate::types::{DType, Dim, RANK_MAX, ShapeSpec};

use super::dims::{Product, broadcast};
use super::operands::{Operands, one};
use super::{CONTENTS_MAX, Fact, Size};
use crate::graph::Fault;

/// Reads a shape that is the content of an input: its rank, and its sizes.
pub(super) fn target(
    operands: Operands<'_>,
    input: usize,
) -> Result<(Option<usize>, Option<Vec<Size>>), Fault> {
    operands.require_int64(input)?;
    operands.list(input)?;
    let fact = operands.get(input)?;
    let rank = operands.list_length(input);
    if let (Some(seen), Some(rank)) = (&fact.shape, rank)
        && rank > RANK_MAX
    {
        let expected = format!("a list of at most {RANK_MAX} sizes");
        return Err(Fault::Shape {
            input,
            seen: seen.clone(),
            expected,
        });
    }
    Ok((rank, fact.contents.clone()))
}

/// Inputs: data, shape.
pub(super) fn reshape(allow_zero: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    let data = operands.get(0)?;
    let (rank, sizes) = target(operands, 1)?;
    let Some(sizes) = sizes else {
        return Ok(one(data.dtype, rank.map(|rank| vec![Dim::Any; rank])));
    };
    let wrong = || Fault::Parameter {
        parameter: "shape",
        seen: show(&sizes),
        expected: match &data.shape {
            Some(shape) => {
                format!("as many elements as input 0 of shape {shape} has, with at most one −1")
            }
            None => "sizes of at least 0, with at most one −1".to_owned(),
        },
    };
    let mut dims = Vec::with_capacity(sizes.len());
    let mut inferred = None;
    for (place, size) in sizes.iter().enumerate() {
        dims.push(match size {
            Size::Known(0) if !allow_zero => match data.dims() {
                Some(dims) => dims.get(place).cloned().ok_or_else(wrong)?,
                None => Dim::Any,
            },
            Size::Known(-1) if inferred.is_none() => {
                inferred = Some(place);
                Dim::Any
            }
            _ => size.dim().ok_or_else(wrong)?,
        });
    }
    if let Some(all) = data.dims() {
        let all = Product::of(all)?;
        let mut others = dims.clone();
        if let Some(place) = inferred {
            others.remove(place);
        }
        let rest = all
            .divided_by(Product::of(&others)?)
            .map_err(|()| wrong())?;
        match (inferred, rest) {
            (Some(place), Some(dim)) => dims[place] = dim,
            (None, Some(Dim::Fixed(rest))) if rest != 1 => return Err(wrong()),
            _ => {}
        }
    }
    Ok(vec![
        Fact::new(data.dtype, Some(ShapeSpec(dims))).with_contents(data.contents.clone()),
    ])
}

/// Inputs: data, shape; sizes of 1 on either side stretch.
pub(super) fn expand(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    let data = operands.get(0)?;
    let (rank, sizes) = target(operands, 1)?;
    let dims: Option<Vec<Dim>> = match sizes {
        Some(sizes) => Some(
            sizes
                .iter()
                .map(Size::dim)
                .collect::<Option<_>>()
                .ok_or_else(|| Fault::Parameter {
                    parameter: "shape",
                    seen: show(&sizes),
                    expected: "sizes of at least 0".to_owned(),
                })?,
        ),
        None => rank.map(|rank| vec![Dim::Any; rank]),
    };
    let dims = match (data.dims(), dims) {
        (Some(data), Some(dims)) => Some(broadcast(data, &dims)?),
        _ => None,
    };
    Ok(one(data.dtype, dims))
}

/// Inputs: shape.
pub(super) fn constant_of_shape(
    value: f64,
    dtype: DType,
    operands: Operands<'_>,
) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    let (rank, sizes) = target(operands, 0)?;
    let Some(sizes) = sizes else {
        return Ok(one(Some(dtype), rank.map(|rank| vec![Dim::Any; rank])));
    };
    let dims = sizes
        .iter()
        .map(Size::dim)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Fault::Parameter {
            parameter: "shape",
            seen: show(&sizes),
            expected: "sizes of at least 0".to_owned(),
        })?;
    let count = Product::of(&dims)?
        .dim()
        .fixed()
        .filter(|&count| count <= CONTENTS_MAX);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction of an integer tensor's value is zero"
    )]
    let contents = count
        .filter(|_| dims.len() <= 1 && matches!(dtype, DType::I64 | DType::I32 | DType::Bool))
        .map(|count| vec![Size::Known(value as i64); count]);
    Ok(vec![
        Fact::new(Some(dtype), Some(ShapeSpec(dims))).with_contents(contents),
    ])
}

pub(super) fn show(sizes: &[Size]) -> String {
    let sizes: Vec<_> = sizes
        .iter()
        .map(|size| match size {
            Size::Known(value) => value.to_string(),
            Size::Symbol(symbol) => symbol.to_string(),
            Size::Unknown => "?".to_owned(),
        })
        .collect();
    format!("[{}]", sizes.join(", "))
}
