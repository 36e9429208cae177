//! UINT64, which a run keeps as INT64 of the same bits: what is not right by itself for numbers of 2⁶³ and more.

use tch::{Kind, Tensor};

use crate::graph::Binary;

use super::super::cause::Cause;
use super::super::ffi::scalar::{self, Number};
use super::args::{Args, Kernel, integers};

type Compare = fn(&Tensor, &Tensor) -> Result<Tensor, tch::TchError>;

/// Makes the kernel of an element-wise function of two tensors; `None` where that of INT64 is right.
pub(super) fn binary(function: Binary) -> Option<Kernel> {
    Some(match function {
        Binary::Div => each(|a, b| a.checked_div(b)),
        Binary::Mod { .. } => each(|a, b| a.checked_rem(b)),
        Binary::Pow => each(|base, exponent| Some(power(base, exponent))),
        Binary::ShiftRight => each(|a, b| Some(shifted(a, b))),
        Binary::PRelu => Box::new(|args| Ok(args.tensor(0)?.shallow_clone().into())),
        Binary::Less => compare(Tensor::f_lt_tensor),
        Binary::LessOrEqual => compare(Tensor::f_le_tensor),
        Binary::Greater => compare(Tensor::f_gt_tensor),
        Binary::GreaterOrEqual => compare(Tensor::f_ge_tensor),
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::Equal
        | Binary::BitwiseAnd
        | Binary::BitwiseOr
        | Binary::BitwiseXor
        | Binary::ShiftLeft => return None,
    })
}

/// Returns numbers in the order that their unsigned readings have; twice gives them back.
pub(super) fn ordered(x: &Tensor) -> Result<Tensor, Cause> {
    scalar::bitwise_xor(x, i64::MIN)
}

/// As [`ordered`], of one number.
pub(super) fn ordered_number(number: Number) -> Number {
    match number {
        Number::Int(value) => Number::Int(value ^ i64::MIN),
        Number::Float(_) => number,
    }
}

fn compare(function: Compare) -> Kernel {
    Box::new(move |args| {
        let (a, b) = (ordered(args.tensor(0)?)?, ordered(args.tensor(1)?)?);
        Ok(function(&a, &b)?.into())
    })
}

/// Makes the kernel of a function that has no value where it returns `None`: a division by zero.
fn each(function: fn(u64, u64) -> Option<u64>) -> Kernel {
    Box::new(move |args: &mut Args<'_>| {
        let pair = Tensor::f_broadcast_tensors(&[args.tensor(0)?, args.tensor(1)?])?;
        let [a, b] = pair.as_slice() else {
            return Err(Cause::new("two tensors broadcast to another number"));
        };
        let (left, right) = (integers(a)?, integers(b)?);
        let results: Option<Vec<i64>> = left
            .iter()
            .zip(&right)
            .map(|(a, b)| function(a.cast_unsigned(), b.cast_unsigned()).map(u64::cast_signed))
            .collect();
        let results = results.ok_or_else(|| Cause::new("division by zero"))?;
        Ok(Tensor::f_from_slice(&results)?.f_reshape(a.size())?.into())
    })
}

fn power(mut base: u64, mut exponent: u64) -> u64 {
    let mut product = 1_u64;
    while exponent > 0 {
        if exponent % 2 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent /= 2;
    }
    product
}

fn shifted(value: u64, by: u64) -> u64 {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    value.checked_shr(by).unwrap_or(0)
}

/// Returns the numbers in a floating-point type.
pub(super) fn to_float(x: &Tensor, kind: Kind) -> Result<Tensor, Cause> {
    // Half of a large number, its last bit kept for rounding, is a number of INT64.
    let halves = scalar::bitwise_and(&scalar::shift_right(x, 1)?, i64::MAX)?;
    let halves = halves.f_bitwise_or_tensor(&scalar::bitwise_and(x, 1)?)?;
    let large = scalar::multiply(&halves.f_totype(kind)?, 2.0)?;
    Ok(large.f_where_self(&scalar::is_below(x, 0)?, &x.f_totype(kind)?)?)
}

/// Returns the integer part of floating-point numbers.
pub(super) fn from_float(x: &Tensor) -> Result<Tensor, Cause> {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let x = x.f_totype(Kind::Double)?;
    let low = scalar::add(&x, -HALF)?.f_totype(Kind::Int64)?;
    let large = scalar::bitwise_xor(&low, i64::MIN)?;
    Ok(large.f_where_self(&scalar::is_at_least(&x, HALF)?, &x.f_totype(Kind::Int64)?)?)
}
