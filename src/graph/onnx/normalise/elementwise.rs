//! Element-wise operators: defaults of attributes, bounds that were attributes, broadcasting before opset 7.

use crate::types::Dim;

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::infer::axis;
use crate::graph::{Binary, Fault, Op, Reduce, Unary, ValueId};

pub(super) const RULES: &[Rule] = &[
    ("Abs", |call| call.plain(Op::Unary(Unary::Abs))),
    ("Acos", |call| call.plain(Op::Unary(Unary::Acos))),
    ("Acosh", |call| call.plain(Op::Unary(Unary::Acosh))),
    ("Add", |call| binary(call, Binary::Add)),
    ("And", |call| binary(call, Binary::And)),
    ("Asin", |call| call.plain(Op::Unary(Unary::Asin))),
    ("Asinh", |call| call.plain(Op::Unary(Unary::Asinh))),
    ("Atan", |call| call.plain(Op::Unary(Unary::Atan))),
    ("Atanh", |call| call.plain(Op::Unary(Unary::Atanh))),
    ("BitShift", bit_shift),
    ("BitwiseAnd", |call| {
        call.plain(Op::Binary(Binary::BitwiseAnd))
    }),
    ("BitwiseNot", |call| {
        call.plain(Op::Unary(Unary::BitwiseNot))
    }),
    ("BitwiseOr", |call| {
        call.plain(Op::Binary(Binary::BitwiseOr))
    }),
    ("BitwiseXor", |call| {
        call.plain(Op::Binary(Binary::BitwiseXor))
    }),
    ("Ceil", |call| call.plain(Op::Unary(Unary::Ceil))),
    ("Celu", celu),
    ("Clip", clip),
    ("Cos", |call| call.plain(Op::Unary(Unary::Cos))),
    ("Cosh", |call| call.plain(Op::Unary(Unary::Cosh))),
    ("Div", |call| binary(call, Binary::Div)),
    ("Elu", elu),
    ("Equal", |call| binary(call, Binary::Equal)),
    ("Erf", |call| call.plain(Op::Unary(Unary::Erf))),
    ("Exp", |call| call.plain(Op::Unary(Unary::Exp))),
    ("Floor", |call| call.plain(Op::Unary(Unary::Floor))),
    ("Gelu", gelu),
    ("Greater", |call| binary(call, Binary::Greater)),
    ("GreaterOrEqual", |call| {
        binary(call, Binary::GreaterOrEqual)
    }),
    ("HardSigmoid", hard_sigmoid),
    ("HardSwish", |call| call.plain(Op::Unary(Unary::HardSwish))),
    ("IsInf", is_inf),
    ("IsNaN", |call| call.plain(Op::Unary(Unary::IsNaN))),
    ("LeakyRelu", leaky_relu),
    ("Less", |call| binary(call, Binary::Less)),
    ("LessOrEqual", |call| binary(call, Binary::LessOrEqual)),
    ("Log", |call| call.plain(Op::Unary(Unary::Log))),
    ("Max", |call| call.plain(Op::Variadic(Reduce::Max))),
    ("Mean", |call| call.plain(Op::Variadic(Reduce::Mean))),
    ("Min", |call| call.plain(Op::Variadic(Reduce::Min))),
    ("Mish", |call| call.plain(Op::Unary(Unary::Mish))),
    ("Mod", modulo),
    ("Mul", |call| binary(call, Binary::Mul)),
    ("Neg", |call| call.plain(Op::Unary(Unary::Neg))),
    ("Not", |call| call.plain(Op::Unary(Unary::Not))),
    ("Or", |call| binary(call, Binary::Or)),
    ("PRelu", prelu),
    ("Pow", |call| binary(call, Binary::Pow)),
    ("Reciprocal", |call| {
        call.plain(Op::Unary(Unary::Reciprocal))
    }),
    ("Relu", |call| call.plain(Op::Unary(Unary::Relu))),
    ("Round", |call| call.plain(Op::Unary(Unary::Round))),
    ("Selu", selu),
    ("Shrink", shrink),
    ("Sigmoid", |call| call.plain(Op::Unary(Unary::Sigmoid))),
    ("Sign", |call| call.plain(Op::Unary(Unary::Sign))),
    ("Sin", |call| call.plain(Op::Unary(Unary::Sin))),
    ("Sinh", |call| call.plain(Op::Unary(Unary::Sinh))),
    ("Softplus", |call| call.plain(Op::Unary(Unary::Softplus))),
    ("Softsign", |call| call.plain(Op::Unary(Unary::Softsign))),
    ("Sqrt", |call| call.plain(Op::Unary(Unary::Sqrt))),
    ("Sub", |call| binary(call, Binary::Sub)),
    ("Sum", |call| call.plain(Op::Variadic(Reduce::Sum))),
    ("Swish", swish),
    ("Tan", |call| call.plain(Op::Unary(Unary::Tan))),
    ("Tanh", |call| call.plain(Op::Unary(Unary::Tanh))),
    ("ThresholdedRelu", thresholded_relu),
    ("Where", |call| call.plain(Op::Where)),
    ("Xor", |call| binary(call, Binary::Xor)),
];

pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let (alpha, beta) = (
        attributes.float_or("alpha", 0.2)?,
        attributes.float_or("beta", 0.5)?,
    );
    call.plain(Op::Unary(Unary::HardSigmoid { alpha, beta }))
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let alpha = call.attributes.float_or("alpha", 0.01)?;
    call.plain(Op::Unary(Unary::LeakyRelu { alpha }))
}

pub(super) fn elu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let alpha = call.attributes.float_or("alpha", 1.0)?;
    call.plain(Op::Unary(Unary::Elu { alpha }))
}

/// The defaults depend on the opset, as the numbers that opset 6 rounds were written with fewer digits before.
fn selu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (alpha, gamma) = if call.opset < 6 {
        (1.6732, 1.0507)
    } else {
        (1.673_263_2, 1.050_701)
    };
    let alpha = call.attributes.float_or("alpha", alpha)?;
    let gamma = call.attributes.float_or("gamma", gamma)?;
    call.plain(Op::Unary(Unary::Selu { alpha, gamma }))
}

fn celu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let alpha = call.attributes.float_or("alpha", 1.0)?;
    if alpha == 0.0 {
        return Err(wrong("alpha", alpha, "a number other than 0"));
    }
    call.plain(Op::Unary(Unary::Celu { alpha }))
}

fn shrink(call: &mut Call<'_>) -> Result<Form, Fault> {
    let bias = call.attributes.float_or("bias", 0.0)?;
    let lambda = call.attributes.float_or("lambd", 0.5)?;
    call.plain(Op::Unary(Unary::Shrink { bias, lambda }))
}

fn swish(call: &mut Call<'_>) -> Result<Form, Fault> {
    let alpha = call.attributes.float_or("alpha", 1.0)?;
    call.plain(Op::Unary(Unary::Swish { alpha }))
}

fn thresholded_relu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let alpha = call.attributes.float_or("alpha", 1.0)?;
    call.plain(Op::Unary(Unary::ThresholdedRelu { alpha }))
}

fn is_inf(call: &mut Call<'_>) -> Result<Form, Fault> {
    let negative = call.attributes.flag("detect_negative", true)?;
    let positive = call.attributes.flag("detect_positive", true)?;
    call.plain(Op::Unary(Unary::IsInf { negative, positive }))
}

fn bit_shift(call: &mut Call<'_>) -> Result<Form, Fault> {
    let expected = "LEFT or RIGHT";
    match call.attributes.text("direction")?.as_deref() {
        Some("LEFT") => call.plain(Op::Binary(Binary::ShiftLeft)),
        Some("RIGHT") => call.plain(Op::Binary(Binary::ShiftRight)),
        Some(seen) => Err(wrong("direction", format!("{seen:?}"), expected)),
        None => Err(Fault::NoAttribute {
            attribute: "direction".to_owned(),
            expected,
        }),
    }
}

