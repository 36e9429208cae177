//! Functions of two tensors, or of a tensor and a number.

use super::super::argument::Number;
use super::super::call::{Call, Form};
use super::operands::{common_dtype, operand, pair};
use super::registry::Rule;
use crate::graph::{Binary, Fault, Op, Reduce, Unary};
use crate::types::DType;

const BOTH: [&str; 2] = ["self", "other"];

pub(super) const RULES: &[Rule] = &[
    ("__and__.Scalar", |call| {
        bits(call, Binary::BitwiseAnd, Binary::And)
    }),
    ("__and__.Tensor", |call| {
        bits(call, Binary::BitwiseAnd, Binary::And)
    }),
    ("__or__.Scalar", |call| {
        bits(call, Binary::BitwiseOr, Binary::Or)
    }),
    ("__or__.Tensor", |call| {
        bits(call, Binary::BitwiseOr, Binary::Or)
    }),
    ("__xor__.Scalar", |call| {
        bits(call, Binary::BitwiseXor, Binary::Xor)
    }),
    ("__xor__.Tensor", |call| {
        bits(call, Binary::BitwiseXor, Binary::Xor)
    }),
    ("add.Scalar", |call| scaled(call, Binary::Add, BOTH)),
    ("add.Tensor", |call| scaled(call, Binary::Add, BOTH)),
    ("bitwise_and.Scalar", |call| {
        bits(call, Binary::BitwiseAnd, Binary::And)
    }),
    ("bitwise_and.Tensor", |call| {
        bits(call, Binary::BitwiseAnd, Binary::And)
    }),
    ("bitwise_or.Scalar", |call| {
        bits(call, Binary::BitwiseOr, Binary::Or)
    }),
    ("bitwise_or.Tensor", |call| {
        bits(call, Binary::BitwiseOr, Binary::Or)
    }),
    ("bitwise_xor.Scalar", |call| {
        bits(call, Binary::BitwiseXor, Binary::Xor)
    }),
    ("bitwise_xor.Tensor", |call| {
        bits(call, Binary::BitwiseXor, Binary::Xor)
    }),
    ("div.Scalar", divide),
    ("div.Scalar_mode", divide_rounding),
    ("div.Tensor", divide),
    ("div.Tensor_mode", divide_rounding),
    ("eq.Scalar", |call| compare(call, Binary::Equal)),
    ("eq.Tensor", |call| compare(call, Binary::Equal)),
    ("floor_divide.default", |call| divide_down(call)),
    ("fmod.Scalar", |call| {
        simple(call, Binary::Mod { truncated: true })
    }),
    ("fmod.Tensor", |call| {
        simple(call, Binary::Mod { truncated: true })
    }),
    ("ge.Scalar", |call| compare(call, Binary::GreaterOrEqual)),
    ("ge.Tensor", |call| compare(call, Binary::GreaterOrEqual)),
    ("gt.Scalar", |call| compare(call, Binary::Greater)),
    ("gt.Tensor", |call| compare(call, Binary::Greater)),
    ("le.Scalar", |call| compare(call, Binary::LessOrEqual)),
    ("le.Tensor", |call| compare(call, Binary::LessOrEqual)),
    ("logical_and.default", |call| logical(call, Binary::And)),
    ("logical_or.default", |call| logical(call, Binary::Or)),
    ("logical_xor.default", |call| logical(call, Binary::Xor)),
    ("lt.Scalar", |call| compare(call, Binary::Less)),
    ("lt.Tensor", |call| compare(call, Binary::Less)),
    ("masked_fill.Scalar", masked_fill),
    ("masked_fill.Tensor", masked_fill),
    ("maximum.default", |call| extreme(call, Reduce::Max)),
    ("minimum.default", |call| extreme(call, Reduce::Min)),
    ("mul.Scalar", |call| simple(call, Binary::Mul)),
    ("mul.Tensor", |call| simple(call, Binary::Mul)),
    ("ne.Scalar", differ),
    ("ne.Tensor", differ),
    ("remainder.Scalar", remainder),
    ("remainder.Tensor", remainder),
    ("rsub.Scalar", |call| {
        scaled(call, Binary::Sub, ["other", "self"])
    }),
    ("rsub.Tensor", |call| {
        scaled(call, Binary::Sub, ["other", "self"])
    }),
    ("sub.Scalar", |call| scaled(call, Binary::Sub, BOTH)),
    ("sub.Tensor", |call| scaled(call, Binary::Sub, BOTH)),
    ("where.Scalar", choose),
    ("where.ScalarOther", choose),
    ("where.ScalarSelf", choose),
    ("where.self", choose),
];

