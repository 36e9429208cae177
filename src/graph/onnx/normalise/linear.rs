//! Products of matrices, and normalisations with trained parameters.

use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op};

pub(super) const RULES: &[Rule] = &[
    ("BatchNormalization", batch_normalization),
    ("Gemm", gemm),
    ("LayerNormalization", layer_normalization),
    ("MatMul", |call| call.plain(Op::MatMul)),
];

pub(super) fn gemm(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let op = Op::Gemm {
        alpha: attributes.float_or("alpha", 1.0)?,
        beta: attributes.float_or("beta", 1.0)?,
        transpose_a: attributes.flag("transA", false)?,
        transpose_b: attributes.flag("transB", false)?,
    };
    // Whether the addend may be broadcast; where it may not, it has the full shape, which broadcasts too.
    attributes.ignore(if call.opset < 7 { &["broadcast"] } else { &[] });
    call.plain(op)
}

pub(super) fn batch_normalization(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.only_first_output()?;
    let attributes = &call.attributes;
    let epsilon = attributes.float_or("epsilon", 1e-5)?;
    // The weight of new statistics, which inference does not gather.
    attributes.ignore(&["momentum"]);
    if call.opset < 7 {
        attributes.only("is_test", 1, 0)?;
    }
    if call.opset < 9 {
        attributes.only("spatial", 1, 1)?;
    }
    if call.opset >= 14 {
        attributes.only("training_mode", 0, 0)?;
    }
    call.plain(Op::BatchNormalization { epsilon })
}

pub(super) fn layer_normalization(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.only_first_output()?;
    let attributes = &call.attributes;
    let op = Op::LayerNormalization {
        axis: attributes.int_or("axis", -1)?,
        epsilon: attributes.float_or("epsilon", 1e-5)?,
    };
    // The precision of the statistics, which is at least that of FP32 in any case.
    attributes.ignore(&["stash_type"]);
    call.plain(op)
}
