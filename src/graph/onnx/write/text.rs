//! Operators on strings, encoders of labels.

use crate::graph::build::literal::{read_floats, read_integers, read_single};
use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Case, NgramCount, Text, Weighting};
use crate::types::{DType, Tensor};

use super::attribute::{flag, float, floats, int, ints, size, tensor, text as string, texts};
use super::call::{CLASSICAL, Call, Written};
use super::tensor::inline;

pub(super) fn text(call: &mut Call<'_, '_>, op: &Text) -> Written {
    let attributes = match op {
        Text::Concat => Vec::new(),
        Text::Split {
            delimiter,
            splits_max,
        } => {
            let delimiter = delimiter.as_ref().map(|own| string("delimiter", own));
            let most = splits_max.map(|most| size("maxsplit", most));
            delimiter.into_iter().chain(most).collect()
        }
        Text::Normalise {
            case,
            case_sensitive,
            stop_words,
        } => {
            let case = match case {
                Case::Keep => "NONE",
                Case::Lower => "LOWER",
                Case::Upper => "UPPER",
            };
            let mut attributes = vec![
                string("case_change_action", case),
                flag("is_case_sensitive", *case_sensitive),
                // The default is one that many machines do not have, and onnxruntime then loads nothing.
                string("locale", "C.UTF-8"),
            ];
            if !stop_words.is_empty() {
                let words = stop_words.iter().map(String::as_bytes);
                attributes.push(texts("stopwords", words));
            }
            attributes
        }
        Text::FullMatch { pattern } => vec![string("pattern", pattern)],
        Text::NgramCount(op) => return ngram_count(call, op),
    };
    call.plain(attributes)
}

/// The pool and the weights are attributes.
fn ngram_count(call: &mut Call<'_, '_>, op: &NgramCount) -> Written {
    let weighting = match op.weighting {
        Weighting::Count => "TF",
        Weighting::Weight => "IDF",
        Weighting::WeightedCount => "TFIDF",
    };
    let pool = call.weight(1).ok_or_else(|| call.refused())?;
    let pool = list("pool", &pool.tensor).ok_or_else(|| call.refused())?;
    let sizes = |name: &str, sizes: &[usize]| {
        ints(name, sizes.iter().copied().map(super::attribute::as_int))
    };
    let mut attributes = vec![
        string("mode", weighting),
        size("min_gram_length", *op.lengths.start()),
        size("max_gram_length", *op.lengths.end()),
        size("max_skip_count", op.skips_max),
        sizes("ngram_counts", &op.starts),
        sizes("ngram_indexes", &op.columns),
        pool,
    ];
    if call.has_input(2) {
        let weights = call
            .weight(2)
            .and_then(|weights| read_floats(&weights.tensor));
        attributes.push(floats("weights", weights.ok_or_else(|| call.refused())?));
    }
    call.inputs.truncate(1);
    call.plain(attributes)
}

/// Returns a list as the attribute `{role}_strings`, `{role}_int64s` or `{role}_floats`; `None` if it is none of them.
fn list(role: &str, list: &Tensor) -> Option<AttributeProto> {
    let name = |kind: &str| format!("{role}_{kind}");
    match (list.dtype(), list.shape()) {
        (DType::Bytes, [_]) => Some(texts(&name("strings"), list.byte_strings())),
        (DType::I64, [_]) => Some(ints(&name("int64s"), read_integers(list)?)),
        (DType::F32, [_]) => Some(floats(&name("floats"), read_floats(list)?)),
        _ => None,
    }
}

/// As [`list`], of a scalar.
fn scalar(role: &str, scalar: &Tensor) -> Option<AttributeProto> {
    match (scalar.dtype(), scalar.shape()) {
        (DType::Bytes, []) => {
            let only = *scalar.byte_strings().first()?;
            Some(string(
                &format!("{role}_string"),
                std::str::from_utf8(only).ok()?,
            ))
        }
        (DType::I64, []) => {
            let only = *read_integers(scalar)?.first()?;
            Some(int(&format!("{role}_int64"), only))
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it was read from this type"
        )]
        (DType::F32, []) => Some(float(&format!("{role}_float"), read_single(scalar)? as f32)),
        _ => None,
    }
}

/// The mapping is attributes: lists of common types by their own names, others as tensors.
pub(super) fn label_encoder(call: &mut Call<'_, '_>) -> Written {
    let parts = [1, 2, 3].map(|input| call.weight(input).map(|weight| &weight.tensor));
    let [Some(keys), Some(values), Some(default)] = parts else {
        return Err(call.refused());
    };
    let short = || {
        let lists = [list("keys", keys)?, list("values", values)?];
        Some([lists.as_slice(), &[scalar("default", default)?]].concat())
    };
    let attributes = short().unwrap_or_else(|| {
        let whole = |(name, part): (&str, &Tensor)| tensor(name, inline("", part));
        let parts = [
            ("keys_tensor", keys),
            ("values_tensor", values),
            ("default_tensor", default),
        ];
        parts.into_iter().map(whole).collect()
    });
    call.inputs.truncate(1);
    call.under(CLASSICAL, "LabelEncoder", attributes)
}
