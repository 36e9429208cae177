//! Tensors made from a few numbers.

use tch::Kind;

use crate::types::DType;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::super::ffi::scalar::{self, Number};
use super::args::{Kernel, number, signed};
use super::storage;

/// `test_range_float_type_positive_delta`, `test_range_int32_type_negative_delta`,
/// `test_range_bfloat16_type_positive_delta`, `test_range_float16_type_positive_delta`
pub(super) fn range() -> Kernel {
    Box::new(|args| {
        let kind = args.tensor(0)?.f_kind()?;
        let [start, limit, delta] = [0, 1, 2].map(|input| number(args.tensor(input)?));
        let steps = match (start?, limit?, delta?) {
            (Number::Int(start), Number::Int(limit), Number::Int(delta)) => {
                let steps = scalar::count(whole_steps(start, limit, delta)?, Kind::Int64)?;
                scalar::add(&scalar::multiply(&steps, delta)?, start)?
            }
            (start, limit, delta) => {
                let (start, limit, delta) = (start.to_f64(), limit.to_f64(), delta.to_f64());
                let steps = scalar::count(steps(start, limit, delta)?, Kind::Double)?;
                scalar::add(&scalar::multiply(&steps, delta)?, start)?
            }
        };
        Ok(steps.f_totype(kind)?.into())
    })
}

fn whole_steps(start: i64, limit: i64, delta: i64) -> Result<i64, Cause> {
    if delta == 0 {
        return Err(Cause::new("delta is 0"));
    }
    let (distance, delta) = (i128::from(limit) - i128::from(start), i128::from(delta));
    let odd = distance % delta != 0 && (distance < 0) == (delta < 0);
    let count = (distance / delta + i128::from(odd)).max(0);
    i64::try_from(count).map_err(|_| Cause::new(format!("a range of {count} elements")))
}

fn steps(start: f64, limit: f64, delta: f64) -> Result<i64, Cause> {
    let count = ((limit - start) / delta).ceil();
    if delta == 0.0 || count.is_nan() || count >= 2_f64.powi(62) {
        return Err(Cause::new(format!(
            "a range from {start} to {limit} by {delta} has no end"
        )));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an integer below 2⁶², or one far below zero, which saturates"
    )]
    let count = count as i64;
    Ok(count.max(0))
}

/// `test_eyelike_populate_off_main_diagonal`, `test_eyelike_with_dtype`, `test_eyelike_without_dtype`
pub(super) fn eye_like(dtype: DType, offset: i64) -> Result<Kernel, Cause> {
    let kind = kind_of(storage::kept_as(dtype))?;
    Ok(Box::new(move |args| {
        let [rows, columns] = *args.tensor(0)?.size() else {
            return Err(Cause::new("expected a matrix"));
        };
        let rows = scalar::count(rows, Kind::Int64)?.f_unsqueeze(1)?;
        let diagonal = scalar::add(&rows, offset)?;
        let eye = diagonal.f_eq_tensor(&scalar::count(columns, Kind::Int64)?)?;
        Ok(eye.f_totype(kind)?.into())
    }))
}

/// `test_size`, `test_size_example`
pub(super) fn size() -> Kernel {
    Box::new(|args| {
        let count = signed(args.tensor(0)?.numel());
        Ok(scalar::full(&[], count, Kind::Int64)?.into())
    })
}
