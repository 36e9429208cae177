//! JSON data of one tensor → its bytes, in one pass and without a tree in between.
//!
//! The text has passed serde_json, so it is one JSON value; what is left to check is whether it says `dtype` and `shape`.
//! Memory is taken for what the text can hold, never for what the shape merely claims.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

use half::f16;

use super::rejection::shown;
use crate::types::{AlignedBytes, DType, HostMemory, Shape, Tensor, TensorError, element_count};

/// JSON data that is not the tensor it was announced as.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    #[error("element {index} is {seen}, expected {expected}")]
    Element {
        index: usize,
        seen: String,
        expected: String,
    },
    #[error("data holds more than the {expected} elements of shape {shape:?}")]
    TooMany { expected: usize, shape: Shape },
    #[error("data holds {seen} of the {expected} elements of shape {shape:?}")]
    TooFew {
        seen: usize,
        expected: usize,
        shape: Shape,
    },
    #[error(
        "data is nested unlike shape {shape:?} before element {index}; nest it like the shape or write it flat"
    )]
    Nesting { index: usize, shape: Shape },
    #[error("data is no array but {seen}")]
    NoArray { seen: String },
    #[error("BF16 has no JSON form, send it as binary data")]
    NoJsonForm,
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Reads `text`, flat or nested exactly like `shape`.
pub(super) fn parse(text: &str, dtype: DType, shape: Shape) -> Result<Tensor, DataError> {
    let expected = element_count(&shape).map_err(TensorError::from)?;
    if expected > text.len() {
        // Every element takes a character at least, so this cannot be the tensor, and its memory is not taken.
        return Err(DataError::TooFew {
            seen: text.len(),
            expected,
            shape,
        });
    }
    let memory: Arc<dyn HostMemory> = match dtype {
        DType::Bool => numbers(text, &shape, expected, boolean)?,
        DType::U8 => numbers(text, &shape, expected, |token| {
            Ok([whole::<u8>(token, DType::U8)?])
        })?,
        DType::U16 => numbers(text, &shape, expected, |token| {
            Ok(whole::<u16>(token, DType::U16)?.to_le_bytes())
        })?,
        DType::U32 => numbers(text, &shape, expected, |token| {
            Ok(whole::<u32>(token, DType::U32)?.to_le_bytes())
        })?,
        DType::U64 => numbers(text, &shape, expected, |token| {
            Ok(whole::<u64>(token, DType::U64)?.to_le_bytes())
        })?,
        DType::I8 => numbers(text, &shape, expected, |token| {
            Ok(whole::<i8>(token, DType::I8)?.to_le_bytes())
        })?,
        DType::I16 => numbers(text, &shape, expected, |token| {
            Ok(whole::<i16>(token, DType::I16)?.to_le_bytes())
        })?,
        DType::I32 => numbers(text, &shape, expected, |token| {
            Ok(whole::<i32>(token, DType::I32)?.to_le_bytes())
        })?,
        DType::I64 => numbers(text, &shape, expected, |token| {
            Ok(whole::<i64>(token, DType::I64)?.to_le_bytes())
        })?,
        DType::F16 => numbers(text, &shape, expected, |token| {
            let value = f16::from_f64(real::<f64>(token, DType::F16, f64::is_finite)?);
            if value.is_finite() {
                Ok(value.to_le_bytes())
            } else {
                Err(beyond(DType::F16))
            }
        })?,
        DType::F32 => numbers(text, &shape, expected, |token| {
            Ok(real::<f32>(token, DType::F32, f32::is_finite)?.to_le_bytes())
        })?,
        DType::F64 => numbers(text, &shape, expected, |token| {
            Ok(real::<f64>(token, DType::F64, f64::is_finite)?.to_le_bytes())
        })?,
        DType::Bytes => strings(text, &shape, expected)?,
        _ => return Err(DataError::NoJsonForm),
    };
    Ok(Tensor::new(dtype, shape, memory)?)
}

/// What a token should have been.
type Expectation = Cow<'static, str>;

fn numbers<const SIZE: usize>(
    text: &str,
    shape: &[usize],
    expected: usize,
    value: impl Fn(&str) -> Result<[u8; SIZE], Expectation>,
) -> Result<Arc<dyn HostMemory>, DataError> {
    let mut memory = AlignedBytes::zeroed(expected * SIZE);
    let mut slots = memory.as_mut_slice().chunks_exact_mut(SIZE);
    walk(text, shape, expected, |token| {
        let bytes = value(token)?;
        if let Some(slot) = slots.next() {
            slot.copy_from_slice(&bytes);
        }
        Ok(())
    })?;
    Ok(Arc::new(memory))
}

