//! Operators that put elements in order: `TopK`, Unique.

use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Op};

pub(super) const RULES: &[Rule] = &[("TopK", top_k), ("Unique", unique)];

/// Before opset 10 the number of elements was an attribute.
fn top_k(call: &mut Call<'_>) -> Result<Form, Fault> {
    let axis = call.attributes.int_or("axis", -1)?;
    let mut largest = true;
    if call.opset >= 11 {
        largest = call.attributes.flag("largest", true)?;
        // Elements in order are right also where the order may be any.
        call.attributes.ignore(&["sorted"]);
    }
    let op = Op::TopK { axis, largest };
    if call.opset >= 10 {
        return call.plain(op);
    }
    call.at_most_inputs(1)?;
    let count = call.attributes.int("k")?.ok_or(Fault::NoAttribute {
        attribute: "k".to_owned(),
        expected: "a number of elements",
    })?;
    let inputs = vec![Some(call.input(0)?), Some(call.integers("k", &[count])?)];
    Ok(Form::Node(op, inputs))
}

fn unique(call: &mut Call<'_>) -> Result<Form, Fault> {
    let op = Op::Unique {
        axis: call.attributes.int("axis")?,
        sorted: call.attributes.flag("sorted", true)?,
    };
    call.plain(op)
}
