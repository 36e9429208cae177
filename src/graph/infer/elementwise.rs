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
        Unary::BitwiseNot => operands.require_integer(0)?,
        Unary::IsNaN | Unary::IsInf { .. } => operands.require(
            0,
            |dtype| dtype.is_float() || dtype.is_narrow_float(),
            "a floating-point datatype",
        )?,
        Unary::Relu | Unary::Neg | Unary::Abs | Unary::Sign | Unary::Shrink { .. } => {
            operands.require_number(0)?;
        }
        Unary::Sigmoid
        | Unary::Tanh
        | Unary::Sin
        | Unary::Cos
        | Unary::Tan
        | Unary::Asin
        | Unary::Acos
        | Unary::Atan
        | Unary::Sinh
        | Unary::Cosh
        | Unary::Asinh
        | Unary::Acosh
        | Unary::Atanh
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
        | Unary::Gelu { .. }
        | Unary::Selu { .. }
        | Unary::Celu { .. }
        | Unary::ThresholdedRelu { .. }
        | Unary::Swish { .. } => operands.require_float(0)?,
    }
    let data = operands.get(0)?;
    let dtype = match function {
        Unary::IsNaN | Unary::IsInf { .. } => Some(DType::Bool),
        _ => data.dtype,
    };
    let contents = match function {
        Unary::Not => arithmetic::not(data),
        _ => None,
    };
    Ok(vec![
        Fact::new(dtype, data.shape.clone()).with_contents(contents),
    ])
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
        Binary::Mod { truncated: true } => {
            operands.require_number(0)?;
            operands.common_dtype([0, 1])?
        }
        Binary::Mod { truncated: false } => {
            operands.require_integer(0)?;
            operands.common_dtype([0, 1])?
        }
        Binary::BitwiseAnd | Binary::BitwiseOr | Binary::BitwiseXor => {
            operands.require_integer(0)?;
            operands.common_dtype([0, 1])?
        }
        Binary::ShiftLeft | Binary::ShiftRight => {
            operands.require_unsigned(0)?;
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
            _ => operands.require_float(input)?,
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
    let contents = match kind {
        Reduce::Max => arithmetic::extreme(true, &facts),
        Reduce::Min => arithmetic::extreme(false, &facts),
        _ => None,
    };
    Ok(one(dtype, dims)
        .into_iter()
        .map(|fact| fact.with_contents(contents.clone()))
        .collect())
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

/// As [`softmax`]; a scalar has no axis.
pub(super) fn hardmax(axis: i64, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(1, 1)?;
    operands.require_float(0)?;
    let data = operands.get(0)?;
    if let Some(rank) = data.rank() {
        super::axis(axis, rank, "axis")?;
    }
    Ok(vec![Fact::new(data.dtype, data.shape.clone())])
}
