//! Tensors made from a few numbers.

use crate::graph::build::literal::read_integers;
use crate::graph::onnx::dtype::number;
use crate::graph::onnx::proto::AttributeProto;
use crate::graph::{Distribution, Random};
use crate::types::DType;

use super::attribute::{float, int, ints, size, tensor};
use super::call::{Call, Written};
use super::tensor::single;

pub(super) fn constant_of_shape(call: &mut Call<'_, '_>, value: f64, dtype: DType) -> Written {
    let value = single(dtype, value).ok_or_else(|| call.refused())?;
    call.plain(vec![tensor("value", value)])
}

pub(super) fn eye_like(call: &mut Call<'_, '_>, dtype: DType, offset: i64) -> Written {
    call.plain(vec![element_type(dtype), int("k", offset)])
}

fn element_type(dtype: DType) -> AttributeProto {
    int("dtype", number(dtype).into())
}

/// The shape is an attribute where it is known, else that of a tensor which is made for it.
pub(super) fn random(call: &mut Call<'_, '_>, op: Random) -> Written {
    let mut attributes = vec![element_type(op.dtype)];
    attributes.extend(op.seed.map(|seed| float("seed", seed)));
    match op.distribution {
        Distribution::Uniform { low, high } => {
            attributes.extend([float("low", low), float("high", high)]);
        }
        Distribution::Normal { mean, deviation } => {
            attributes.extend([float("mean", mean), float("scale", deviation)]);
        }
        Distribution::Classes { samples } => {
            attributes.push(size("sample_size", samples));
            return call.plain(attributes);
        }
    }
    let operator = call.node.op.name();
    let known = call.weight(0).map(|shape| read_integers(&shape.tensor));
    if let Some(shape) = known {
        attributes.push(ints("shape", shape.ok_or_else(|| call.refused())?));
        return call.last(operator, &[], attributes);
    }
    let shape = call.inputs[0].clone();
    let like = call.step("like", "ConstantOfShape", &[&shape], Vec::new());
    call.last(&format!("{operator}Like"), &[&like], attributes)
}
