//! Operators on quantised numbers.

use crate::graph::onnx::dtype::number;
use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Quantised, Scaling};
use crate::types::DType;

use super::attribute::{flag, int, size};
use super::call::{Call, Written};
use super::convolution::windows;

pub(super) fn quantised(call: &mut Call<'_, '_>, op: &Quantised) -> Written {
    let attributes = match op {
        Quantised::Quantize {
            scaling,
            to,
            saturate,
            precision,
        } => {
            let mut attributes = laid(*scaling);
            attributes.push(flag("saturate", *saturate));
            // UINT8 is the default, and a zero point of another type may stand without it being told.
            attributes.extend((*to != DType::U8).then(|| element_type("output_dtype", *to)));
            attributes.extend(precision.map(|dtype| element_type("precision", dtype)));
            attributes
        }
        Quantised::Dequantize { scaling, to } => {
            let mut attributes = laid(*scaling);
            attributes.extend(to.map(|dtype| element_type("output_dtype", dtype)));
            attributes
        }
        Quantised::Conv(conv) | Quantised::ConvInteger(conv) => windows(conv),
        Quantised::DynamicQuantize | Quantised::MatMul | Quantised::MatMulInteger => Vec::new(),
    };
    call.plain(attributes)
}

fn laid(scaling: Scaling) -> Vec<AttributeProto> {
    let mut attributes = vec![int("axis", scaling.axis)];
    if scaling.block > 0 {
        attributes.push(size("block_size", scaling.block));
    }
    attributes
}

fn element_type(name: &str, dtype: DType) -> AttributeProto {
    int(name, number(dtype).into())
}
