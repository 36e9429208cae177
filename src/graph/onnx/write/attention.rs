//! Attention in its several forms, and what prepares its inputs.

use crate::graph::onnx::dtype::number;
use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Attention, Heads, LinearAttention, RotaryEmbedding, Scores};

use super::attribute::{flag, float, int, size, text};
use super::call::{Call, Written};

pub(super) fn attention(call: &mut Call<'_, '_>, op: &Attention) -> Written {
    let scores = match op.scores {
        Scores::Scaled => 0,
        Scores::Capped => 1,
        Scores::Masked => 2,
        Scores::Softmax => 3,
    };
    let mut attributes = vec![
        flag("is_causal", op.causal),
        int("qk_matmul_output_mode", scores),
    ];
    attributes.extend(op.heads.into_iter().flat_map(heads));
    attributes.extend(op.scale.map(|scale| float("scale", scale)));
    attributes.extend(op.softcap.map(|most| float("softcap", most)));
    let precision = op.softmax_dtype;
    attributes.extend(precision.map(|dtype| int("softmax_precision", number(dtype).into())));
    call.plain(attributes)
}

fn heads(heads: Heads) -> [AttributeProto; 2] {
    [
        size("q_num_heads", heads.query),
        size("kv_num_heads", heads.key_value),
    ]
}

pub(super) fn rotary_embedding(call: &mut Call<'_, '_>, op: RotaryEmbedding) -> Written {
    let mut attributes = vec![flag("interleaved", op.interleaved)];
    attributes.extend(op.heads.map(|heads| size("num_heads", heads)));
    attributes.extend(
        op.size
            .map(|elements| size("rotary_embedding_dim", elements)),
    );
    call.plain(attributes)
}

pub(super) fn linear_attention(call: &mut Call<'_, '_>, op: LinearAttention) -> Written {
    let rule = match (op.gated, op.delta) {
        (false, false) => "linear",
        (true, false) => "gated",
        (false, true) => "delta",
        (true, true) => "gated_delta",
    };
    let mut attributes = vec![text("update_rule", rule)];
    attributes.extend(heads(op.heads));
    attributes.extend(op.scale.map(|scale| float("scale", scale)));
    call.plain(attributes)
}

pub(super) fn causal_conv(call: &mut Call<'_, '_>, silu: bool) -> Written {
    let activation = if silu { "silu" } else { "none" };
    call.plain(vec![text("activation", activation)])
}
