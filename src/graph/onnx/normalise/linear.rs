//! Products of matrices.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Equation, Fault, Op};

pub(super) const RULES: &[Rule] = &[
    ("Det", |call| call.plain(Op::Det)),
    ("Einsum", einsum),
    ("Gemm", gemm),
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

fn einsum(call: &mut Call<'_>) -> Result<Form, Fault> {
    let text = call.attributes.text("equation")?;
    let text = text.ok_or(Fault::NoAttribute {
        attribute: "equation".to_owned(),
        expected: "letters for the dimensions of each input and of the output",
    })?;
    let expected = "letters for the dimensions of each input, then -> and some of them";
    let equation =
        Equation::parse(&text).ok_or_else(|| wrong("equation", format!("{text:?}"), expected))?;
    call.plain(Op::Einsum(equation))
}
