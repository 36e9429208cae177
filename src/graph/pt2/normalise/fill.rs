//! Tensors that are made of numbers.

use super::super::argument::{Number, missing};
use super::super::call::{Call, Form};
use super::operands::operand;
use super::registry::Rule;
use crate::graph::{Fault, Op, ValueId};
use crate::types::DType;

/// How a file says where a tensor goes, which blocks choose themselves.
const PLACE: [&str; 4] = ["layout", "device", "pin_memory", "memory_format"];

/// Integers up to here are floating-point numbers too.
const EXACT_MAX: i64 = 1 << 53;

pub(super) const RULES: &[Rule] = &[
    ("arange.default", arange),
    ("arange.start", arange),
    ("arange.start_step", arange),
    // Memory as it was found would show what other requests left in it.
    ("empty.memory_format", |call| filled(call, Some(0))),
    ("empty_like.default", |call| filled_like(call, Some(0))),
    ("full.default", |call| filled(call, None)),
    ("full_like.default", |call| filled_like(call, None)),
    ("new_empty.default", |call| filled_new(call, Some(0))),
    ("new_full.default", |call| filled_new(call, None)),
    ("new_ones.default", |call| filled_new(call, Some(1))),
    ("new_zeros.default", |call| filled_new(call, Some(0))),
    ("ones.default", |call| filled(call, Some(1))),
    ("ones_like.default", |call| filled_like(call, Some(1))),
    ("scalar_tensor.default", scalar_tensor),
    ("zeros.default", |call| filled(call, Some(0))),
    ("zeros_like.default", |call| filled_like(call, Some(0))),
];

fn fill_value(call: &Call<'_>, value: Option<i64>) -> Result<Number, Fault> {
    match value {
        Some(value) => Ok(Number::Int(value)),
        None => call
            .arguments
            .number("fill_value")?
            .ok_or_else(|| missing("fill_value")),
    }
}

fn of_shape(shape: ValueId, value: Number, dtype: DType) -> Form {
    if matches!(value, Number::Int(value) if value.saturating_abs() > EXACT_MAX) {
        return Form::Aten;
    }
    let value = value.float();
    Form::Node(Op::ConstantOfShape { value, dtype }, vec![Some(shape)])
}

fn filled(call: &mut Call<'_>, value: Option<i64>) -> Result<Form, Fault> {
    call.arguments.ignore(&PLACE);
    let number = fill_value(call, value)?;
    let default = match value {
        Some(_) => DType::F32,
        None => number.dtype(),
    };
    let dtype = call.arguments.dtype("dtype")?.unwrap_or(default);
    let shape = call.sizes("size")?;
    Ok(of_shape(shape, number, dtype))
}

fn filled_new(call: &mut Call<'_>, value: Option<i64>) -> Result<Form, Fault> {
    call.arguments.ignore(&PLACE);
    let like = call.tensor("self")?;
    let number = fill_value(call, value)?;
    let own = call.dtype_of(like, "self")?;
    let dtype = call.arguments.dtype("dtype")?.unwrap_or(own);
    let shape = call.sizes("size")?;
    Ok(of_shape(shape, number, dtype))
}

fn filled_like(call: &mut Call<'_>, value: Option<i64>) -> Result<Form, Fault> {
    call.arguments.ignore(&PLACE);
    let like = call.tensor("self")?;
    let number = fill_value(call, value)?;
    let own = call.dtype_of(like, "self")?;
    let dtype = call.arguments.dtype("dtype")?.unwrap_or(own);
    let whole = Op::Shape {
        start: 0,
        end: None,
    };
    let shape = call.step("shape", whole, vec![Some(like)])?;
    Ok(of_shape(shape, number, dtype))
}

fn scalar_tensor(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&PLACE);
    let dtype = call.arguments.dtype("dtype")?.unwrap_or(DType::F32);
    let value = operand(call, "s", dtype)?;
    Ok(Form::Node(Op::Identity, vec![Some(value)]))
}

fn arange(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.arguments.ignore(&PLACE);
    let mut default = DType::I64;
    for name in ["start", "end", "step"] {
        // Numbers that are known when the model runs are sizes.
        if let Ok(Some(Number::Float(_))) = call.arguments.number(name) {
            default = DType::F32;
        }
    }
    let dtype = call.arguments.dtype("dtype")?.unwrap_or(default);
    // Counted in the type of the numbers, and converted then.
    if dtype != default && !(default == DType::I64 && dtype == DType::F32) {
        return Ok(Form::Aten);
    }
    let start = match call.arguments.get("start") {
        Some(_) => operand(call, "start", default)?,
        None => call.scalar("start", Number::Int(0), default)?,
    };
    let end = operand(call, "end", default)?;
    let step = match call.arguments.get("step") {
        Some(_) => operand(call, "step", default)?,
        None => call.scalar("step", Number::Int(1), default)?,
    };
    let inputs = [start, end, step].map(Some).to_vec();
    if dtype == default {
        return Ok(Form::Node(Op::Range, inputs));
    }
    let numbers = call.step("numbers", Op::Range, inputs)?;
    Ok(Form::Node(Op::Cast { to: dtype }, vec![Some(numbers)]))
}
