//! Operators that change shapes, take parts of tensors or join them.

use super::attribute::{flag, int, size, sizes};
use super::call::{Call, Written};

/// Writes an operator that has an axis and nothing else.
pub(super) fn along(call: &mut Call<'_, '_>, axis: i64) -> Written {
    call.plain(vec![int("axis", axis)])
}

pub(super) fn reshape(call: &mut Call<'_, '_>, allow_zero: bool) -> Written {
    call.plain(vec![flag("allowzero", allow_zero)])
}

pub(super) fn transpose(call: &mut Call<'_, '_>, permutation: Option<&[usize]>) -> Written {
    let permutation = permutation.unwrap_or_default();
    call.plain(sizes("perm", permutation).into_iter().collect())
}

/// Either the sizes are an input, or the number of equal parts is told.
pub(super) fn split(call: &mut Call<'_, '_>, axis: i64) -> Written {
    let parts = (!call.has_input(1)).then(|| size("num_outputs", call.node.outputs.len()));
    call.plain([int("axis", axis)].into_iter().chain(parts).collect())
}

pub(super) fn shape(call: &mut Call<'_, '_>, start: i64, end: Option<i64>) -> Written {
    let end = end.map(|end| int("end", end));
    call.plain([int("start", start)].into_iter().chain(end).collect())
}
