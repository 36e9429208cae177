//! Products of matrices.

use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Binary, Equation, Fault, Op};

pub(super) const RULES: &[Rule] = &[
    ("addmm.default", addmm),
    ("bmm.default", |call| product(call, ["self", "mat2"])),
    ("einsum.default", einsum),
    ("linear.default", linear),
    ("matmul.default", |call| product(call, ["self", "other"])),
    ("mm.default", |call| product(call, ["self", "mat2"])),
];

fn product(call: &mut Call<'_>, [left, right]: [&str; 2]) -> Result<Form, Fault> {
    let (left, right) = (call.tensor(left)?, call.tensor(right)?);
    Ok(Form::Node(Op::MatMul, vec![Some(left), Some(right)]))
}

fn addmm(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (left, right) = (call.tensor("mat1")?, call.tensor("mat2")?);
    let addend = call.tensor("self")?;
    let op = Op::Gemm {
        alpha: call.arguments.single("alpha", 1.0)?,
        beta: call.arguments.single("beta", 1.0)?,
        transpose_a: false,
        transpose_b: false,
    };
    Ok(Form::Node(op, vec![Some(left), Some(right), Some(addend)]))
}

fn linear(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional("bias")?;
    if call.rank_of(weight, "weight")? != 2 {
        return Ok(Form::Aten);
    }
    if call.rank(data) == Some(2) {
        let op = Op::Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: true,
        };
        return Ok(Form::Node(op, vec![Some(data), Some(weight), bias]));
    }
    let permutation = Some(vec![1, 0]);
    let turned = call.step("weight", Op::Transpose { permutation }, vec![Some(weight)])?;
    let factors = vec![Some(data), Some(turned)];
    if bias.is_none() {
        return Ok(Form::Node(Op::MatMul, factors));
    }
    let product = call.step("product", Op::MatMul, factors)?;
    Ok(Form::Node(
        Op::Binary(Binary::Add),
        vec![Some(product), bias],
    ))
}

fn einsum(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&["path"]);
    let Some(equation) = call.arguments.text("equation")?.and_then(Equation::parse) else {
        return Ok(Form::Aten);
    };
    let tensors = call.tensors("tensors")?;
    Ok(Form::Node(
        Op::Einsum(equation),
        tensors.into_iter().map(Some).collect(),
    ))
}
