//! Conversions between element types.

use tch::{Kind, Tensor};

use crate::graph::Narrowing;
use crate::types::{self, DType};

use super::super::cause::Cause;
use super::super::dtype::{dtype_of, kind_of};
use super::args::{Kernel, doubles};
use super::context::NodeContext;
use super::datum::Datum;
use super::narrow::{Format, Rounding};
use super::{numerals, storage, unsigned};

/// `test_cast_…`, `test_castlike_…`
pub(super) fn cast(context: &NodeContext<'_>, to: DType) -> Kernel {
    conversion(context, to, Rounding::default())
}

/// `test_cast_no_saturate_…`, `test_castlike_no_saturate_…`
pub(super) fn narrow(context: &NodeContext<'_>, narrowing: Narrowing) -> Kernel {
    let rounding = Rounding {
        saturate: narrowing.saturate,
        mode: narrowing.round,
    };
    conversion(context, narrowing.to, rounding)
}

fn conversion(context: &NodeContext<'_>, to: DType, rounding: Rounding) -> Kernel {
    let declared = context.input_dtype(0);
    Box::new(move |args| {
        let x = match args.datum(0)? {
            Datum::Strings(strings) if to == DType::Bytes => {
                return Ok(Datum::Strings(strings.clone()).into());
            }
            Datum::Strings(strings) => return Ok(numerals::read(strings, to)?.into()),
            datum => datum.tensor()?,
        };
        let from = known_dtype(declared, x)?;
        if to == DType::Bytes {
            return Ok(Datum::Strings(numerals::write(x, from)?).into());
        }
        Ok(convert(x, from, to, rounding)?.into())
    })
}

/// Returns the dtype that the model gives a tensor; where it gives none, that of its elements.
fn known_dtype(declared: Option<DType>, x: &Tensor) -> Result<DType, Cause> {
    let kind = x.f_kind()?;
    declared
        .or_else(|| dtype_of(kind))
        .ok_or_else(|| Cause::new(format!("type {kind:?} is not supported")))
}

/// Converts numbers of a dtype to another, both in the types that a run keeps them in.
pub(super) fn convert(
    x: &Tensor,
    from: DType,
    to: DType,
    rounding: Rounding,
) -> Result<Tensor, Cause> {
    if from == to {
        return Ok(x.shallow_clone());
    }
    let is_real = from.is_float() || from.is_narrow_float();
    if let Some(format) = Format::of(to) {
        return match from {
            DType::U64 => round(&unsigned::to_float(x, Kind::Double)?, format, rounding),
            _ => round(x, format, rounding),
        };
    }
    let kind = kind_of(storage::kept_as(to))?;
    match (from, to) {
        (DType::U64, _) if to.is_float() => unsigned::to_float(x, kind),
        (_, DType::U64) if is_real => unsigned::from_float(x),
        // Through a type that holds the integer part, of which the low bits are taken.
        _ if is_real && !storage::is_native(to) => {
            storage::wrap(x.f_totype(Kind::Int64)?.f_totype(kind)?, to)
        }
        _ => storage::wrap(x.f_totype(kind)?, to),
    }
}

/// Rounds numbers to those of a narrow float.
pub(super) fn round(x: &Tensor, format: Format, rounding: Rounding) -> Result<Tensor, Cause> {
    let numbers = format.table();
    let rounded: Vec<f32> = doubles(x)?
        .into_iter()
        .map(|value| numbers[usize::from(format.encode(value, rounding))])
        .collect();
    Ok(Tensor::f_from_slice(&rounded)?.f_reshape(x.size())?)
}

/// `test_bitcast_…`
pub(super) fn bit_cast(context: &NodeContext<'_>, to: DType) -> Kernel {
    let declared = context.input_dtype(0);
    Box::new(move |args| {
        let from = known_dtype(declared, args.tensor(0)?)?;
        let plain = args.datum(0)?.export(from)?;
        let bytes = recoded(plain.bytes(), to);
        let tensor = types::Tensor::copy_of(to, plain.shape().to_vec(), &bytes);
        let tensor = tensor.map_err(|error| Cause::new(error.to_string()))?;
        Ok(Datum::import(&tensor)?.into())
    })
}

/// Returns elements as this program writes those of `to`: what does not fill a byte is extended to one.
fn recoded(bytes: &[u8], to: DType) -> Vec<u8> {
    let unused = 8 - to.bits().unwrap_or(8).min(8);
    bytes
        .iter()
        .map(|&byte| match to {
            DType::Bool => u8::from(byte != 0),
            DType::I2 | DType::I4 => ((byte << unused).cast_signed() >> unused).cast_unsigned(),
            _ => byte << unused >> unused,
        })
        .collect()
}
