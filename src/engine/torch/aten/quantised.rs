//! Between numbers and their quantised form.

use tch::{Kind, Tensor};

use crate::graph::Scaling;
use crate::types::DType;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::{self, Number};
use super::args::{Kernel, Outputs, axis_of, signed};
use super::cast::round;
use super::context::NodeContext;
use super::narrow::{Format, Rounding};
use super::storage;

/// `test_quantizelinear…`
pub(super) fn quantize(
    context: &NodeContext<'_>,
    scaling: Scaling,
    saturate: bool,
    precision: Option<DType>,
) -> Result<Kernel, Cause> {
    let target = Target::of(context.output_dtype(0), saturate)?;
    let precision = match precision.or(context.input_dtype(1)) {
        Some(dtype) if dtype.is_float() => kind_of(dtype)?,
        _ => Kind::Float,
    };
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let scale = laid(args.tensor(1)?, x, scaling)?.f_totype(precision)?;
        let zero_point = args.optional(2)?;
        let zero_point = zero_point.map(|zero| laid(zero, x, scaling)).transpose()?;
        let quotient = x.f_totype(precision)?.f_div(&scale)?;
        Ok(target.quantised(quotient, zero_point.as_ref())?.into())
    }))
}

/// `test_dequantizelinear…`
pub(super) fn dequantize(context: &NodeContext<'_>, scaling: Scaling) -> Result<Kernel, Cause> {
    let to = context
        .output_dtype(0)
        .ok_or_else(|| Cause::new("the datatype of the result is unknown"))?;
    let to = kind_of(storage::kept_as(to))?;
    let precision = widest(to);
    Ok(Box::new(move |args| {
        let x = args.tensor(0)?;
        let scale = laid(args.tensor(1)?, x, scaling)?.f_totype(precision)?;
        let numbers = x.f_totype(precision)?;
        let result = match args.optional(2)? {
            Some(zero) => {
                let zero = laid(zero, x, scaling)?.f_totype(precision)?;
                numbers.f_sub(&zero)?.f_mul_(&scale)?
            }
            None => numbers.f_mul(&scale)?,
        };
        Ok(result.f_totype(to)?.into())
    }))
}

/// `test_dynamicquantizelinear`, `test_dynamicquantizelinear_max_adjusted`, `test_dynamicquantizelinear_min_adjusted`
pub(super) fn dynamic_quantize() -> Kernel {
    const LARGEST: f32 = 255.0;
    Box::new(|args| {
        let x = args.tensor(0)?;
        let kind = x.f_kind()?;
        let (mut low, mut high) = (0.0_f32, 0.0_f32);
        if x.numel() > 0 {
            let (least, most) = x.f_totype(Kind::Float)?.f_aminmax(None, false)?;
            #[expect(clippy::cast_possible_truncation, reason = "elements of FP32")]
            {
                low = low.min(least.f_double_value(&[])? as f32);
                high = high.max(most.f_double_value(&[])? as f32);
            }
        }
        let scale = if high > low {
            (high - low) / LARGEST
        } else {
            1.0
        };
        let zero_point = (-low / scale).clamp(0.0, LARGEST).round_ties_even();
        let scale_of = |kind| scalar::full(&[], f64::from(scale), kind);
        let zero_of = |kind| scalar::full(&[], f64::from(zero_point), kind);
        let target = Target::of(Some(DType::U8), true)?;
        let quotient = x.f_totype(Kind::Float)?.f_div(&scale_of(Kind::Float)?)?;
        let quantised = target.quantised(quotient, Some(&zero_of(Kind::Float)?))?;
        Ok(Outputs::from(vec![
            quantised,
            scale_of(kind)?,
            zero_of(Kind::Uint8)?,
        ]))
    })
}

/// What quotients of numbers and scales become.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Integer { kind: Kind, range: (f64, f64) },
    Float { format: Format, rounding: Rounding },
}

impl Target {
    pub(super) fn of(dtype: Option<DType>, saturate: bool) -> Result<Self, Cause> {
        let dtype = dtype.ok_or_else(|| Cause::new("the datatype of the result is unknown"))?;
        if let Some(format) = Format::of(dtype) {
            let rounding = Rounding {
                saturate,
                ..Rounding::default()
            };
            return Ok(Self::Float { format, rounding });
        }
        let range = match dtype {
            DType::U2 => (0.0, 3.0),
            DType::I2 => (-2.0, 1.0),
            DType::U4 => (0.0, 15.0),
            DType::I4 => (-8.0, 7.0),
            DType::U8 => (0.0, 255.0),
            DType::I8 => (-128.0, 127.0),
            DType::U16 => (0.0, 65535.0),
            DType::I16 => (-32768.0, 32767.0),
            _ => return Err(Cause::new(format!("{dtype} is no type to quantise to"))),
        };
        let kind = kind_of(storage::kept_as(dtype))?;
        Ok(Self::Integer { kind, range })
    }

    /// Rounds quotients, moves them by the zero point and limits them. `quotient` is nobody else's.
    pub(super) fn quantised(
        self,
        quotient: Tensor,
        zero_point: Option<&Tensor>,
    ) -> Result<Tensor, Cause> {
        let wide = widest(quotient.f_kind()?);
        let zero_point = zero_point.map(|zero| zero.f_totype(wide)).transpose()?;
        let mut result = quotient.f_totype(wide)?;
        drop(quotient);
        match self {
            Self::Integer { kind, range } => {
                result = result.f_round_()?;
                if let Some(zero) = zero_point {
                    result = result.f_add_(&zero)?;
                }
                let (low, high) = (Number::Float(range.0), Number::Float(range.1));
                Ok(scalar::clamp_in_place(&mut result, low, high)?.f_totype(kind)?)
            }
            Self::Float { format, rounding } => {
                if let Some(zero) = zero_point {
                    result = result.f_add_(&zero)?;
                }
                round(&result, format, rounding)
            }
        }
    }
}

/// Returns the type in which sums of numbers of `kind` and zero points are right.
fn widest(kind: Kind) -> Kind {
    match kind {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    }
}

/// Lays a scale or zero point against data, so that it broadcasts.
fn laid(parameter: &Tensor, x: &Tensor, scaling: Scaling) -> Result<Tensor, Cause> {
    let (shape, own) = (x.size(), parameter.size());
    if parameter.numel() == 1 && own.len() <= 1 {
        return Ok(parameter.f_reshape(&[] as &[i64])?);
    }
    let axis = axis_of(scaling.axis, shape.len())?;
    if scaling.block == 0 && own == [shape[axis]] {
        let mut along = vec![1; shape.len()];
        along[axis] = shape[axis];
        return Ok(parameter.f_reshape(along)?);
    }
    let block = i64::try_from(scaling.block).unwrap_or(i64::MAX);
    let mut blocks = shape.clone();
    if block > 0 {
        blocks[axis] = (shape[axis] - 1).div_euclid(block) + 1;
    }
    if block == 0 || own != blocks {
        return Err(Cause::new(format!(
            "a scale or zero point of shape {own:?} does not fit data {shape:?} along axis {axis} in blocks of {block}"
        )));
    }
    let places = scalar::count(shape[axis], Kind::Int64)?;
    let places = places.f_div_tensor_mode(&scalar::full(&[], block, Kind::Int64)?, "floor")?;
    Ok(parameter.f_index_select(signed(axis), &beside(&places, parameter)?)?)
}
