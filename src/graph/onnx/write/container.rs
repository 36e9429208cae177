//! Operators on sequences and optional values.

use crate::graph::onnx::dtype::number;
use crate::graph::{Container, ContainerOp};

use super::attribute::{flag, int, of_type};
use super::call::{Call, Written};
use super::types::contained;

pub(super) fn container(call: &mut Call<'_, '_>, op: ContainerOp) -> Written {
    let attributes = match op {
        ContainerOp::SequenceEmpty { dtype } => vec![int("dtype", number(dtype).into())],
        ContainerOp::SplitToSequence { axis, keep_dims } => {
            vec![int("axis", axis), flag("keepdims", keep_dims)]
        }
        ContainerOp::ConcatFromSequence { axis, new_axis } => {
            vec![int("axis", axis), flag("new_axis", new_axis)]
        }
        ContainerOp::Optional { empty } => {
            let inner = |container| match container {
                Container::Tensor | Container::Optional => Container::Tensor,
                Container::Sequence | Container::OptionalSequence => Container::Sequence,
            };
            let kind = empty.map(|(dtype, outer)| contained(inner(outer), dtype, None));
            kind.map(|kind| of_type("type", kind)).into_iter().collect()
        }
        ContainerOp::SequenceConstruct
        | ContainerOp::SequenceAt
        | ContainerOp::SequenceInsert
        | ContainerOp::SequenceErase
        | ContainerOp::SequenceLength
        | ContainerOp::OptionalHasElement
        | ContainerOp::OptionalGetElement => Vec::new(),
    };
    call.plain(attributes)
}