fn modulo(call: &mut Call<'_>) -> Result<Form, Fault> {
    let truncated = call.attributes.flag("fmod", false)?;
    call.plain(Op::Binary(Binary::Mod { truncated }))
}

pub(super) fn gelu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let tanh = match call.attributes.text("approximate")?.as_deref() {
        None | Some("none") => false,
        Some("tanh") => true,
        Some(seen) => {
            return Err(wrong(
                "approximate",
                format!("{seen:?}"),
                "\"none\" or \"tanh\"",
            ));
        }
    };
    call.plain(Op::Unary(Unary::Gelu { tanh }))
}

pub(super) fn binary(call: &mut Call<'_>, function: Binary) -> Result<Form, Fault> {
    let mut inputs = call.inputs.clone();
    // Before opset 7 the second tensor's dimensions could be laid against any of the first, not just the last ones.
    if call.opset < 7
        && call.attributes.flag("broadcast", false)?
        && let Some(start) = call.attributes.int("axis")?
    {
        let (rank, own) = (call.rank(0, "axis")?, call.rank(1, "axis")?);
        let start = axis(start, rank, "axis")?;
        let trailing = rank.checked_sub(start + own).ok_or_else(|| {
            wrong(
                "axis",
                start,
                &format!(
                    "at most {}, so that the {own} dimensions of input 1 fit",
                    rank.saturating_sub(own)
                ),
            )
        })?;
        inputs = vec![
            Some(call.input(0)?),
            Some(with_trailing(call, 1, own, trailing)?),
        ];
    }
    call.attributes.ignore(if call.opset < 7 {
        &["axis", "broadcast"]
    } else {
        &[]
    });
    Ok(Form::Node(Op::Binary(function), inputs))
}

/// Returns an input with `count` dimensions of size 1 after its `own` ones.
fn with_trailing(
    call: &mut Call<'_>,
    input: usize,
    own: usize,
    count: usize,
) -> Result<ValueId, Fault> {
    let id = call.input(input)?;
    if count == 0 {
        return Ok(id);
    }
    let axes: Vec<i64> = (own..own + count)
        .filter_map(|axis| i64::try_from(axis).ok())
        .collect();
    let axes = call.integers("axes", &axes)?;
    call.step("aligned", Op::Unsqueeze, vec![Some(id), Some(axes)])
}

/// Before opset 7 a slope with one element per channel was laid against dimension 1.
pub(super) fn prelu(call: &mut Call<'_>) -> Result<Form, Fault> {
    let mut inputs = call.inputs.clone();
    if call.opset < 7 {
        let slope = call
            .builder
            .fact(call.input(1)?)
            .dims()
            .map(<[Dim]>::to_vec);
        if let Some([size]) = slope.as_deref()
            && *size != Dim::Fixed(1)
        {
            let trailing = call.rank(0, "slope")?.saturating_sub(2);
            inputs = vec![
                Some(call.input(0)?),
                Some(with_trailing(call, 1, 1, trailing)?),
            ];
        }
    }
    Ok(Form::Node(Op::Binary(Binary::PRelu), inputs))
}

pub(super) fn clip(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset >= 11 {
        return call.plain(Op::Clip);
    }
    call.at_most_inputs(1)?;
    let mut inputs = vec![Some(call.input(0)?)];
    for bound in ["min", "max"] {
        inputs.push(match call.attributes.float(bound)? {
            Some(value) => {
                let dtype = call.dtype(0, bound)?;
                let expected = "a floating-point datatype".to_owned();
                let scalar = literal::float(dtype, value).ok_or(Fault::DType {
                    input: 0,
                    seen: dtype,
                    expected,
                })?;
                Some(call.literal(bound, Some(scalar))?)
            }
            None => None,
        });
    }
    Ok(Form::Node(Op::Clip, inputs))
}
