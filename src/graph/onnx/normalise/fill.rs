//! Tensors made from a few numbers: ranges, diagonals, random numbers.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::cast::numbered_dtype;
use super::registry::Rule;
use crate::graph::{Binary, Distribution, Fault, Op, Random, ValueId};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("Bernoulli", bernoulli),
    ("EyeLike", eye_like),
    ("Multinomial", multinomial),
    ("RandomNormal", |call| of_shape(call, normal)),
    ("RandomNormalLike", |call| like(call, normal)),
    ("RandomUniform", |call| of_shape(call, uniform)),
    ("RandomUniformLike", |call| like(call, uniform)),
    ("Range", range),
];

type Read = fn(&Call<'_>) -> Result<Distribution, Fault>;

fn uniform(call: &Call<'_>) -> Result<Distribution, Fault> {
    Ok(Distribution::Uniform {
        low: call.attributes.float_or("low", 0.0)?,
        high: call.attributes.float_or("high", 1.0)?,
    })
}

fn normal(call: &Call<'_>) -> Result<Distribution, Fault> {
    Ok(Distribution::Normal {
        mean: call.attributes.float_or("mean", 0.0)?,
        deviation: call.attributes.float_or("scale", 1.0)?,
    })
}

/// The shape is an attribute.
fn of_shape(call: &mut Call<'_>, read: Read) -> Result<Form, Fault> {
    call.at_most_inputs(0)?;
    let op = Random {
        distribution: read(call)?,
        dtype: numbered_dtype(call, "dtype")?.unwrap_or(DType::F32),
        seed: call.attributes.float("seed")?,
    };
    let shape = call.attributes.ints("shape")?.ok_or(Fault::NoAttribute {
        attribute: "shape".to_owned(),
        expected: "a list of sizes",
    })?;
    let shape = call.integers("shape", shape)?;
    Ok(Form::Node(Op::Random(op), vec![Some(shape)]))
}

/// The shape is that of the input, and so is the dtype unless the attribute says otherwise.
fn like(call: &mut Call<'_>, read: Read) -> Result<Form, Fault> {
    let dtype = match numbered_dtype(call, "dtype")? {
        Some(dtype) => dtype,
        None => call.dtype(0, "dtype")?,
    };
    let op = Random {
        distribution: read(call)?,
        dtype,
        seed: call.attributes.float("seed")?,
    };
    let shape = shape_of(call)?;
    Ok(Form::Node(Op::Random(op), vec![Some(shape)]))
}

fn shape_of(call: &mut Call<'_>) -> Result<ValueId, Fault> {
    let op = Op::Shape {
        start: 0,
        end: None,
    };
    let inputs = vec![Some(call.input(0)?)];
    call.step("shape", op, inputs)
}

/// One where a number drawn from 0 to 1 is less than the probability.
fn bernoulli(call: &mut Call<'_>) -> Result<Form, Fault> {
    let drawn_as = call.dtype(0, "dtype")?;
    let to = numbered_dtype(call, "dtype")?.unwrap_or(drawn_as);
    let op = Random {
        distribution: Distribution::Uniform {
            low: 0.0,
            high: 1.0,
        },
        dtype: drawn_as,
        seed: call.attributes.float("seed")?,
    };
    let shape = shape_of(call)?;
    let drawn = call.step("drawn", Op::Random(op), vec![Some(shape)])?;
    let inputs = vec![Some(drawn), Some(call.input(0)?)];
    let hit = call.step("hit", Op::Binary(Binary::Less), inputs)?;
    Ok(Form::Node(Op::Cast { to }, vec![Some(hit)]))
}

fn multinomial(call: &mut Call<'_>) -> Result<Form, Fault> {
    let samples = call.attributes.int_or("sample_size", 1)?;
    let op = Random {
        distribution: Distribution::Classes {
            samples: usize::try_from(samples)
                .map_err(|_| wrong("sample_size", samples, "at least 0"))?,
        },
        dtype: numbered_dtype(call, "dtype")?.unwrap_or(DType::I32),
        seed: call.attributes.float("seed")?,
    };
    call.plain(Op::Random(op))
}

fn eye_like(call: &mut Call<'_>) -> Result<Form, Fault> {
    let dtype = match numbered_dtype(call, "dtype")? {
        Some(dtype) => dtype,
        None => call.dtype(0, "dtype")?,
    };
    let offset = call.attributes.int_or("k", 0)?;
    call.plain(Op::EyeLike { dtype, offset })
}

fn range(call: &mut Call<'_>) -> Result<Form, Fault> {
    // The precision of the steps, which is at least that of FP32 in any case.
    call.attributes.ignore(&["stash_type"]);
    call.plain(Op::Range)
}