fn strings(text: &str, shape: &[usize], expected: usize) -> Result<Arc<dyn HostMemory>, DataError> {
    let mut memory = Vec::new();
    walk(text, shape, expected, |token| {
        if !token.starts_with('"') {
            return Err("a string".into());
        }
        let string: String =
            serde_json::from_str(token).map_err(|_| "a string of whole characters")?;
        let length = u32::try_from(string.len()).map_err(|_| "a string below 4 GiB")?;
        memory.extend_from_slice(&length.to_le_bytes());
        memory.extend_from_slice(string.as_bytes());
        Ok(())
    })?;
    Ok(Arc::new(AlignedBytes::copy_of(&memory)))
}

fn boolean(token: &str) -> Result<[u8; 1], Expectation> {
    match token {
        "true" => Ok([1]),
        "false" => Ok([0]),
        _ => Err("true or false".into()),
    }
}

fn whole<T: TryFrom<i128>>(token: &str, dtype: DType) -> Result<T, Expectation> {
    let value = token
        .parse::<i128>()
        .ok()
        .and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| format!("a whole number that {dtype} can hold").into())
}

fn real<T: FromStr + Copy>(
    token: &str,
    dtype: DType,
    finite: fn(T) -> bool,
) -> Result<T, Expectation> {
    // Rust would also read `inf` and `nan`, but no JSON token starts with those letters.
    let value = token
        .parse::<T>()
        .map_err(|_| format!("a number, as the datatype is {dtype}"))?;
    if finite(value) {
        Ok(value)
    } else {
        Err(beyond(dtype))
    }
}

fn beyond(dtype: DType) -> Expectation {
    format!("a number that {dtype} can hold").into()
}

/// Calls `element` with each scalar token of `text` in order, having checked that it stands where `shape` wants one.
fn walk(
    text: &str,
    shape: &[usize],
    expected: usize,
    mut element: impl FnMut(&str) -> Result<(), Expectation>,
) -> Result<(), DataError> {
    // Arrays that are open, each with the number of its items so far.
    let mut open: Vec<usize> = Vec::with_capacity(shape.len() + 1);
    let mut nested = false;
    let mut index = 0;
    let mut rest = text;
    let nesting = |index| DataError::Nesting {
        index,
        shape: shape.to_vec(),
    };
    while let Some(first) = rest.bytes().next() {
        let token = &rest[..token_length(rest.as_bytes())];
        rest = &rest[token.len()..];
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
            b'[' => {
                if !open.is_empty() {
                    if !nested && index > 0 || open.len() >= shape.len() {
                        return Err(nesting(index));
                    }
                    nested = true;
                }
                open.push(0);
            }
            b']' => {
                let items = open.pop().unwrap_or_default();
                if nested && shape.get(open.len()) != Some(&items) {
                    return Err(nesting(index));
                }
                if let Some(outer) = open.last_mut() {
                    *outer += 1;
                }
            }
            _ if open.is_empty() && !shape.is_empty() => {
                return Err(DataError::NoArray { seen: shown(token) });
            }
            _ if nested && open.len() != shape.len() => return Err(nesting(index)),
            _ if index == expected => {
                return Err(DataError::TooMany {
                    expected,
                    shape: shape.to_vec(),
                });
            }
            _ => {
                element(token).map_err(|expectation| DataError::Element {
                    index,
                    seen: if first == b'{' {
                        "an object".into()
                    } else {
                        shown(token)
                    },
                    expected: expectation.into_owned(),
                })?;
                index += 1;
                if let Some(items) = open.last_mut() {
                    *items += 1;
                }
            }
        }
    }
    if index == expected {
        Ok(())
    } else {
        Err(DataError::TooFew {
            seen: index,
            expected,
            shape: shape.to_vec(),
        })
    }
}

/// Returns the length of the token that non-empty, valid JSON starts with; at least 1.
fn token_length(json: &[u8]) -> usize {
    match json[0] {
        b'"' => {
            let mut end = 1;
            while end < json.len() && json[end] != b'"' {
                end += if json[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(json.len())
        }
        b' ' | b'\t' | b'\n' | b'\r' | b',' | b'[' | b']' => 1,
        // Never walked past: an object is refused as an element, and everything else is a number or a word.
        b'{' => 1,
        _ => json
            .iter()
            .position(|byte| b" \t\n\r,[]{}\"".contains(byte))
            .unwrap_or(json.len()),
    }
}
