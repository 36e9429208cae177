//! Constants in their several spellings.

use std::sync::Arc;

use super::super::attributes::wrong;
use super::super::tensor;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal;
use crate::graph::{Fault, Initializer, Op};
use crate::types::{DType, Tensor};

pub(super) const RULES: &[Rule] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
];

pub(super) fn constant(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(0)?;
    let in_value = |defect| Fault::Tensor {
        attribute: "value".to_owned(),
        defect: Box::new(defect),
    };
    let attributes = &call.attributes;
    let initializer = if let Some(value) = attributes.tensor("value")? {
        let name = call
            .outputs
            .first()
            .and_then(Option::as_deref)
            .unwrap_or(call.node);
        Some(tensor::read(value, name, call.files).map_err(in_value)?)
    } else if let Some(value) = attributes.float("value_float")? {
        literal::float(DType::F32, value)
    } else if let Some(values) = attributes.floats("value_floats")? {
        literal::floats(vec![values.len()], values)
    } else if let Some(value) = attributes.int("value_int")? {
        literal::of_integers(DType::I64, Vec::new(), &[value])
    } else if let Some(values) = attributes.ints("value_ints")? {
        literal::integers(values)
    } else if let Some(value) = attributes.bytes("value_string")? {
        literal::strings(Vec::new(), &[value])
    } else if let Some(values) = attributes.byte_strings("value_strings")? {
        literal::strings(vec![values.len()], values)
    } else {
        attributes.finish()?;
        None
    };
    let expected = "a tensor, or a number or text or a list of them";
    initializer
        .map(Form::Initializer)
        .ok_or(Fault::NoAttribute {
            attribute: "value".to_owned(),
            expected,
        })
}

pub(super) fn constant_of_shape(call: &mut Call<'_>) -> Result<Form, Fault> {
    let in_value = |defect| Fault::Tensor {
        attribute: "value".to_owned(),
        defect: Box::new(defect),
    };
    let Some(value) = call.attributes.tensor("value")? else {
        return call.plain(Op::ConstantOfShape {
            value: 0.0,
            dtype: DType::F32,
        });
    };
    let single = tensor::read(value, call.node, call.files).map_err(in_value)?;
    let dtype = single.tensor.dtype();
    if let Some(value) = literal::read_single(&single.tensor) {
        return call.plain(Op::ConstantOfShape { value, dtype });
    }
    // A text, a narrow float or an integer of more than 53 significant bits.
    let scalar = Tensor::new(dtype, Vec::new(), single.tensor.memory().clone());
    let scalar =
        scalar.map_err(|_| wrong("value", format!("{:?}", single.tensor), "one element"))?;
    let scalar = call.literal("value", Some(Arc::new(Initializer { tensor: scalar })))?;
    Ok(Form::Node(
        Op::Expand,
        vec![Some(scalar), Some(call.input(0)?)],
    ))
}
