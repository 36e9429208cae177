//! Parts of tensors.

use super::super::argument::{Number, missing};
use super::super::call::{Call, Form};
use super::operands::operand;
use super::registry::Rule;
use crate::graph::{Fault, Op, ValueId};
use crate::types::{DType, Dim};

pub(super) const RULES: &[Rule] = &[
    ("chunk.default", chunk),
    ("narrow.default", narrow),
    ("select.int", select),
    ("slice.Tensor", slice),
    ("split.Tensor", |call| {
        let size = call.arguments.int("split_size")?;
        equal_parts(call, size)
    }),
    ("split_with_sizes.default", |call| {
        let sizes = call.arguments.ints("split_sizes")?;
        parts(call, sizes)
    }),
    ("unbind.int", unbind),
];

/// Returns the data, the axis, and its size if that is known.
fn along(call: &mut Call<'_>) -> Result<(ValueId, i64, Option<i64>), Fault> {
    let data = call.tensor("self")?;
    let axis = call.arguments.int_or("dim", 0)?;
    let place = call.axis(data, axis)?;
    let dims = call.builder.fact(data).dims().unwrap_or_default();
    let size = dims.get(place).and_then(Dim::fixed);
    let size = size.and_then(|size| i64::try_from(size).ok());
    Ok((data, i64::try_from(place).unwrap_or(axis), size))
}

/// The last part may be smaller.
fn equal_parts(call: &mut Call<'_>, size: Option<i64>) -> Result<Form, Fault> {
    let (_, _, whole) = along(call)?;
    let (Some(size), Some(whole)) = (size.filter(|&size| size > 0), whole) else {
        return Ok(Form::Aten);
    };
    let count = i64::try_from(call.read.len()).unwrap_or(i64::MAX);
    let last = size
        .checked_mul(count - 1)
        .and_then(|before| whole.checked_sub(before));
    match last {
        Some(last) if (1..=size).contains(&last) => {
            let mut sizes = vec![size; call.read.len()];
            if let Some(end) = sizes.last_mut() {
                *end = last;
            }
            parts(call, Some(sizes))
        }
        _ => Ok(Form::Aten),
    }
}

fn chunk(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (_, _, whole) = along(call)?;
    let chunks = call.arguments.int_or("chunks", 1)?;
    match whole {
        Some(whole) if whole > 0 && chunks > 0 => {
            equal_parts(call, Some(whole / chunks + i64::from(whole % chunks != 0)))
        }
        _ => Ok(Form::Aten),
    }
}

fn parts(call: &mut Call<'_>, sizes: Option<Vec<i64>>) -> Result<Form, Fault> {
    let (data, axis, _) = along(call)?;
    let Some(sizes) = sizes.filter(|sizes| sizes.len() == call.read.len()) else {
        return Ok(Form::Aten);
    };
    // All parts are computed, so all are named.
    call.read.fill(true);
    let sizes = call.integers("sizes", &sizes)?;
    Ok(Form::Node(
        Op::Split { axis },
        vec![Some(data), Some(sizes)],
    ))
}

fn unbind(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, axis, _) = along(call)?;
    let mut nodes = Vec::with_capacity(call.read.len());
    for index in 0..call.read.len() {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        let index = call.scalar("index", Number::Int(index), DType::I64)?;
        nodes.push((Op::Gather { axis }, vec![Some(data), Some(index)]));
    }
    Ok(Form::Nodes(nodes))
}

fn select(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, axis, _) = along(call)?;
    let index = operand(call, "index", DType::I64)?;
    Ok(Form::Node(
        Op::Gather { axis },
        vec![Some(data), Some(index)],
    ))
}

fn slice(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, axis, _) = along(call)?;
    let start = match call.size("start")? {
        Some(start) => start,
        None => call.integers("start", &[0])?,
    };
    let end = match call.size("end")? {
        Some(end) => end,
        None => call.integers("end", &[i64::MAX])?,
    };
    let step = call.arguments.int_or("step", 1)?;
    let number = |value| {
        let numbers = call.builder.fact(value).numbers();
        numbers.and_then(|numbers| numbers.first().copied())
    };
    if number(start) == Some(0) && number(end) == Some(i64::MAX) && step == 1 {
        return Ok(Form::Node(Op::Identity, vec![Some(data)]));
    }
    let axes = call.integers("axes", &[axis])?;
    let steps = call.integers("steps", &[step])?;
    let inputs = [data, start, end, axes, steps].map(Some);
    Ok(Form::Node(Op::Slice, inputs.to_vec()))
}

fn narrow(call: &mut Call<'_>) -> Result<Form, Fault> {
    let (data, axis, _) = along(call)?;
    let length = call
        .arguments
        .int("length")?
        .ok_or_else(|| missing("length"))?;
    let start = call
        .arguments
        .int("start")?
        .ok_or_else(|| missing("start"))?;
    let Some(end) = start
        .checked_add(length)
        .filter(|_| start >= 0 && length >= 0)
    else {
        return Ok(Form::Aten);
    };
    let starts = call.integers("start", &[start])?;
    let ends = call.integers("end", &[end])?;
    let axes = call.integers("axes", &[axis])?;
    let inputs = [data, starts, ends, axes].map(Some);
    Ok(Form::Node(Op::Slice, inputs.to_vec()))
}