fn simple(call: &mut Call<'_>, function: Binary) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    Ok(Form::Node(Op::Binary(function), pair(call, BOTH, dtype)?))
}

/// The second operand is multiplied by `alpha`.
fn scaled(call: &mut Call<'_>, function: Binary, names: [&str; 2]) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    let mut inputs = pair(call, names, dtype)?;
    let alpha = call.arguments.number("alpha")?.unwrap_or(Number::Int(1));
    if alpha.float() != 1.0 {
        let alpha = call.scalar("alpha", alpha, dtype)?;
        let product = vec![inputs[1], Some(alpha)];
        inputs[1] = Some(call.step("scaled", Op::Binary(Binary::Mul), product)?);
    }
    Ok(Form::Node(Op::Binary(function), inputs))
}

fn divide(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = match common_dtype(call, &BOTH)? {
        dtype if dtype.is_float() => dtype,
        _ => DType::F32,
    };
    Ok(Form::Node(
        Op::Binary(Binary::Div),
        pair(call, BOTH, dtype)?,
    ))
}

fn divide_rounding(call: &mut Call<'_>) -> Result<Form, Fault> {
    match call.arguments.text("rounding_mode")? {
        None => divide(call),
        Some("floor") => divide_down(call),
        Some(_) => match common_dtype(call, &BOTH)? {
            dtype @ (DType::I64 | DType::I32) => Ok(Form::Node(
                Op::Binary(Binary::Div),
                pair(call, BOTH, dtype)?,
            )),
            _ => Ok(Form::Aten),
        },
    }
}

fn divide_down(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    if !dtype.is_float() {
        return Ok(Form::Aten);
    }
    let inputs = pair(call, BOTH, dtype)?;
    let quotient = call.step("quotient", Op::Binary(Binary::Div), inputs)?;
    Ok(Form::Node(Op::Unary(Unary::Floor), vec![Some(quotient)]))
}

fn remainder(call: &mut Call<'_>) -> Result<Form, Fault> {
    match common_dtype(call, &BOTH)? {
        dtype @ (DType::I64 | DType::I32) => {
            let op = Op::Binary(Binary::Mod { truncated: false });
            Ok(Form::Node(op, pair(call, BOTH, dtype)?))
        }
        _ => Ok(Form::Aten),
    }
}

fn compare(call: &mut Call<'_>, function: Binary) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    if dtype == DType::Bool && function != Binary::Equal {
        return Ok(Form::Aten);
    }
    Ok(Form::Node(Op::Binary(function), pair(call, BOTH, dtype)?))
}

fn differ(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    let inputs = pair(call, BOTH, dtype)?;
    let equal = call.step("equal", Op::Binary(Binary::Equal), inputs)?;
    Ok(Form::Node(Op::Unary(Unary::Not), vec![Some(equal)]))
}

fn logical(call: &mut Call<'_>, function: Binary) -> Result<Form, Fault> {
    let inputs = pair(call, BOTH, DType::Bool)?;
    Ok(Form::Node(Op::Binary(function), inputs))
}

fn bits(call: &mut Call<'_>, integers: Binary, truths: Binary) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    let function = if dtype == DType::Bool {
        truths
    } else {
        integers
    };
    Ok(Form::Node(Op::Binary(function), pair(call, BOTH, dtype)?))
}

fn extreme(call: &mut Call<'_>, kind: Reduce) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &BOTH)?;
    if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    Ok(Form::Node(Op::Variadic(kind), pair(call, BOTH, dtype)?))
}

fn choose(call: &mut Call<'_>) -> Result<Form, Fault> {
    let condition = operand(call, "condition", DType::Bool)?;
    let dtype = common_dtype(call, &BOTH)?;
    let mut inputs = vec![Some(condition)];
    inputs.extend(pair(call, BOTH, dtype)?);
    Ok(Form::Node(Op::Where, inputs))
}

fn masked_fill(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let dtype = call.dtype_of(data, "self")?;
    let mask = operand(call, "mask", DType::Bool)?;
    let value = operand(call, "value", dtype)?;
    Ok(Form::Node(
        Op::Where,
        vec![Some(mask), Some(value), Some(data)],
    ))
}
