//! Body of an inference request → tensors in the order of the pipeline's inputs, and the outputs asked for.
//!
//! Names, dtypes and shapes are checked before any data is read, so a wrong request costs little.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::binary::{self, BinaryParts};
use super::elements;
use super::parameters::{
    InputParameters, Object, OutputParameters, RequestParameters, without_position,
};
use super::rejection::{Rejection, shown};
use crate::types::{Bindings, DType, RANK_MAX, Shape, Signature, Tensor, TensorSpec};

/// An inference request, understood.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: Option<String>,
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<OutputChoice>,
    pub(super) deadline: Option<Duration>,
}

/// One output of the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutputChoice {
    /// Index into the signature's outputs.
    pub(super) index: usize,
    pub(super) binary: bool,
}

#[derive(Deserialize)]
struct RequestJson<'a> {
    id: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Vec<Object<InputJson<'a>>>,
    #[serde(borrow)]
    outputs: Option<Vec<Object<OutputJson<'a>>>>,
}

#[derive(Deserialize)]
struct InputJson<'a> {
    name: String,
    datatype: String,
    #[serde(borrow)]
    shape: &'a RawValue,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputJson<'a> {
    name: String,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

/// Reads a body whose JSON header has the given length, or which is JSON altogether.
pub(super) fn parse(
    signature: &Signature,
    body: &Bytes,
    header: Option<usize>,
) -> Result<Call, Rejection> {
    let (json, mut parts) = binary::split(body, header)?;
    if json.is_empty() {
        return Err(Rejection::NoJson);
    }
    let Object(request) =
        serde_json::from_slice::<Object<RequestJson<'_>>>(&json).map_err(|cause| {
            Rejection::Json {
                hint: hint(&json, &cause),
                cause: cause.to_string(),
            }
        })?;
    let parameters = RequestParameters::parse(request.parameters)?;
    // The outputs first: they are cheap to check, the data of the inputs is not.
    let outputs = choose(signature, &parameters, &request.outputs.unwrap_or_default())?;
    let inputs = read_inputs(signature, &request.inputs, &mut parts)?;
    parts.finish()?;
    Ok(Call {
        id: request.id,
        inputs,
        outputs,
        deadline: parameters.deadline(),
    })
}

/// Reads the body of an inference request as the server does, and returns its tensors in the order of the inputs. `header`
/// is the length of the JSON that binary tensors follow; without it the body is JSON altogether.
///
/// # Errors
/// What the client would be told.
pub fn read_body(
    signature: &Signature,
    body: &Bytes,
    header: Option<usize>,
) -> Result<Vec<Tensor>, String> {
    match parse(signature, body, header) {
        Ok(call) => Ok(call.inputs),
        Err(rejection) => Err(rejection.to_string()),
    }
}

