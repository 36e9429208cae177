//! Reductions, searches for extremes, softmax.

use super::super::argument::{Number, missing};
use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op, Reduce, ValueId};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("_log_softmax.default", |call| softmax(call, true)),
    ("_softmax.default", |call| softmax(call, false)),
    ("amax.default", |call| reduce(call, Reduce::Max)),
    ("amin.default", |call| reduce(call, Reduce::Min)),
    ("argmax.default", |call| arg_extreme(call, true)),
    ("argmin.default", |call| arg_extreme(call, false)),
    ("cumsum.default", cumsum),
    ("log_softmax.int", |call| softmax(call, true)),
    ("logsumexp.default", |call| reduce(call, Reduce::LogSumExp)),
    ("max.default", |call| reduce(call, Reduce::Max)),
    ("max.dim", |call| extreme(call, true)),
    ("mean.default", |call| reduce(call, Reduce::Mean)),
    ("mean.dim", |call| reduce(call, Reduce::Mean)),
    ("min.default", |call| reduce(call, Reduce::Min)),
    ("min.dim", |call| extreme(call, false)),
    ("softmax.int", |call| softmax(call, false)),
    ("sum.default", |call| reduce(call, Reduce::Sum)),
    ("sum.dim_IntList", |call| reduce(call, Reduce::Sum)),
    ("topk.default", top_k),
];

/// Returns `self`, converted if the operator is told to.
fn data(call: &mut Call<'_>) -> Result<ValueId, Fault> {
    let data = call.tensor("self")?;
    match call.arguments.dtype("dtype")? {
        Some(to) => call.cast(data, to),
        None => Ok(data),
    }
}

/// No axes, or an empty list of them: all.
fn reduce(call: &mut Call<'_>, kind: Reduce) -> Result<Form, Fault> {
    let mut value = data(call)?;
    let dtype = call.dtype_of(value, "self")?;
    if kind == Reduce::Sum && !dtype.is_float() {
        value = call.cast(value, DType::I64)?;
    } else if dtype == DType::Bool {
        return Ok(Form::Aten);
    }
    let keep_dims = call.arguments.flag("keepdim", false)?;
    let axes = call.arguments.ints("dim")?.filter(|axes| !axes.is_empty());
    let mut inputs = vec![Some(value)];
    if let Some(axes) = axes {
        inputs.push(Some(call.integers("axes", &axes)?));
    }
    let op = Op::Reduce {
        kind,
        keep_dims,
        noop_with_empty_axes: false,
    };
    Ok(Form::Node(op, inputs))
}

/// Values and indices.
fn extreme(call: &mut Call<'_>, largest: bool) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let axis = call.arguments.int("dim")?.ok_or_else(|| missing("dim"))?;
    let keep_dims = call.arguments.flag("keepdim", false)?;
    if call.dtype_of(value, "self")? == DType::Bool {
        return Ok(Form::Aten);
    }
    let axes = call.integers("axes", &[axis])?;
    let kind = if largest { Reduce::Max } else { Reduce::Min };
    let values = Op::Reduce {
        kind,
        keep_dims,
        noop_with_empty_axes: false,
    };
    let indices = Op::ArgExtreme {
        largest,
        axis,
        keep_dims,
        select_last: false,
    };
    Ok(Form::Nodes(vec![
        (values, vec![Some(value), Some(axes)]),
        (indices, vec![Some(value)]),
    ]))
}

/// Without an axis, among all elements.
fn arg_extreme(call: &mut Call<'_>, largest: bool) -> Result<Form, Fault> {
    let mut value = call.tensor("self")?;
    let keep_dims = call.arguments.flag("keepdim", false)?;
    let axis = match call.arguments.int("dim")? {
        Some(axis) => axis,
        None if keep_dims => return Ok(Form::Aten),
        None => {
            let shape = call.integers("shape", &[-1])?;
            let op = Op::Reshape { allow_zero: false };
            value = call.step("flat", op, vec![Some(value), Some(shape)])?;
            0
        }
    };
    let op = Op::ArgExtreme {
        largest,
        axis,
        keep_dims,
        select_last: false,
    };
    Ok(Form::Node(op, vec![Some(value)]))
}

fn softmax(call: &mut Call<'_>, log: bool) -> Result<Form, Fault> {
    let value = data(call)?;
    let axis = call.arguments.int_or("dim", -1)?;
    let widens = call.arguments.flag("half_to_float", false)?;
    if widens || !call.dtype_of(value, "self")?.is_float() {
        return Ok(Form::Aten);
    }
    let op = if log {
        Op::LogSoftmax { axis }
    } else {
        Op::Softmax { axis }
    };
    Ok(Form::Node(op, vec![Some(value)]))
}

fn cumsum(call: &mut Call<'_>) -> Result<Form, Fault> {
    let mut value = data(call)?;
    if !call.dtype_of(value, "self")?.is_float() {
        value = call.cast(value, DType::I64)?;
    }
    let axis = call.arguments.int_or("dim", 0)?;
    let axis = call.scalar("axis", Number::Int(axis), DType::I64)?;
    let op = Op::Cumulative {
        product: false,
        exclusive: false,
        reverse: false,
    };
    Ok(Form::Node(op, vec![Some(value), Some(axis)]))
}

fn top_k(call: &mut Call<'_>) -> Result<Form, Fault> {
    let value = call.tensor("self")?;
    let count = call.size("k")?.ok_or_else(|| missing("k"))?;
    let op = Op::TopK {
        axis: call.arguments.int_or("dim", -1)?,
        largest: call.arguments.flag("largest", true)?,
    };
    // In order, whether that is wanted or not.
    call.arguments.ignore(&["sorted"]);
    Ok(Form::Node(op, vec![Some(value), Some(count)]))
}
