//! FlexAttention: attention with two functions of the model's, of the scores and of the probabilities, as graphs in
//! attributes. Without them it is attention; with them it is read as its steps, with the graphs in between.

use super::attention::{attend, softmax_dtype};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Binary, Fault, Op, ValueId};
use crate::types::{DType, Dim, ShapeSpec};

pub(super) const RULES: &[Rule] = &[("ai.onnx.preview.FlexAttention", flex_attention)];

const SCORES: &str = "score_mod";
const PROBABILITIES: &str = "prob_mod";

fn flex_attention(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(3)?;
    call.only_first_output()?;
    let attributes = &call.attributes;
    let (scale, softmax) = (attributes.float("scale")?, softmax_dtype(attributes)?);
    if !attributes.has(SCORES) && !attributes.has(PROBABILITIES) {
        return call.plain(Op::Attention(attend(scale, softmax)));
    }
    let dtype = call.dtype(0, "softmax_precision")?;
    let precision = softmax.unwrap_or(match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    });
    let [heads, size] = sizes(call, 0)?;
    let [shared, _] = sizes(call, 1)?;
    let (query, key, value) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let key = repeated(call, "keys", key, shared, heads)?;
    let value = repeated(call, "values", value, shared, heads)?;

    let query = cast(call, "queries", query, dtype, precision)?;
    let key = cast(call, "keys", key, dtype, precision)?;
    let turn = Op::Transpose {
        permutation: Some(vec![0, 1, 3, 2]),
    };
    let key = call.step("keys", turn, vec![Some(key)])?;
    let scores = call.step("scores", Op::MatMul, vec![Some(query), Some(key)])?;
    #[expect(clippy::cast_precision_loss, reason = "sizes of heads are small")]
    let scale = scale.unwrap_or_else(|| 1.0 / (size as f32).sqrt());
    let scale = call.literal("scale", literal::float(precision, scale))?;
    let product = Op::Binary(Binary::Mul);
    let scores = call.step("scores", product, vec![Some(scores), Some(scale)])?;
    let scores = modified(call, SCORES, scores)?;
    let softmax = Op::Softmax { axis: -1 };
    let probabilities = call.step("probabilities", softmax, vec![Some(scores)])?;
    let probabilities = modified(call, PROBABILITIES, probabilities)?;
    let probabilities = cast(call, "probabilities", probabilities, precision, dtype)?;
    Ok(Form::Node(
        Op::MatMul,
        vec![Some(probabilities), Some(value)],
    ))
}

/// Returns heads and the size of a head of an input (batch, heads, positions, size).
fn sizes(call: &Call<'_>, input: usize) -> Result<[usize; 2], Fault> {
    let shape = call.builder.fact(call.input(input)?).shape.clone();
    let wrong = |seen: ShapeSpec| Fault::Shape {
        input,
        seen,
        expected: "(batch, heads, positions, size) with heads and size known".to_owned(),
    };
    let Some(shape) = shape else {
        return Err(wrong(ShapeSpec(vec![Dim::Any; 4])));
    };
    match shape.0.as_slice() {
        [_, Dim::Fixed(heads), _, Dim::Fixed(size)] => Ok([*heads, *size]),
        _ => Err(wrong(shape)),
    }
}

/// Repeats each head for the queries' heads that share it.
fn repeated(
    call: &mut Call<'_>,
    role: &str,
    tensor: ValueId,
    shared: usize,
    heads: usize,
) -> Result<ValueId, Fault> {
    if shared == heads {
        return Ok(tensor);
    }
    if shared == 0 || !heads.is_multiple_of(shared) {
        return Err(Fault::Parameter {
            parameter: "the number of heads of K",
            seen: shared.to_string(),
            expected: format!("a divisor of that of Q, which is {heads}"),
        });
    }
    let group = heads / shared;
    let places: Vec<i64> = (0..shared)
        .flat_map(|head| std::iter::repeat_n(head as i64, group))
        .collect();
    let places = call.integers("heads", &places)?;
    call.step(
        role,
        Op::Gather { axis: 1 },
        vec![Some(tensor), Some(places)],
    )
}

fn cast(
    call: &mut Call<'_>,
    role: &str,
    tensor: ValueId,
    from: DType,
    to: DType,
) -> Result<ValueId, Fault> {
    if from == to {
        return Ok(tensor);
    }
    call.step(role, Op::Cast { to }, vec![Some(tensor)])
}

/// Reads the graph of an attribute, if it is there, as what is done to a tensor.
fn modified(call: &mut Call<'_>, attribute: &str, tensor: ValueId) -> Result<ValueId, Fault> {
    if !call.attributes.has(attribute) {
        return Ok(tensor);
    }
    let graph = call.attributes.graph(attribute)?;
    call.apply(attribute, graph, tensor)
}
