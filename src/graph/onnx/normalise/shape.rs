//! Operators that change shapes and leave elements as they are.

use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op};

pub(super) const RULES: &[Rule] = &[
    ("Concat", concat),
    ("Expand", |call| call.plain(Op::Expand)),
    ("Flatten", flatten),
    ("Identity", |call| call.plain(Op::Identity)),
    ("Reshape", reshape),
    ("Shape", shape),
    ("Size", |call| call.plain(Op::Size)),
    ("Squeeze", squeeze),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
];

pub(super) fn reshape(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset < 5 {
        call.at_most_inputs(1)?;
        call.attributes.ignore(&["consumed_inputs"]);
        let shape = call.attributes.ints("shape")?.unwrap_or_default();
        let inputs = vec![Some(call.input(0)?), Some(call.integers("shape", shape)?)];
        return Ok(Form::Node(Op::Reshape { allow_zero: false }, inputs));
    }
    let allow_zero = call.opset >= 14 && call.attributes.flag("allowzero", false)?;
    call.plain(Op::Reshape { allow_zero })
}

pub(super) fn flatten(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int_or("axis", 1)?;
    call.plain(Op::Flatten { axis })
}

pub(super) fn transpose(call: &mut Call<'_>) -> Result<Form, Fault> {
    let permutation = match call.attributes.ints("perm")? {
        Some(_) => Some(call.attributes.sizes("perm")?),
        None => None,
    };
    call.plain(Op::Transpose { permutation })
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Result<Form, Fault> {
    let inputs = call.axes_input(13)?;
    Ok(Form::Node(Op::Squeeze, inputs))
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Result<Form, Fault> {
    let inputs = call.axes_input(13)?;
    if inputs.len() < 2 {
        return Err(Fault::NoAttribute {
            attribute: "axes".to_owned(),
            expected: "the new dimensions",
        });
    }
    Ok(Form::Node(Op::Unsqueeze, inputs))
}

pub(super) fn concat(call: &mut Call<'_>) -> Result<Form, Fault> {
    let expected = "the dimension along which to join";
    let axis = match call.opset {
        ..4 => Some(call.attributes.int_or("axis", 1)?),
        _ => call.attributes.int("axis")?,
    };
    let axis = axis.ok_or(Fault::NoAttribute {
        attribute: "axis".to_owned(),
        expected,
    })?;
    call.plain(Op::Concat { axis })
}

pub(super) fn shape(call: &mut Call<'_>) -> Result<Form, Fault> {
    if call.opset < 15 {
        return call.plain(Op::Shape {
            start: 0,
            end: None,
        });
    }
    let op = Op::Shape {
        start: call.attributes.int_or("start", 0)?,
        end: call.attributes.int("end")?,
    };
    call.plain(op)
}
