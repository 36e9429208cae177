//! Reductions, searches for extremes, Softmax.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::infer::axis;
use crate::graph::{Binary, Fault, Op, Reduce, ValueId};

pub(super) const RULES: &[Rule] = &[
    ("ArgMax", |call| arg_extreme(call, true)),
    ("ArgMin", |call| arg_extreme(call, false)),
    ("CumProd", |call| cumulative(call, true)),
    ("CumSum", |call| cumulative(call, false)),
    ("Hardmax", hardmax),
    ("LogSoftmax", |call| softmax(call, true)),
    ("LpNormalization", lp_normalization),
    ("ReduceL1", |call| reduce(call, Reduce::L1, 18)),
    ("ReduceL2", |call| reduce(call, Reduce::L2, 18)),
    ("ReduceLogSum", |call| reduce(call, Reduce::LogSum, 18)),
    ("ReduceLogSumExp", |call| {
        reduce(call, Reduce::LogSumExp, 18)
    }),
    ("ReduceMax", |call| reduce(call, Reduce::Max, 18)),
    ("ReduceMean", |call| reduce(call, Reduce::Mean, 18)),
    ("ReduceMin", |call| reduce(call, Reduce::Min, 18)),
    ("ReduceProd", |call| reduce(call, Reduce::Prod, 18)),
    ("ReduceSum", |call| reduce(call, Reduce::Sum, 13)),
    ("ReduceSumSquare", |call| {
        reduce(call, Reduce::SumSquare, 18)
    }),
    ("Softmax", |call| softmax(call, false)),
];

/// `axes_are_input_since`: the opset from which on axes are no attribute any more.
pub(super) fn reduce(
    call: &mut Call<'_>,
    kind: Reduce,
    axes_are_input_since: i64,
) -> Result<Form, Fault> {
    let keep_dims = call.attributes.flag("keepdims", true)?;
    let noop_with_empty_axes = call.opset >= axes_are_input_since
        && call.attributes.flag("noop_with_empty_axes", false)?;
    let inputs = call.axes_input(axes_are_input_since)?;
    Ok(Form::Node(
        Op::Reduce {
            kind,
            keep_dims,
            noop_with_empty_axes,
        },
        inputs,
    ))
}

pub(super) fn arg_extreme(call: &mut Call<'_>, largest: bool) -> Result<Form, Fault> {
    let attributes = &call.attributes;
    let op = Op::ArgExtreme {
        largest,
        axis: attributes.int_or("axis", 0)?,
        keep_dims: attributes.flag("keepdims", true)?,
        select_last: attributes.flag("select_last_index", false)?,
    };
    call.plain(op)
}

pub(super) fn softmax(call: &mut Call<'_>, log: bool) -> Result<Form, Fault> {
    let along = |axis| {
        if log {
            Op::LogSoftmax { axis }
        } else {
            Op::Softmax { axis }
        }
    };
    if call.opset >= 13 {
        let axis = call.attributes.int_or("axis", -1)?;
        return call.plain(along(axis));
    }
    let first = call.attributes.int_or("axis", 1)?;
    // Where only one dimension lies behind the split, the flat form is the plain one.
    match call.known_rank(0)? {
        Some(rank) if axis(first, rank, "axis").is_ok_and(|place| place + 1 == rank) => {
            call.plain(along(first))
        }
        _ => call.plain(Op::FlatSoftmax { axis: first, log }),
    }
}

/// Before opset 13 the tensor counted as a matrix, split before the axis.
fn hardmax(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset >= 13 {
        let axis = call.attributes.int_or("axis", -1)?;
        return call.plain(Op::Hardmax { axis });
    }
    let first = call.attributes.int_or("axis", 1)?;
    call.at_most_inputs(1)?;
    let data = Some(call.input(0)?);
    let shape = Op::Shape {
        start: 0,
        end: None,
    };
    let shape = call.step("shape", shape, vec![data])?;
    let matrix = call.step("matrix", Op::Flatten { axis: first }, vec![data])?;
    let result = call.step("hardmax", Op::Hardmax { axis: 1 }, vec![Some(matrix)])?;
    let reshape = Op::Reshape { allow_zero: true };
    Ok(Form::Node(reshape, vec![Some(result), Some(shape)]))
}

fn cumulative(call: &mut Call<'_>, product: bool) -> Result<Form, Fault> {
    let op = Op::Cumulative {
        product,
        exclusive: call.attributes.flag("exclusive", false)?,
        reverse: call.attributes.flag("reverse", false)?,
    };
    call.plain(op)
}

/// `x / ‖x‖`, and 0 where the norm is 0.
fn lp_normalization(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let axis = call.attributes.int_or("axis", -1)?;
    let kind = match call.attributes.int_or("p", 2)? {
        1 => Reduce::L1,
        2 => Reduce::L2,
        seen => return Err(wrong("p", seen, "1 or 2")),
    };
    let norm = Op::Reduce {
        kind,
        keep_dims: true,
        noop_with_empty_axes: false,
    };
    let data = call.input(0)?;
    let axes = call.integers("axes", &[axis])?;
    let norm = call.step("norm", norm, vec![Some(data), Some(axes)])?;
    let zero = float_literal(call, "zero", 0.0)?;
    let one = float_literal(call, "one", 1.0)?;
    let is_zero = call.step(
        "is_zero",
        Op::Binary(Binary::Equal),
        vec![Some(norm), Some(zero)],
    )?;
    let divisor = vec![Some(is_zero), Some(one), Some(norm)];
    let divisor = call.step("divisor", Op::Where, divisor)?;
    Ok(Form::Node(
        Op::Binary(Binary::Div),
        vec![Some(data), Some(divisor)],
    ))
}

/// Adds a number of the dtype of input 0.
fn float_literal(call: &mut Call<'_>, role: &'static str, value: f32) -> Result<ValueId, Fault> {
    let dtype = call.dtype(0, role)?;
    let expected = "a floating-point datatype".to_owned();
    let scalar = literal::float(dtype, value).ok_or(Fault::DType {
        input: 0,
        seen: dtype,
        expected,
    })?;
    call.literal(role, Some(scalar))
}
