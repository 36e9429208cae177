//! Scaled dot-product attention.

use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Attention, Fault, Op, Scores};

pub(super) const RULES: &[Rule] = &[
    (
        "_scaled_dot_product_flash_attention_for_cpu.default",
        attention,
    ),
    ("scaled_dot_product_attention.default", attention),
];

/// Without a dimension of heads it stays what it is. Grouped heads need no flag here: the numbers tell.
fn attention(call: &mut Call<'_>) -> Result<Form, Fault> {
    let mut inputs = Vec::with_capacity(4);
    for name in ["query", "key", "value"] {
        let tensor = call.tensor(name)?;
        if call.rank(tensor) != Some(4) {
            return Ok(Form::Aten);
        }
        inputs.push(Some(tensor));
    }
    let mask = call.optional("attn_mask")?;
    inputs.push(mask);
    if call.arguments.float("dropout_p", 0.0)? != 0.0 {
        return Err(Fault::Argument {
            argument: "dropout_p".to_owned(),
            seen: "not 0".to_owned(),
            expected: "0: export the model in evaluation mode, after model.eval()",
        });
    }
    call.arguments.ignore(&["enable_gqa"]);
    let scale = match call.arguments.number("scale")? {
        Some(_) => Some(call.arguments.single("scale", 1.0)?),
        None => None,
    };
    if call.reads_beyond_first() {
        return Ok(Form::Aten);
    }
    let op = Attention {
        heads: None,
        causal: call.arguments.flag("is_causal", false)?,
        scale,
        softcap: None,
        scores: Scores::Scaled,
        softmax_dtype: None,
    };
    Ok(Form::Node(Op::Attention(op), inputs))
}
