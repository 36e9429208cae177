//! Attention, RotaryEmbedding.

use super::super::attributes::{Attributes, wrong};
use super::super::dtype::{from_number, name};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Attention, Fault, Heads, Op, RotaryEmbedding, Scores};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("Attention", attention),
    ("RotaryEmbedding", rotary_embedding),
];

fn attention(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let scores = match attributes.int_or("qk_matmul_output_mode", 0)? {
        0 => Scores::Scaled,
        1 => Scores::Capped,
        2 => Scores::Masked,
        3 => Scores::Softmax,
        seen => return Err(wrong("qk_matmul_output_mode", seen, "0 to 3")),
    };
    let softcap = attributes.float_or("softcap", 0.0)?;
    let heads = match call.known_rank(0)? {
        // Heads are a dimension, and the attributes repeat its size where they are there.
        Some(4) => {
            attributes.ignore(&["q_num_heads", "kv_num_heads"]);
            None
        }
        Some(_) => Some(heads(attributes)?),
        None if attributes.int("q_num_heads")?.is_some() => Some(heads(attributes)?),
        None => None,
    };
    let op = Attention {
        heads,
        causal: attributes.flag("is_causal", false)?,
        scale: attributes.float("scale")?,
        softcap: (softcap > 0.0).then_some(softcap),
        scores,
        softmax_dtype: softmax_dtype(attributes)?,
    };
    if call.opset < 24 {
        call.at_most_inputs(6)?;
    }
    call.plain(Op::Attention(op))
}

/// Attention over heads that are a dimension of their own, without masks.
pub(super) fn attend(scale: Option<f32>, softmax_dtype: Option<DType>) -> Attention {
    Attention {
        heads: None,
        causal: false,
        scale,
        softcap: None,
        scores: Scores::Scaled,
        softmax_dtype,
    }
}

pub(super) fn softmax_dtype(attributes: &Attributes<'_>) -> Result<Option<DType>, Fault> {
    let Some(number) = attributes.int("softmax_precision")? else {
        return Ok(None);
    };
    let number = i32::try_from(number).unwrap_or(-1);
    match from_number(number).filter(|dtype| dtype.is_float()) {
        Some(dtype) => Ok(Some(dtype)),
        None => Err(wrong(
            "softmax_precision",
            name(number),
            "FLOAT16, BFLOAT16, FLOAT or DOUBLE",
        )),
    }
}

/// Reads numbers of heads that an operator cannot do without.
pub(super) fn heads(attributes: &Attributes<'_>) -> Result<Heads, Fault> {
    let count = |name: &str| {
        let expected = "a positive number of heads";
        let seen = attributes.int(name)?.ok_or_else(|| Fault::NoAttribute {
            attribute: name.to_owned(),
            expected,
        })?;
        match usize::try_from(seen) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(wrong(name, seen, expected)),
        }
    };
    let (query, key_value) = (count("q_num_heads")?, count("kv_num_heads")?);
    if !query.is_multiple_of(key_value) {
        let expected = format!("a multiple of kv_num_heads, which is {key_value}");
        return Err(wrong("q_num_heads", query, &expected));
    }
    Ok(Heads { query, key_value })
}

fn rotary_embedding(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let size_of = |name: &str| {
        let seen = attributes.int_or(name, 0)?;
        match usize::try_from(seen) {
            Ok(size) => Ok((size > 0).then_some(size)),
            Err(_) => Err(wrong(name, seen, "at least 0")),
        }
    };
    let size = size_of("rotary_embedding_dim")?;
    if let Some(odd) = size.filter(|size| !size.is_multiple_of(2)) {
        return Err(wrong("rotary_embedding_dim", odd, "an even number"));
    }
    let heads = match (size_of("num_heads")?, call.known_rank(0)?) {
        (_, Some(4)) => None,
        (None, Some(_)) => {
            return Err(Fault::NoAttribute {
                attribute: "num_heads".to_owned(),
                expected: "a positive number of heads",
            });
        }
        (heads, _) => heads,
    };
    let op = RotaryEmbedding {
        heads,
        size,
        interleaved: attributes.flag("interleaved", false)?,
    };
    call.plain(Op::RotaryEmbedding(op))
}
