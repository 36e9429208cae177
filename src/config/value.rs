//! Values of a layered configuration: how they are shown, and how text from the environment gets a type.

use config::{File, FileFormat, Source, Value, ValueKind};

/// Origin of values that come from the environment.
pub(super) const ENVIRONMENT: &str = "environment";

/// Longest text that a message repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// Gives text from the environment the type it has when read as TOML; it stays text if it is not TOML.
pub(super) fn typed(value: Value) -> Value {
    let ValueKind::String(text) = &value.kind else {
        return value;
    };
    if value.origin() != Some(ENVIRONMENT) {
        return value;
    }
    let Ok(mut read) = File::from_str(&format!("it = {text}"), FileFormat::Toml).collect() else {
        return value;
    };
    match read.remove("it") {
        Some(inner) if read.is_empty() => inner,
        _ => value,
    }
}

/// Writes what was seen, as a message says it.
pub(super) fn show(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "is nothing".to_owned(),
        ValueKind::Table(_) => "is a table".to_owned(),
        ValueKind::Array(list) if list.is_empty() => "is an empty list".to_owned(),
        ValueKind::Array(_) => "is a list".to_owned(),
        ValueKind::String(text) => format!("is {}", quoted(text)),
        ValueKind::Boolean(value) => format!("is {value}"),
        ValueKind::Float(value) => format!("is {value:?}"),
        ValueKind::I64(value) => format!("is {value}"),
        ValueKind::I128(value) => format!("is {value}"),
        ValueKind::U64(value) => format!("is {value}"),
        ValueKind::U128(value) => format!("is {value}"),
    }
}

/// Writes a text in quotes, shortened if it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
