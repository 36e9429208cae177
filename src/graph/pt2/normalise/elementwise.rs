//! Functions of single elements.

use super::super::argument::Number;
use super::super::call::{Call, Form};
use super::operands::{common_dtype, floating, operand};
use super::registry::Rule;
use crate::graph::{Binary, Fault, Op, Unary};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("abs.default", |call| plain(call, Unary::Abs)),
    ("acos.default", |call| float(call, Unary::Acos)),
    ("asin.default", |call| float(call, Unary::Asin)),
    ("atan.default", |call| float(call, Unary::Atan)),
    ("bitwise_not.default", bitwise_not),
    ("ceil.default", |call| float(call, Unary::Ceil)),
    ("clamp.default", |call| clamp(call, "min", "max")),
    ("clamp_max.default", |call| clamp(call, "", "max")),
    ("clamp_min.default", |call| clamp(call, "min", "")),
    ("cos.default", |call| float(call, Unary::Cos)),
    ("cosh.default", |call| float(call, Unary::Cosh)),
    ("elu.default", elu),
    ("erf.default", |call| float(call, Unary::Erf)),
    ("exp.default", |call| float(call, Unary::Exp)),
    ("floor.default", |call| float(call, Unary::Floor)),
    ("gelu.default", gelu),
    ("hardsigmoid.default", |call| {
        let (alpha, beta) = (1.0 / 6.0, 0.5);
        float(call, Unary::HardSigmoid { alpha, beta })
    }),
    ("hardswish.default", |call| float(call, Unary::HardSwish)),
    ("hardtanh.default", hardtanh),
    ("isinf.default", |call| {
        let (negative, positive) = (true, true);
        plain(call, Unary::IsInf { negative, positive })
    }),
    ("isnan.default", |call| plain(call, Unary::IsNaN)),
    ("leaky_relu.default", |call| {
        let alpha = call.arguments.single("negative_slope", 0.01)?;
        float(call, Unary::LeakyRelu { alpha })
    }),
    ("log.default", |call| float(call, Unary::Log)),
    ("logical_not.default", logical_not),
    ("mish.default", |call| float(call, Unary::Mish)),
    ("neg.default", |call| plain(call, Unary::Neg)),
    ("pow.Tensor_Scalar", power),
    ("pow.Tensor_Tensor", power),
    ("prelu.default", prelu),
    ("reciprocal.default", |call| float(call, Unary::Reciprocal)),
    ("relu.default", |call| plain(call, Unary::Relu)),
    ("relu6.default", |call| bounded(call, 0.0, 6.0)),
    ("round.default", |call| float(call, Unary::Round)),
    ("rsqrt.default", rsqrt),
    ("selu.default", |call| {
        let (alpha, gamma) = (1.673_263_2, 1.050_701);
        float(call, Unary::Selu { alpha, gamma })
    }),
    ("sigmoid.default", |call| float(call, Unary::Sigmoid)),
    ("sign.default", |call| plain(call, Unary::Sign)),
    ("silu.default", |call| {
        float(call, Unary::Swish { alpha: 1.0 })
    }),
    ("sin.default", |call| float(call, Unary::Sin)),
    ("sinh.default", |call| float(call, Unary::Sinh)),
    ("softplus.default", softplus),
    ("sqrt.default", |call| float(call, Unary::Sqrt)),
    ("square.default", |call| {
        let value = Some(call.tensor("self")?);
        Ok(Form::Node(Op::Binary(Binary::Mul), vec![value, value]))
    }),
    ("tan.default", |call| float(call, Unary::Tan)),
    ("tanh.default", |call| float(call, Unary::Tanh)),
];

fn plain(call: &mut Call<'_>, function: Unary) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    match call.dtype_of(value, "self")? {
        DType::Bool => Ok(Form::Aten),
        _ => Ok(Form::Node(Op::Unary(function), vec![Some(value)])),
    }
}

fn float(call: &mut Call<'_>, function: Unary) -> Result<Form, Fault> {
    let value = floating(call)?;
    Ok(Form::Node(Op::Unary(function), vec![Some(value)]))
}

fn gelu(call: &mut Call<'_>) -> Result<Form, Fault> {
    match call.arguments.text("approximate")? {
        None | Some("none") => float(call, Unary::Gelu { tanh: false }),
        Some("tanh") => float(call, Unary::Gelu { tanh: true }),
        Some(_) => Ok(Form::Aten),
    }
}

