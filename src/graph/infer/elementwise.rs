//! Element-wise operators: broadcasting, and which dtypes go in and out.

use crate::types::DType;

use super::dims::broadcast;
use super::operands::{Operands, one};
use super::{Fact, arithmetic};
use crate::graph::{Binary, Fault, Reduce, Unary};

pub(super) fn unary(function: Unary, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    match function {
        Unary::Not => operands.require_bool(0)?,
        Unary::Relu | Unary::Neg | Unary::Abs | Unary::Sign => operands.require_number(0)?,
        Unary::Sigmoid
        | Unary::Tanh
        | Unary::Exp
        | Unary::Log
        | Unary::Sqrt
        | Unary::Reciprocal
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Erf
        | Unary::Softplus
        | Unary::Softsign
        | Unary::HardSwish
        | Unary::Mish
        | Unary::HardSigmoid { .. }
        | Unary::LeakyRelu { .. }
        | Unary::Elu { .. }
        | Unary::Gelu { .. } => operands.require_float(0)?,
    }
    let data = operands.get(0)?;
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}

pub(super) fn binary(function: Binary, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 2)?;
    let (left, right) = (operands.get(0)?, operands.get(1)?);
    let dims = match (left.dims(), right.dims()) {
        (Some(left), Some(right)) => Some(broadcast(left, right)?),
        _ => None,
    };
    let dtype = match function {
        Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::PRelu => {
            operands.require_number(0)?;
            operands.common_dtype([0, 1])?
        }
        Binary::Pow => {
            operands.require_number(0)?;
            operands.require_number(1)?;
            left.dtype
        }
        Binary::And | Binary::Or | Binary::Xor => {
            operands.require_bool(0)?;
            operands.require_bool(1)?;
            Some(DType::Bool)
        }
        Binary::Equal => {
            operands.common_dtype([0, 1])?;
            Some(DType::Bool)
        }
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            operands.require_number(0)?;
            operands.common_dtype([0, 1])?;
            Some(DType::Bool)
        }
    };
    let contents = arithmetic::binary(function, left, right);
    Ok(one(dtype, dims)
        .into_iter()
        .map(|fact| fact.with_contents(contents.clone()))
        .collect())
}

pub(super) fn variadic(kind: Reduce, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, usize::MAX)?;
    let facts = operands.all()?;
    for input in 0..facts.len() {
        match kind {
            Reduce::Max | Reduce::Min => operands.require_number(input)?,
            Reduce::Sum | Reduce::Mean | Reduce::Prod | Reduce::L1 | Reduce::L2 => {
                operands.require_float(input)?;
            }
        }
    }
    let dtype = operands.common_dtype(0..facts.len())?;
    let mut dims = facts[0].dims().map(<[_]>::to_vec);
    for fact in &facts[1..] {
        dims = match (dims, fact.dims()) {
            (Some(left), Some(right)) => Some(broadcast(&left, right)?),
            _ => None,
        };
    }
    Ok(one(dtype, dims))
}

pub(super) fn clip(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 3)?;
    operands.require_number(0)?;
    let dtype = operands.common_dtype(0..3)?;
    for bound in 1..3 {
        // A bound is a scalar; exporters also write it as a list of one element.
        if let Some(shape) = operands
            .optional(bound)
            .and_then(|fact| fact.shape.as_ref())
            && shape
                .0
                .iter()
                .any(|dim| dim.fixed().is_some_and(|size| size != 1))
        {
            let expected = "a scalar".to_owned();
            return Err(Fault::Shape {
                input: bound,
                seen: shape.clone(),
                expected,
            });
        }
    }
    Ok(vec![Fact::new(dtype, operands.get(0)?.shape.clone())])
}

pub(super) fn choose(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(3, 3)?;
    operands.require_bool(0)?;
    let dtype = operands.common_dtype([1, 2])?;
    let facts = operands.all()?;
    let dims = match (facts[0].dims(), facts[1].dims(), facts[2].dims()) {
        (Some(condition), Some(left), Some(right)) => {
            Some(broadcast(condition, &broadcast(left, right)?)?)
        }
        _ => None,
    };
    let contents = arithmetic::choose(facts[0], facts[1], facts[2]);
    Ok(one(dtype, dims)
        .into_iter()
        .map(|fact| fact.with_contents(contents.clone()))
        .collect())
}

pub(super) fn batch_normalization(operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(5, 5)?;
    let facts = operands.all()?;
    for (input, fact) in facts.iter().enumerate() {
        operands.require_float(input)?;
        let (Some(data), Some(parameter)) = (facts[0].dims(), fact.dims()) else {
            continue;
        };
        if input == 0 {
            continue;
        }
        let channels = data
            .get(1)
            .and_then(crate::types::Dim::fixed)
            .or((data.len() == 1).then_some(1));
        let fits = match (parameter, channels) {
            ([size], Some(channels)) => size.fixed().is_none_or(|size| size == channels),
            ([_], None) => true,
            _ => false,
        };
        if !fits {
            let seen = crate::types::ShapeSpec(parameter.to_vec());
            let expected = match channels {
                Some(channels) => format!("[{channels}], one element per channel of input 0"),
                None => "one dimension".to_owned(),
            };
            return Err(Fault::Shape {
                input,
                seen,
                expected,
            });
        }
    }
    Ok(vec![Fact::new(facts[0].dtype, facts[0].shape.clone())])
}

pub(super) fn layer_normalization(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(2, 3)?;
    let data = operands.get(0)?;
    for input in 0..3 {
        operands.require_float(input)?;
    }
    if let Some(dims) = data.dims() {
        let first = super::axis(axis, dims.len(), "axis")?;
        for input in 1..3 {
            let Some(parameter) = operands.optional(input).and_then(Fact::dims) else {
                continue;
            };
            if broadcast(&dims[first..], parameter)?.len() > dims.len() - first {
                return Err(super::dims::mismatch(
                    &dims[first..],
                    parameter,
                    "parameters fit the normalised dimensions",
                ));
            }
        }
    }
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}

/// Softmax and its kin: the shape stays, the axis has to exist.
pub(super) fn softmax(axis: i64, flat: bool, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    if let Some(rank) = data.rank() {
        if flat {
            super::dims::boundary(axis, rank, "axis")?;
        } else {
            super::axis(axis, rank.max(1), "axis")?;
        }
    }
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}