fn read_inputs(
    signature: &Signature,
    given: &[Object<InputJson<'_>>],
    parts: &mut BinaryParts,
) -> Result<Vec<Tensor>, Rejection> {
    let mut shapes: Vec<Option<Shape>> = vec![None; signature.inputs.len()];
    let mut order = Vec::with_capacity(signature.inputs.len());
    let mut bindings = Bindings::new();
    for Object(input) in given {
        let Some((index, spec)) = signature.input(&input.name) else {
            return Err(Rejection::UnknownInput {
                seen: shown(&input.name),
                known: names(&signature.inputs),
            });
        };
        if shapes[index].is_some() {
            return Err(Rejection::DuplicateInput {
                input: spec.name.clone(),
            });
        }
        let dtype: DType = input.datatype.parse().map_err(|_| Rejection::Datatype {
            input: spec.name.clone(),
            seen: shown(&input.datatype),
            expected: spec.dtype,
        })?;
        let shape = read_shape(&spec.name, input.shape)?;
        spec.bind(dtype, &shape, &mut bindings)?;
        shapes[index] = Some(shape);
        order.push((index, spec, input));
    }
    if let Some((missing, _)) = signature
        .inputs
        .iter()
        .zip(&shapes)
        .find(|(_, shape)| shape.is_none())
    {
        return Err(Rejection::MissingInput {
            input: missing.name.clone(),
        });
    }
    let mut tensors: Vec<Option<Tensor>> = vec![None; signature.inputs.len()];
    for (index, spec, input) in order {
        let shape = shapes[index].take().unwrap_or_default();
        tensors[index] = Some(read_tensor(spec, shape, input, parts)?);
    }
    Ok(tensors.into_iter().flatten().collect())
}

fn read_tensor(
    spec: &TensorSpec,
    shape: Shape,
    input: &InputJson<'_>,
    parts: &mut BinaryParts,
) -> Result<Tensor, Rejection> {
    let name = || spec.name.clone();
    let parameters = InputParameters::parse(input.parameters, &spec.name)?;
    match (input.data, parameters.binary_data_size) {
        (Some(data), None) => {
            elements::parse(data.get(), spec.dtype, shape).map_err(|cause| Rejection::Data {
                input: name(),
                cause,
            })
        }
        (None, Some(announced)) => parts.take(&spec.name, spec.dtype, shape, announced),
        (None, None) => Err(Rejection::NoData { input: name() }),
        (Some(_), Some(_)) => Err(Rejection::TwoData { input: name() }),
    }
}

fn read_shape(input: &str, raw: &RawValue) -> Result<Shape, Rejection> {
    let refuse = |cause| Rejection::Shape {
        input: input.to_owned(),
        cause,
    };
    let sizes: Vec<i64> = serde_json::from_str(raw.get()).map_err(|cause| {
        refuse(format!(
            "{}, expected an array of whole numbers",
            without_position(&cause)
        ))
    })?;
    if sizes.len() > RANK_MAX {
        return Err(refuse(format!(
            "it names {} sizes, at most {RANK_MAX} are allowed",
            sizes.len()
        )));
    }
    let size = |&size: &i64| {
        usize::try_from(size).map_err(|_| {
            refuse(format!(
                "{sizes:?} has the size {size}, a request names every size"
            ))
        })
    };
    sizes.iter().map(size).collect()
}

/// Selects and orders the outputs; all of them in the signature's order if the request names none.
fn choose(
    signature: &Signature,
    parameters: &RequestParameters,
    asked: &[Object<OutputJson<'_>>],
) -> Result<Vec<OutputChoice>, Rejection> {
    let default = parameters.binary_data_output.unwrap_or(false);
    let mut choices: Vec<OutputChoice> = Vec::with_capacity(signature.outputs.len());
    for Object(output) in asked {
        let Some((index, spec)) = signature.output(&output.name) else {
            return Err(Rejection::UnknownOutput {
                seen: shown(&output.name),
                known: names(&signature.outputs),
            });
        };
        if choices.iter().any(|choice| choice.index == index) {
            return Err(Rejection::DuplicateOutput {
                output: spec.name.clone(),
            });
        }
        let parameters = OutputParameters::parse(output.parameters, &spec.name)?;
        choices.push(OutputChoice {
            index,
            binary: parameters.binary_data.unwrap_or(default),
        });
    }
    if choices.is_empty() {
        choices.extend((0..signature.outputs.len()).map(|index| OutputChoice {
            index,
            binary: default,
        }));
    }
    let formless = |choice: &&OutputChoice| {
        !choice.binary && !signature.outputs[choice.index].dtype.has_json_form()
    };
    match choices.iter().find(formless) {
        Some(choice) => Err(Rejection::NoJsonForm {
            output: signature.outputs[choice.index].name.clone(),
        }),
        None => Ok(choices),
    }
}

fn names(specs: &[TensorSpec]) -> Vec<String> {
    specs.iter().map(|spec| spec.name.clone()).collect()
}

/// Returns what helps a client whose JSON library wrote something that JSON does not have.
fn hint(json: &[u8], cause: &serde_json::Error) -> &'static str {
    let line = json
        .split(|&byte| byte == b'\n')
        .nth(cause.line().saturating_sub(1))
        .unwrap_or_default();
    let around = line
        .get(cause.column().saturating_sub(2)..)
        .unwrap_or_default();
    let word = |word: &[u8]| {
        around
            .windows(word.len())
            .take(3)
            .any(|window| window == word)
    };
    if [&b"NaN"[..], b"nan", b"Inf", b"inf"].into_iter().any(word) {
        "; JSON has no NaN and no infinity, send such a tensor as binary data"
    } else {
        ""
    }
}