fn elu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let scales = [("scale", 1.0), ("input_scale", 1.0)];
    for (name, default) in scales {
        if call.arguments.single(name, default)? != 1.0 {
            return Ok(Form::Aten);
        }
    }
    let alpha = call.arguments.single("alpha", 1.0)?;
    float(call, Unary::Elu { alpha })
}

/// libtorch returns x itself above the threshold, where the function is that to the last bit but one.
fn softplus(call: &mut Call<'_>) -> Result<Form, Fault> {
    let beta = call.arguments.single("beta", 1.0)?;
    let threshold = call.arguments.single("threshold", 20.0)?;
    if beta == 1.0 && threshold >= 20.0 {
        float(call, Unary::Softplus)
    } else {
        Ok(Form::Aten)
    }
}

fn rsqrt(call: &mut Call<'_>) -> Result<Form, Fault> {
    let value = floating(call)?;
    let root = call.step("root", Op::Unary(Unary::Sqrt), vec![Some(value)])?;
    Ok(Form::Node(Op::Unary(Unary::Reciprocal), vec![Some(root)]))
}

fn logical_not(call: &mut Call<'_>) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let value = call.cast(value, DType::Bool)?;
    Ok(Form::Node(Op::Unary(Unary::Not), vec![Some(value)]))
}

fn bitwise_not(call: &mut Call<'_>) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let function = match call.dtype_of(value, "self")? {
        DType::Bool => Unary::Not,
        _ => Unary::BitwiseNot,
    };
    Ok(Form::Node(Op::Unary(function), vec![Some(value)]))
}

fn hardtanh(call: &mut Call<'_>) -> Result<Form, Fault> {
    let low = call.arguments.float("min_val", -1.0)?;
    let high = call.arguments.float("max_val", 1.0)?;
    bounded(call, low, high)
}

fn bounded(call: &mut Call<'_>, low: f64, high: f64) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let dtype = call.dtype_of(value, "self")?;
    if !dtype.is_float() {
        return Ok(Form::Aten);
    }
    let low = call.scalar("min", Number::Float(low), dtype)?;
    let high = call.scalar("max", Number::Float(high), dtype)?;
    Ok(Form::Node(
        Op::Clip,
        vec![Some(value), Some(low), Some(high)],
    ))
}

fn clamp(call: &mut Call<'_>, min: &str, max: &str) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let mut inputs = vec![Some(value)];
    let mut names = vec!["self"];
    let given = [min, max].map(|name| !name.is_empty() && call.arguments.get(name).is_some());
    names.extend(
        [min, max]
            .into_iter()
            .zip(given)
            .filter(|(_, given)| *given)
            .map(|(name, _)| name),
    );
    let dtype = common_dtype(call, &names)?;
    if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    inputs[0] = Some(call.cast(value, dtype)?);
    for (name, given) in [min, max].into_iter().zip(given) {
        inputs.push(if given {
            Some(operand(call, name, dtype)?)
        } else {
            None
        });
    }
    Ok(Form::Node(Op::Clip, inputs))
}

fn power(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = common_dtype(call, &["self", "exponent"])?;
    if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    let base = operand(call, "self", dtype)?;
    let exponent = operand(call, "exponent", dtype)?;
    Ok(Form::Node(
        Op::Binary(Binary::Pow),
        vec![Some(base), Some(exponent)],
    ))
}

/// The weight is one for all, or one for each channel, and the channels are dimension 1.
fn prelu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (value, weight) = (call.tensor("self")?, call.tensor("weight")?);
    let single = call
        .builder
        .fact(weight)
        .dims()
        .is_some_and(|dims| dims.iter().all(|dim| dim.fixed() == Some(1)));
    let rank = call.rank_of(value, "self")?;
    let shape = match rank {
        _ if single => Vec::new(),
        0 | 1 => return Ok(Form::Aten),
        _ => [vec![-1], vec![1; rank - 2]].concat(),
    };
    let shape = call.integers("shape", &shape)?;
    let op = Op::Reshape { allow_zero: false };
    let slope = call.step("slope", op, vec![Some(weight), Some(shape)])?;
    Ok(Form::Node(
        Op::Binary(Binary::PRelu),
        vec![Some(value), Some(slope)],
    ))
}
