//! Elements around a tensor.

use super::super::argument::{Number, missing};
use super::super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op, PadMode};

pub(super) const RULES: &[Rule] = &[
    ("constant_pad_nd.default", |call| {
        around(call, "pad", PadMode::Constant)
    }),
    ("pad.default", |call| {
        let mode = match call.arguments.text("mode")? {
            None | Some("constant") => PadMode::Constant,
            Some("reflect") => PadMode::Reflect,
            Some("replicate") => PadMode::Edge,
            Some("circular") => PadMode::Wrap,
            Some(_) => return Ok(Form::Aten),
        };
        around(call, "pad", mode)
    }),
    ("reflection_pad1d.default", |call| {
        around(call, "padding", PadMode::Reflect)
    }),
    ("reflection_pad2d.default", |call| {
        around(call, "padding", PadMode::Reflect)
    }),
    ("reflection_pad3d.default", |call| {
        around(call, "padding", PadMode::Reflect)
    }),
    ("replication_pad1d.default", |call| {
        around(call, "padding", PadMode::Edge)
    }),
    ("replication_pad2d.default", |call| {
        around(call, "padding", PadMode::Edge)
    }),
    ("replication_pad3d.default", |call| {
        around(call, "padding", PadMode::Edge)
    }),
];

/// libtorch lists begin and end of the last dimension first; dimensions before those listed have none.
fn around(call: &mut Call<'_>, name: &str, mode: PadMode) -> Result<Form, Fault> {
    let data = call.tensor("self")?;
    let rank = call.rank_of(data, "self")?;
    let list = call.arguments.ints(name)?.ok_or_else(|| missing(name))?;
    let (pairs, odd) = list.as_chunks::<2>();
    if !odd.is_empty() || pairs.len() > rank {
        return Err(Fault::Argument {
            argument: name.to_owned(),
            seen: format!("{} numbers", list.len()),
            expected: "two for each of the last dimensions",
        });
    }
    let mut pads = vec![0; 2 * rank];
    for (place, [begin, end]) in pairs.iter().enumerate() {
        let axis = rank - 1 - place;
        pads[axis] = *begin;
        pads[rank + axis] = *end;
    }
    let pads = call.integers("pads", &pads)?;
    let mut inputs = vec![Some(data), Some(pads)];
    let value = call.arguments.number("value")?;
    if mode == PadMode::Constant {
        let dtype = call.dtype_of(data, "self")?;
        let value = value.unwrap_or(Number::Int(0));
        inputs.push(Some(call.scalar("value", value, dtype)?));
    }
    Ok(Form::Node(Op::Pad(mode), inputs))
}
