//! Normalisations, and Dropout, which goes with them in training.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Binary, Fault, Normalization, Op, Reduce, Unary, ValueId};

pub(super) const RULES: &[Rule] = &[
    ("BatchNormalization", batch),
    ("Dropout", dropout),
    ("GroupNormalization", group),
    ("InstanceNormalization", instance),
    ("LRN", local_response),
    ("LayerNormalization", layer),
    ("MeanVarianceNormalization", mean_variance),
    ("RMSNormalization", root_mean_square),
];

fn epsilon(call: &Call<'_>) -> Result<f32, Fault> {
    call.attributes.float_or("epsilon", 1e-5)
}

fn batch(call: &mut Call<'_>) -> Result<Form, Fault> {
    let epsilon = epsilon(call)?;
    let momentum = call.attributes.float_or("momentum", 0.9)?;
    let attributes = &call.attributes;
    attributes.ignore(if call.opset < 6 {
        &["consumed_inputs"]
    } else {
        &[]
    });
    let spatial = call.opset >= 9 || attributes.flag("spatial", true)?;
    let training = match call.opset {
        ..7 => !attributes.flag("is_test", false)?,
        7..14 => call.read.iter().skip(1).any(|&read| read),
        _ => attributes.flag("training_mode", false)?,
    };
    if training {
        if !spatial {
            return Err(wrong("spatial", 0, "1 in training"));
        }
        return call.plain(Op::Normalization(Normalization::BatchTraining {
            epsilon,
            momentum,
        }));
    }
    call.only_first_output()?;
    if spatial {
        return call.plain(Op::Normalization(Normalization::Batch { epsilon }));
    }
    each_element(call, epsilon)
}

/// Batch normalisation with statistics and parameters of every element, not of every channel.
fn each_element(call: &mut Call<'_>, epsilon: f32) -> Result<Form, Fault> {
    let [data, scale, bias, mean, variance] = [0, 1, 2, 3, 4].map(|input| call.input(input));
    let (data, scale, bias, mean, variance) = (data?, scale?, bias?, mean?, variance?);
    let epsilon = number(call, "epsilon", epsilon)?;
    let variance = binary(call, "variance", Binary::Add, variance, epsilon)?;
    let deviation = call.step("deviation", Op::Unary(Unary::Sqrt), vec![Some(variance)])?;
    let centred = binary(call, "centred", Binary::Sub, data, mean)?;
    let normalised = binary(call, "normalised", Binary::Div, centred, deviation)?;
    let scaled = binary(call, "scaled", Binary::Mul, normalised, scale)?;
    Ok(Form::Node(
        Op::Binary(Binary::Add),
        vec![Some(scaled), Some(bias)],
    ))
}

/// Over `axes` together, and so per channel by default: (x − mean) / (deviation + 1e-9).
fn mean_variance(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.input(0)?;
    let axes = call.attributes.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = call.integers("axes", axes)?;
    let mean = Op::Reduce {
        kind: Reduce::Mean,
        keep_dims: true,
        noop_with_empty_axes: false,
    };
    let centre = call.step("mean", mean.clone(), vec![Some(data), Some(axes)])?;
    let centred = binary(call, "centred", Binary::Sub, data, centre)?;
    let squares = binary(call, "squares", Binary::Mul, centred, centred)?;
    let variance = call.step("variance", mean, vec![Some(squares), Some(axes)])?;
    let deviation = call.step("deviation", Op::Unary(Unary::Sqrt), vec![Some(variance)])?;
    let epsilon = number(call, "epsilon", 1e-9)?;
    let divisor = binary(call, "divisor", Binary::Add, deviation, epsilon)?;
    Ok(Form::Node(
        Op::Binary(Binary::Div),
        vec![Some(centred), Some(divisor)],
    ))
}

fn binary(
    call: &mut Call<'_>,
    role: &str,
    function: Binary,
    left: ValueId,
    right: ValueId,
) -> Result<ValueId, Fault> {
    call.step(role, Op::Binary(function), vec![Some(left), Some(right)])
}

