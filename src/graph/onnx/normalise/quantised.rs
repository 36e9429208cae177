//! Operators on quantised numbers.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::cast::numbered_dtype;
use super::convolution;
use super::registry::Rule;
use crate::graph::{Conv, Fault, Op, Quantised, Scaling};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("ConvInteger", |call| {
        let conv = windows(call, 1)?;
        call.plain(Op::Quantised(Quantised::ConvInteger(conv)))
    }),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", |call| {
        call.plain(Op::Quantised(Quantised::DynamicQuantize))
    }),
    ("MatMulInteger", |call| {
        call.plain(Op::Quantised(Quantised::MatMulInteger))
    }),
    ("QLinearConv", |call| {
        let conv = windows(call, 3)?;
        call.plain(Op::Quantised(Quantised::Conv(conv)))
    }),
    ("QLinearMatMul", |call| {
        call.plain(Op::Quantised(Quantised::MatMul))
    }),
    ("QuantizeLinear", quantize),
];

/// Reads the attributes of a convolution, of which `weight` is the input with the kernel's shape.
fn windows(call: &mut Call<'_>, weight: usize) -> Result<Conv, Fault> {
    let inputs = call.inputs.clone();
    call.inputs = vec![Some(call.input(0)?), Some(call.input(weight)?)];
    let conv = convolution::conv(call);
    call.inputs = inputs;
    conv
}

fn quantize(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Quantised::Quantize {
        scaling: scaling(call)?,
        to: element_type(call, "output_dtype")?.unwrap_or(DType::U8),
        saturate: call.attributes.flag("saturate", true)?,
        precision: element_type(call, "precision")?,
    };
    if let (true, Ok(zero_point)) = (call.has_input(2), call.dtype(2, "output_dtype"))
        && let Some(to) = element_type(call, "output_dtype")?
        && to != zero_point
    {
        let expected = format!("{zero_point} as the zero point is");
        return Err(wrong("output_dtype", to, &expected));
    }
    call.plain(Op::Quantised(op))
}

fn dequantize(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Quantised::Dequantize {
        scaling: scaling(call)?,
        to: element_type(call, "output_dtype")?,
    };
    call.plain(Op::Quantised(op))
}

fn scaling(call: &Call<'_>) -> Result<Scaling, Fault> {
    let block = call.attributes.int_or("block_size", 0)?;
    Ok(Scaling {
        axis: call.attributes.int_or("axis", 1)?,
        block: usize::try_from(block).map_err(|_| wrong("block_size", block, "at least 0"))?,
    })
}

/// Reads an element type that may be left out, or 0 for the same.
fn element_type(call: &Call<'_>, attribute: &str) -> Result<Option<DType>, Fault> {
    match call.attributes.int(attribute)? {
        None | Some(0) => Ok(None),
        Some(_) => numbered_dtype(call, attribute),
    }
}
