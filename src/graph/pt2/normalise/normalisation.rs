//! Normalisations, and dropout, which does nothing where nobody trains.

use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Normalization, Op};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("_native_batch_norm_legit_no_training.default", batch),
    ("alpha_dropout.default", dropout),
    ("batch_norm.default", batch),
    ("dropout.default", dropout),
    ("feature_dropout.default", dropout),
    ("group_norm.default", |call| group(call, "num_groups")),
    ("instance_norm.default", instance),
    ("layer_norm.default", layer),
    ("native_dropout.default", dropout),
    ("native_group_norm.default", |call| {
        call.arguments.ignore(&["N", "C", "HxW"]);
        group(call, "group")
    }),
    ("native_layer_norm.default", layer),
    ("rms_norm.default", root_mean_square),
];

fn trains(argument: &str) -> Fault {
    Fault::Argument {
        argument: argument.to_owned(),
        seen: "true".to_owned(),
        expected: "false: export the model in evaluation mode, after model.eval()",
    }
}

fn batch(call: &mut Call<'_>) -> Result<Form, Fault> {
    let training = call.arguments.flag("training", false)?;
    let data = call.tensor("input")?;
    let mut inputs = vec![Some(data)];
    for name in ["weight", "bias", "running_mean", "running_var"] {
        inputs.push(call.optional(name)?);
    }
    if training && inputs[3].is_some() {
        return Err(trains("training"));
    }
    call.arguments.ignore(&["momentum", "cudnn_enabled"]);
    if inputs.contains(&None) || call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    let epsilon = call.arguments.single("eps", 1e-5)?;
    Ok(Form::Node(
        Op::Normalization(Normalization::Batch { epsilon }),
        inputs,
    ))
}

fn layer(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("input")?;
    let (scale, bias) = (call.optional("weight")?, call.optional("bias")?);
    let Some(axis) = normalised(call)? else {
        return Ok(Form::Aten);
    };
    call.arguments.ignore(&["cudnn_enable"]);
    if scale.is_none() || call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    let op = Normalization::Layer {
        axis,
        epsilon: call.arguments.single("eps", 1e-5)?,
        brief_statistics: false,
    };
    Ok(Form::Node(
        Op::Normalization(op),
        vec![Some(data), scale, bias],
    ))
}

/// Returns the first of the normalised dimensions, counted from the end.
fn normalised(call: &Call<'_>) -> Result<Option<i64>, Fault> {
    let shape = call.arguments.ints("normalized_shape")?;
    let count = shape.map_or(0, |shape| shape.len());
    Ok(i64::try_from(count)
        .ok()
        .filter(|&count| count > 0)
        .map(|count| -count))
}

fn root_mean_square(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("input")?;
    let scale = call.optional("weight")?;
    let (Some(axis), Some(scale)) = (normalised(call)?, scale) else {
        return Ok(Form::Aten);
    };
    let epsilon = match call.arguments.number("eps")? {
        Some(_) => call.arguments.single("eps", 0.0)?,
        None if call.dtype_of(data, "input")? == DType::F32 => f32::EPSILON,
        None => return Ok(Form::Aten),
    };
    Ok(Form::Node(
        Op::Normalization(Normalization::RootMeanSquare { axis, epsilon }),
        vec![Some(data), Some(scale)],
    ))
}

fn group(call: &mut Call<'_>, groups: &str) -> Result<Form, Fault> {
    let data = call.tensor("input")?;
    let inputs = vec![Some(data), call.optional("weight")?, call.optional("bias")?];
    call.arguments.ignore(&["cudnn_enabled"]);
    let groups = usize::try_from(call.arguments.int_or(groups, 0)?).unwrap_or(0);
    if inputs.contains(&None) || groups == 0 || call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    let epsilon = call.arguments.single("eps", 1e-5)?;
    Ok(Form::Node(
        Op::Normalization(Normalization::Group { groups, epsilon }),
        inputs,
    ))
}

/// With statistics of the data. Those that were kept make it a batch normalisation, which is left to libtorch.
fn instance(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("input")?;
    let inputs = vec![Some(data), call.optional("weight")?, call.optional("bias")?];
    call.arguments.ignore(&["momentum", "cudnn_enabled"]);
    let kept = call
        .optional("running_mean")?
        .or(call.optional("running_var")?);
    let own = call.arguments.flag("use_input_stats", true)?;
    if own && kept.is_some() {
        return Err(trains("use_input_stats"));
    }
    if inputs.contains(&None) || !own {
        return Ok(Form::Aten);
    }
    let epsilon = call.arguments.single("eps", 1e-5)?;
    Ok(Form::Node(
        Op::Normalization(Normalization::Instance { epsilon }),
        inputs,
    ))
}

/// The forms that write in place call their data otherwise.
fn dropout(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = match call.optional("self")? {
        Some(data) => data,
        None => call.tensor("input")?,
    };
    let probability = call.arguments.float("p", 0.5)?;
    if call.arguments.flag("train", true)? && probability != 0.0 {
        return Err(trains("train"));
    }
    if call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    Ok(Form::Node(Op::Identity, vec![Some(data)]))
}