/// Adds a scalar of the data's dtype.
fn number(call: &mut Call<'_>, role: &'static str, value: f32) -> Result<ValueId, Fault> {
    let dtype = call.dtype(0, role)?;
    let scalar = literal::float(dtype, value).ok_or(Fault::DType {
        input: 0,
        seen: dtype,
        expected: "a floating-point datatype".to_owned(),
    })?;
    call.literal(role, Some(scalar))
}

fn layer(call: &mut Call<'_>) -> Result<Form, Fault> {
    let stash = call.attributes.int_or("stash_type", FLOAT)?;
    if !matches!(stash, FLOAT | BFLOAT16) {
        return Err(wrong("stash_type", stash, "1 (FP32) or 16 (BF16)"));
    }
    let op = Normalization::Layer {
        axis: call.attributes.int_or("axis", -1)?,
        epsilon: epsilon(call)?,
        brief_statistics: stash == BFLOAT16,
    };
    call.plain(Op::Normalization(op))
}

/// ONNX's numbers of the types in which statistics may be kept.
const FLOAT: i64 = 1;
const BFLOAT16: i64 = 16;

fn root_mean_square(call: &mut Call<'_>) -> Result<Form, Fault> {
    // The precision of the statistics, which is at least that of FP32 in any case.
    call.attributes.ignore(&["stash_type"]);
    let op = Normalization::RootMeanSquare {
        axis: call.attributes.int_or("axis", -1)?,
        epsilon: epsilon(call)?,
    };
    call.plain(Op::Normalization(op))
}

fn group(call: &mut Call<'_>) -> Result<Form, Fault> {
    // As of `root_mean_square`.
    call.attributes.ignore(&["stash_type"]);
    let groups = call.attributes.int("num_groups")?;
    let groups = groups.ok_or(Fault::NoAttribute {
        attribute: "num_groups".to_owned(),
        expected: "the number of groups",
    })?;
    let op = Normalization::Group {
        groups: positive("num_groups", groups)?,
        epsilon: epsilon(call)?,
    };
    call.plain(Op::Normalization(op))
}

fn instance(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.attributes.ignore(if call.opset < 6 {
        &["consumed_inputs"]
    } else {
        &[]
    });
    let epsilon = epsilon(call)?;
    call.plain(Op::Normalization(Normalization::Instance { epsilon }))
}

fn local_response(call: &mut Call<'_>) -> Result<Form, Fault> {
    let size = call.attributes.int("size")?;
    let size = size.ok_or(Fault::NoAttribute {
        attribute: "size".to_owned(),
        expected: "a number of channels",
    })?;
    let op = Normalization::LocalResponse {
        size: positive("size", size)?,
        alpha: call.attributes.float_or("alpha", 1e-4)?,
        beta: call.attributes.float_or("beta", 0.75)?,
        bias: call.attributes.float_or("bias", 1.0)?,
    };
    call.plain(Op::Normalization(op))
}

fn positive(attribute: &str, value: i64) -> Result<usize, Fault> {
    usize::try_from(value)
        .ok()
        .filter(|&value| value > 0)
        .ok_or_else(|| wrong(attribute, value, "at least 1"))
}

/// Inputs since opset 12: data, ratio?, `training_mode`?. Without training it does nothing.
fn dropout(call: &mut Call<'_>) -> Result<Form, Fault> {
    let since_inputs = call.opset >= 12;
    call.at_most_inputs(if since_inputs { 3 } else { 1 })?;
    let seed = match since_inputs {
        true => call.attributes.int("seed")?,
        false => None,
    };
    call.attributes
        .ignore(if since_inputs { &[] } else { &["ratio"] });
    if call.opset < 7 {
        call.attributes.ignore(&["consumed_inputs"]);
        call.attributes.only("is_test", 1, 0)?;
    }
    if call.opset < 10 {
        // The mask is of the data's type, and of unspecified elements.
        call.only_first_output()?;
    }
    let zero = |input: usize| call.weight(input).and_then(literal::read_single) == Some(0.0);
    let idle = !call.has_input(2) || zero(2) || call.has_input(1) && zero(1);
    let masked = call.read.get(1).copied().unwrap_or(false);
    if idle && !masked {
        call.outputs.truncate(1);
        return Ok(Form::Node(Op::Identity, vec![Some(call.input(0)?)]));
    }
    call.plain(Op::Dropout { seed })
}
