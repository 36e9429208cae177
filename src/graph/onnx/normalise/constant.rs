//! Constants in their several spellings, and operators that do nothing when a model is not trained.

use super::super::attributes::wrong;
use super::super::{literal, tensor};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Dropout", dropout),
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
    } else {
        attributes.finish()?;
        None
    };
    let expected = "a tensor, a number or a list of numbers";
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
    match literal::read_single(&single.tensor) {
        Some(value) => call.plain(Op::ConstantOfShape { value, dtype }),
        None => Err(wrong(
            "value",
            format!("{:?}", single.tensor),
            "one element of at most 53 significant bits",
        )),
    }
}

/// Inputs since opset 12: data, ratio?, `training_mode`?.
pub(super) fn dropout(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.only_first_output()?;
    call.at_most_inputs(if call.opset < 12 { 1 } else { 3 })?;
    call.attributes.ignore(&["ratio", "seed"]);
    if call.opset < 7 {
        call.attributes.only("is_test", 1, 0)?;
    }
    if call.has_input(2) && call.weight(2).and_then(literal::read_single) != Some(0.0) {
        let parameter = "training_mode";
        let seen = "true, or computed by the model".to_owned();
        return Err(Fault::Parameter {
            parameter,
            seen,
            expected: "a constant false".to_owned(),
        });
    }
    Ok(Form::Node(Op::Identity, vec![Some(call.input(0)?)]))
}
