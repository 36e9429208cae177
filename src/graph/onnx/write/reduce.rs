//! Reductions, searches, what puts elements in order, losses.

use crate::graph::LossReduction;

use super::attribute::{flag, int, text};
use super::call::{Call, Written};

pub(super) fn reduce(
    call: &mut Call<'_, '_>,
    keep_dims: bool,
    noop_with_empty_axes: bool,
) -> Written {
    call.plain(vec![
        flag("keepdims", keep_dims),
        flag("noop_with_empty_axes", noop_with_empty_axes),
    ])
}

pub(super) fn arg_extreme(
    call: &mut Call<'_, '_>,
    axis: i64,
    keep_dims: bool,
    select_last: bool,
) -> Written {
    call.plain(vec![
        int("axis", axis),
        flag("keepdims", keep_dims),
        flag("select_last_index", select_last),
    ])
}

pub(super) fn cumulative(call: &mut Call<'_, '_>, exclusive: bool, reverse: bool) -> Written {
    call.plain(vec![flag("exclusive", exclusive), flag("reverse", reverse)])
}

pub(super) fn top_k(call: &mut Call<'_, '_>, axis: i64, largest: bool) -> Written {
    call.plain(vec![int("axis", axis), flag("largest", largest)])
}

pub(super) fn unique(call: &mut Call<'_, '_>, axis: Option<i64>, sorted: bool) -> Written {
    let axis = axis.map(|axis| int("axis", axis));
    call.plain([flag("sorted", sorted)].into_iter().chain(axis).collect())
}

pub(super) fn loss(
    call: &mut Call<'_, '_>,
    ignored: Option<i64>,
    reduction: LossReduction,
) -> Written {
    let reduction = match reduction {
        LossReduction::None => "none",
        LossReduction::Sum => "sum",
        LossReduction::Mean => "mean",
    };
    let ignored = ignored.map(|class| int("ignore_index", class));
    let reduction = [text("reduction", reduction)];
    call.plain(reduction.into_iter().chain(ignored).collect())
}

/// Softmax over all dimensions from `axis` on: of the matrix that the tensor is when flattened there.
pub(super) fn flat_softmax(call: &mut Call<'_, '_>, axis: i64, log: bool) -> Written {
    let data = call.inputs[0].clone();
    let softmax = if log { "LogSoftmax" } else { "Softmax" };
    let matrix = call.step("matrix", "Flatten", &[&data], vec![int("axis", axis)]);
    let along = call.step("softmax", softmax, &[&matrix], vec![int("axis", 1)]);
    let shape = call.step("shape", "Shape", &[&data], Vec::new());
    // A dimension of size 0 is meant as such.
    let as_stated = vec![flag("allowzero", true)];
    call.last("Reshape", &[&along, &shape], as_stated)
}
