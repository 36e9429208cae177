//! LinearAttention, CausalConvWithState.

use super::super::attributes::wrong;
use super::attention::heads;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, LinearAttention, Op};

pub(super) const RULES: &[Rule] = &[
    ("CausalConvWithState", causal_conv),
    ("LinearAttention", linear_attention),
];

fn linear_attention(call: &mut Call<'_>) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    // How many steps to compute at once, which changes no result.
    attributes.ignore(&["chunk_size"]);
    let (gated, delta) = match attributes.text("update_rule")?.as_deref() {
        Some("linear") => (false, false),
        Some("gated") => (true, false),
        Some("delta") => (false, true),
        None | Some("gated_delta") => (true, true),
        Some(seen) => {
            let expected = "\"linear\", \"gated\", \"delta\" or \"gated_delta\"";
            return Err(wrong("update_rule", format!("{seen:?}"), expected));
        }
    };
    let scale = attributes.float_or("scale", 0.0)?;
    let op = LinearAttention {
        heads: heads(attributes)?,
        scale: (scale != 0.0).then_some(scale),
        gated,
        delta,
    };
    call.plain(Op::LinearAttention(op))
}

fn causal_conv(call: &mut Call<'_>) -> Result<Form, Fault> {
    let silu = match call.attributes.text("activation")?.as_deref() {
        None | Some("none") => false,
        Some("silu" | "swish") => true,
        Some(seen) => {
            let expected = "\"silu\", \"swish\" or \"none\"";
            return Err(wrong("activation", format!("{seen:?}"), expected));
        }
    };
    call.plain(Op::CausalConv { silu })
}
