//! Conversions between element types.

use super::super::attributes::wrong;
use super::super::dtype::{from_name, from_number, name};
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::{Fault, Narrowing, Op, RoundMode};
use crate::types::DType;

pub(super) const RULES: &[Rule] = &[
    ("BitCast", bit_cast),
    ("Cast", cast),
    ("CastLike", cast_like),
];

fn cast(call: &mut Call<'_>) -> Result<Form, Fault> {
    let to = if call.opset < 6 {
        named_dtype(call)?
    } else {
        numbered_dtype(call, "to")?.ok_or_else(missing)?
    };
    let op = conversion(call, to)?;
    call.plain(op)
}

fn cast_like(call: &mut Call<'_>) -> Result<Form, Fault> {
    let to = call.dtype(1, "the target type")?;
    let op = conversion(call, to)?;
    Ok(Form::Node(op, vec![Some(call.input(0)?)]))
}

fn bit_cast(call: &mut Call<'_>) -> Result<Form, Fault> {
    let to = numbered_dtype(call, "to")?.ok_or_else(missing)?;
    call.plain(Op::BitCast { to })
}

/// Reads an attribute that names an element type by its number.
pub(super) fn numbered_dtype(call: &Call<'_>, attribute: &str) -> Result<Option<DType>, Fault> {
    let Some(number) = call.attributes.int(attribute)? else {
        return Ok(None);
    };
    let number = i32::try_from(number).unwrap_or(-1);
    match from_number(number) {
        Some(dtype) => Ok(Some(dtype)),
        None => Err(wrong(attribute, name(number), "a supported element type")),
    }
}

/// Before opset 6 the element type was written out.
fn named_dtype(call: &Call<'_>) -> Result<DType, Fault> {
    let seen = call.attributes.text("to")?.ok_or_else(missing)?;
    from_name(&seen).ok_or_else(|| wrong("to", seen, "a supported element type"))
}

fn missing() -> Fault {
    Fault::NoAttribute {
        attribute: "to".to_owned(),
        expected: "an element type",
    }
}

fn conversion(call: &Call<'_>, to: DType) -> Result<Op, Fault> {
    let saturate = call.attributes.flag("saturate", true)?;
    let round = match call.attributes.text("round_mode")?.as_deref() {
        None | Some("" | "up") => RoundMode::Up,
        Some("down") => RoundMode::Down,
        Some("nearest") => RoundMode::Nearest,
        Some(seen) => {
            let seen = format!("{seen:?}");
            return Err(wrong("round_mode", seen, "up, down or nearest"));
        }
    };
    let plain = saturate && round == RoundMode::Up;
    Ok(if plain || !to.is_narrow_float() {
        Op::Cast { to }
    } else {
        Op::Narrow(Narrowing {
            to,
            saturate,
            round,
        })
    })
}
