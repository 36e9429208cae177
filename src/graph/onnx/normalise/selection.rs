//! Operators that take parts of a tensor: Split, Slice, Gather.

use super::super::attributes::wrong;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::infer::axis;
use crate::graph::{Fault, Op};

pub(super) const RULES: &[Rule] = &[("Gather", gather), ("Slice", slice), ("Split", split)];

pub(super) fn split(call: &mut Call<'_>) -> Result<Form, Fault> {
    let along = call.attributes.int_or("axis", 0)?;
    let outputs = call.outputs.len();
    let mut inputs = call.inputs.clone();
    if call.opset < 13 {
        // The first version took sizes as an input or as an attribute.
        call.at_most_inputs(if call.opset < 2 { 2 } else { 1 })?;
        if let Some(sizes) = call.attributes.ints("split")? {
            inputs.push(Some(call.integers("split", sizes)?));
        }
    }
    if call.opset >= 18
        && let Some(count) = call.attributes.int("num_outputs")?
    {
        if usize::try_from(count) != Ok(outputs) {
            return Err(wrong(
                "num_outputs",
                count,
                &format!("{outputs}, as many as the node has"),
            ));
        }
        if let Some(sizes) = uneven(call, along, outputs)? {
            inputs = vec![Some(call.input(0)?), Some(call.integers("split", &sizes)?)];
        }
    }
    Ok(Form::Node(Op::Split { axis: along }, inputs))
}

/// Returns the sizes of parts of which the last is smaller, as `num_outputs` allows; `None` if they are equal.
fn uneven(call: &Call<'_>, along: i64, outputs: usize) -> Result<Option<Vec<i64>>, Fault> {
    let Some(dims) = call.builder.fact(call.input(0)?).dims() else {
        return Ok(None);
    };
    let Some(size) = dims[axis(along, dims.len(), "axis")?].fixed() else {
        return Ok(None);
    };
    if call.has_input(1) || outputs == 0 || size.is_multiple_of(outputs) {
        return Ok(None);
    }
    let part = size.div_ceil(outputs);
    let sizes = (0..outputs).map(|place| size.saturating_sub(place.saturating_mul(part)).min(part));
    Ok(Some(
        sizes.filter_map(|size| i64::try_from(size).ok()).collect(),
    ))
}

pub(super) fn slice(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset >= 10 {
        return call.plain(Op::Slice);
    }
    call.at_most_inputs(1)?;
    let mut inputs = vec![Some(call.input(0)?)];
    for (name, required) in [("starts", true), ("ends", true), ("axes", false)] {
        match call.attributes.ints(name)? {
            Some(values) => inputs.push(Some(call.integers(name, values)?)),
            None if required => {
                let attribute = name.to_owned();
                return Err(Fault::NoAttribute {
                    attribute,
                    expected: "one number per axis",
                });
            }
            None => {}
        }
    }
    Ok(Form::Node(Op::Slice, inputs))
}

pub(super) fn gather(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int_or("axis", 0)?;
    call.plain(Op::Gather { axis })
}
