//! Numbers written as strings.

use half::{bf16, f16};
use tch::{Kind, Tensor};

use crate::types::{self, DType};

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::args::{doubles, integers, signed};
use super::cast::{convert, round};
use super::narrow::{Format, Rounding};

/// Reads numbers in plain or scientific notation, `INF` and `NaN` in any case.
pub(super) fn read(strings: &types::Tensor, to: DType) -> Result<Tensor, Cause> {
    let shape: Vec<i64> = strings.shape().iter().map(|&size| signed(size)).collect();
    let texts = strings.byte_strings();
    let texts: Vec<&str> = texts
        .into_iter()
        .map(|bytes| std::str::from_utf8(bytes).map(str::trim))
        .collect::<Result<_, _>>()
        .map_err(|_| Cause::new("a string is not UTF-8, so it is no number"))?;
    let list = match to {
        DType::F64 | DType::F16 | DType::BF16 => {
            let values: Vec<f64> = texts
                .iter()
                .map(|text| real(text))
                .collect::<Result<_, _>>()?;
            Tensor::f_from_slice(&values)?.f_totype(kind_of(to)?)?
        }
        // Read as what they are, since rounding twice can give another number.
        DType::F32 => {
            let values: Vec<f32> = texts
                .iter()
                .map(|text| real(text))
                .collect::<Result<_, _>>()?;
            Tensor::f_from_slice(&values)?
        }
        to => match Format::of(to) {
            Some(format) => {
                let values: Vec<f64> = texts
                    .iter()
                    .map(|text| real(text))
                    .collect::<Result<_, _>>()?;
                round(&Tensor::f_from_slice(&values)?, format, Rounding::default())?
            }
            None => {
                let values: Vec<i64> = texts
                    .iter()
                    .map(|text| integer(text))
                    .collect::<Result<_, _>>()?;
                let values = Tensor::f_from_slice(&values)?;
                convert(&values, DType::I64, to, Rounding::default())?
            }
        },
    };
    Ok(list.f_reshape(shape)?)
}

fn real<F: std::str::FromStr>(text: &str) -> Result<F, Cause> {
    text.parse().map_err(|_| no_number(text))
}

/// Reads an integer; a fraction is cut off. Those of UINT64 that INT64 lacks come as the same bits.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit saturates, as ONNX leaves open"
)]
fn integer(text: &str) -> Result<i64, Cause> {
    if let Ok(value) = text.parse::<i64>() {
        return Ok(value);
    }
    if let Ok(value) = text.parse::<u64>() {
        return Ok(value.cast_signed());
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(1),
        "false" => Ok(0),
        _ => real::<f64>(text).map(|value| value as i64),
    }
}

fn no_number(text: &str) -> Cause {
    let shown: String = text.chars().take(40).collect();
    Cause::new(format!("{shown:?} is no number"))
}

/// Writes numbers as NumPy does: with as few digits as tell them apart from their neighbours.
pub(super) fn write(x: &Tensor, from: DType) -> Result<types::Tensor, Cause> {
    let texts: Vec<String> = match from {
        DType::Bool => each(x, |value| {
            if value == 0 { "False" } else { "True" }.to_owned()
        })?,
        DType::U64 => each(x, |value| value.cast_unsigned().to_string())?,
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => doubles(x)?
            .into_iter()
            .map(|value| numeral(value, from))
            .collect(),
        // FP32 has every narrow float.
        from if from.is_narrow_float() => doubles(x)?
            .into_iter()
            .map(|value| numeral(value, DType::F32))
            .collect(),
        _ => each(x, |value| value.to_string())?,
    };
    let shape = x.size().into_iter().map(usize::try_from);
    let shape = shape
        .collect::<Result<_, _>>()
        .map_err(|error| Cause::new(error.to_string()))?;
    types::Tensor::from_byte_strings(shape, &texts).map_err(|error| Cause::new(error.to_string()))
}

fn each(x: &Tensor, text: impl Fn(i64) -> String) -> Result<Vec<String>, Cause> {
    Ok(integers(&x.f_totype(Kind::Int64)?)?
        .into_iter()
        .map(text)
        .collect())
}

/// Returns the shortest numeral that reads as `value`, which is a number of `dtype`.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the value is one of the narrower type"
)]
fn numeral(value: f64, dtype: DType) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = match dtype {
        DType::F64 => format!("{value:e}"),
        DType::F32 => format!("{:e}", value as f32),
        DType::F16 => shortest(value, |near| f16::from_f64(near).to_f64()),
        _ => shortest(value, |near| bf16::from_f64(near).to_f64()),
    };
    notation(&scientific)
}

/// Returns as few digits as round to `value`.
#[expect(clippy::float_cmp, reason = "the same number of the type, exactly")]
fn shortest(value: f64, rounded: impl Fn(f64) -> f64) -> String {
    (0..8)
        .map(|digits| format!("{value:.digits$e}"))
        .find(|text| text.parse().is_ok_and(|near| rounded(near) == value))
        .unwrap_or_else(|| format!("{value:e}"))
}

/// Turns `1.5e3` into `1500.0`, and leaves the very large and small ones: `1e-05`, `1e+16`.
fn notation(scientific: &str) -> String {
    let (sign, rest) = match scientific.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", scientific),
    };
    let (mantissa, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{direction}{:02}", exponent.unsigned_abs());
    }
    let digits = mantissa.replace('.', "");
    let before = usize::try_from(exponent + 1).unwrap_or(0);
    let (whole, fraction) = if before == 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        ("0".to_owned(), zeros + &digits)
    } else if digits.len() <= before {
        (format!("{digits:0<before$}"), "0".to_owned())
    } else {
        let (whole, fraction) = digits.split_at(before);
        (whole.to_owned(), fraction.to_owned())
    };
    format!("{sign}{whole}.{fraction}")
}
