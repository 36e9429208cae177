//! Reductions, searches for extremes, Softmax.

use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::infer::axis;
use crate::graph::{Fault, Op, Reduce};

pub(super) const RULES: &[Rule] = &[
    ("ArgMax", |call| arg_extreme(call, true)),
    ("ArgMin", |call| arg_extreme(call, false)),
    ("LogSoftmax", |call| softmax(call, true)),
    ("ReduceL1", |call| reduce(call, Reduce::L1, 18)),
    ("ReduceL2", |call| reduce(call, Reduce::L2, 18)),
    ("ReduceMax", |call| reduce(call, Reduce::Max, 18)),
    ("ReduceMean", |call| reduce(call, Reduce::Mean, 18)),
    ("ReduceMin", |call| reduce(call, Reduce::Min, 18)),
    ("ReduceProd", |call| reduce(call, Reduce::Prod, 18)),
    ("ReduceSum", |call| reduce(call, Reduce::Sum, 13)),
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
