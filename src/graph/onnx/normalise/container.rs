//! Operators on sequences and optional values.

use super::super::attributes::wrong;
use super::super::dtype::{from_number, name};
use super::super::value_info::within;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Container, ContainerOp, Fault, Op};

pub(super) const RULES: &[Rule] = &[
    ("ConcatFromSequence", concat_from_sequence),
    ("Optional", optional),
    ("OptionalGetElement", |call| {
        plain(call, ContainerOp::OptionalGetElement)
    }),
    ("OptionalHasElement", |call| {
        plain(call, ContainerOp::OptionalHasElement)
    }),
    ("SequenceAt", |call| plain(call, ContainerOp::SequenceAt)),
    ("SequenceConstruct", |call| {
        plain(call, ContainerOp::SequenceConstruct)
    }),
    ("SequenceEmpty", sequence_empty),
    ("SequenceErase", |call| {
        plain(call, ContainerOp::SequenceErase)
    }),
    ("SequenceInsert", |call| {
        plain(call, ContainerOp::SequenceInsert)
    }),
    ("SequenceLength", |call| {
        plain(call, ContainerOp::SequenceLength)
    }),
    ("SplitToSequence", split_to_sequence),
];

fn plain(call: &Call<'_>, op: ContainerOp) -> Result<Form, Fault> {
    call.plain(Op::Container(op))
}

fn sequence_empty(call: &mut Call<'_>) -> Result<Form, Fault> {
    let number = call.attributes.int_or("dtype", 1)?;
    let dtype = i32::try_from(number).ok().and_then(from_number);
    let dtype = dtype.ok_or_else(|| {
        let seen = i32::try_from(number).map_or_else(|_| number.to_string(), name);
        wrong("dtype", seen, "a supported ONNX element type")
    })?;
    plain(call, ContainerOp::SequenceEmpty { dtype })
}

fn split_to_sequence(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = ContainerOp::SplitToSequence {
        axis: call.attributes.int_or("axis", 0)?,
        keep_dims: call.attributes.flag("keepdims", true)?,
    };
    plain(call, op)
}

fn concat_from_sequence(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int("axis")?.ok_or(Fault::NoAttribute {
        attribute: "axis".to_owned(),
        expected: "the dimension along which to join",
    })?;
    let new_axis = call.attributes.flag("new_axis", false)?;
    plain(call, ContainerOp::ConcatFromSequence { axis, new_axis })
}

/// The type is needed where there is no input.
fn optional(call: &mut Call<'_>) -> Result<Form, Fault> {
    let declared = call.attributes.of_type("type")?.and_then(within);
    let empty = declared.and_then(|(container, tensor)| {
        let outer = match container {
            Container::Tensor | Container::Optional => Container::Optional,
            Container::Sequence | Container::OptionalSequence => Container::OptionalSequence,
        };
        Some((from_number(tensor.elem_type)?, outer))
    });
    plain(call, ContainerOp::Optional { empty })
}
