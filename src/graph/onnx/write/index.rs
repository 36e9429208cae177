//! Operators on places of elements.

use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Combine, Index};

use super::attribute::{flag, int, text};
use super::call::{Call, Written};

pub(super) fn index(call: &mut Call<'_, '_>, op: Index) -> Written {
    let attributes = match op {
        Index::NonZero | Index::Tile => Vec::new(),
        Index::Compress { axis } => axis.map(|axis| int("axis", axis)).into_iter().collect(),
        Index::GatherElements { axis } | Index::OneHot { axis } => vec![int("axis", axis)],
        Index::GatherNd { batch_dims } => vec![int("batch_dims", batch_dims)],
        Index::ReverseSequence {
            batch_axis,
            time_axis,
        } => vec![int("batch_axis", batch_axis), int("time_axis", time_axis)],
        Index::ScatterElements { axis, combine } => vec![int("axis", axis), reduction(combine)],
        Index::ScatterNd { combine } => vec![reduction(combine)],
        Index::TensorScatter { axis, circular } => {
            let mode = if circular { "circular" } else { "linear" };
            vec![int("axis", axis), text("mode", mode)]
        }
        Index::Trilu { upper } => vec![flag("upper", upper)],
    };
    call.plain(attributes)
}

fn reduction(combine: Combine) -> AttributeProto {
    let name = match combine {
        Combine::Replace => "none",
        Combine::Add => "add",
        Combine::Multiply => "mul",
        Combine::Max => "max",
        Combine::Min => "min",
    };
    text("reduction", name)
}
