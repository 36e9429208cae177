//! Operators that pick elements by index.

use super::super::argument::{Number, missing};
use super::super::call::{Call, Form};
use super::super::schema::{Argument, OptionalTensor};
use super::registry::Rule;
use crate::graph::{Fault, Index, Op};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("embedding.default", embedding),
    ("gather.default", gather),
    ("index.Tensor", index),
    ("index_select.default", index_select),
    ("tril.default", |call| triangle(call, false)),
    ("triu.default", |call| triangle(call, true)),
];

fn embedding(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments
        .ignore(&["padding_idx", "scale_grad_by_freq", "sparse"]);
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    Ok(Form::Node(
        Op::Gather { axis: 0 },
        vec![Some(table), Some(indices)],
    ))
}

fn gather(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&["sparse_grad"]);
    let (data, indices) = (call.tensor("self")?, call.tensor("index")?);
    let axis = call.arguments.int("dim")?.ok_or_else(|| missing("dim"))?;
    Ok(Form::Node(
        Op::Index(Index::GatherElements { axis }),
        vec![Some(data), Some(indices)],
    ))
}

fn index_select(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, indices) = (call.tensor("self")?, call.tensor("index")?);
    let axis = call.arguments.int("dim")?.ok_or_else(|| missing("dim"))?;
    if call.rank(indices) != Some(1) {
        return Ok(Form::Aten);
    }
    Ok(Form::Node(
        Op::Gather { axis },
        vec![Some(data), Some(indices)],
    ))
}

/// Indices of one dimension; those of several, and masks, stay what they are.
fn index(call: &mut Call<'_>) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let names: Vec<Option<&str>> = match call.arguments.get("indices") {
        Some(Argument::OptionalTensors(list)) => list
            .iter()
            .map(|tensor| match tensor {
                OptionalTensor::Tensor(tensor) => Some(tensor.name.as_str()),
                OptionalTensor::None(_) => None,
            })
            .collect(),
        Some(Argument::Tensors(list)) => list
            .iter()
            .map(|tensor| Some(tensor.name.as_str()))
            .collect(),
        _ => return Ok(Form::Aten),
    };
    let mut given = names
        .iter()
        .enumerate()
        .filter_map(|(axis, name)| Some((axis, (*name)?)));
    let (Some((axis, name)), None) = (given.next(), given.next()) else {
        return Ok(Form::Aten);
    };
    let indices = call.value(name)?;
    if !matches!(call.dtype_of(indices, "indices")?, DType::I64 | DType::I32) {
        return Ok(Form::Aten);
    }
    let axis = i64::try_from(axis).unwrap_or(i64::MAX);
    Ok(Form::Node(
        Op::Gather { axis },
        vec![Some(data), Some(indices)],
    ))
}

fn triangle(call: &mut Call<'_>, upper: bool) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let diagonal = call.arguments.int_or("diagonal", 0)?;
    let diagonal = call.scalar("diagonal", Number::Int(diagonal), DType::I64)?;
    Ok(Form::Node(
        Op::Index(Index::Trilu { upper }),
        vec![Some(data), Some(diagonal)],
    ))
}
