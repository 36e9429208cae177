//! Operators with a number beside their tensors.
//!
//! `tch` has them, but panics where one fails: its `Scalar` is dropped before the error is read, and finds it.

#![expect(
    unsafe_code,
    reason = "calls operators of torch-sys, which take pointers"
)]

use std::ffi::c_int;

use tch::Tensor;
use torch_sys::c_generated::{
    atg_add_scalar, atg_add_scalar_, atg_arange, atg_bitwise_and,
    atg_bitwise_left_shift_tensor_scalar, atg_bitwise_right_shift_tensor_scalar, atg_bitwise_xor,
    atg_clamp, atg_clamp_, atg_clamp_max, atg_clamp_max_, atg_clamp_min, atg_clamp_min_,
    atg_div_scalar, atg_eq, atg_full, atg_ge, atg_gt, atg_lt, atg_mul_scalar, atg_mul_scalar_,
    atg_ne, atg_pow_tensor_scalar, atg_rsub_scalar, atg_threshold,
};
use torch_sys::{C_scalar, C_tensor, ats_float, ats_free, ats_int};

use super::super::cause::Cause;
use super::super::dtype::number_of;
use super::bindings::checked;

/// Device number of the CPU in torch-sys.
const CPU: c_int = -1;

/// A number of the kind of an operator's elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Number {
    #[expect(
        clippy::cast_precision_loss,
        reason = "for operators that take doubles"
    )]
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// An owned `at::Scalar`.
struct Scalar(*mut C_scalar);

impl Scalar {
    fn new(number: Number) -> Result<Self, Cause> {
        let scalar = match number {
            // SAFETY: no preconditions.
            Number::Int(value) => unsafe { ats_int(value) },
            // SAFETY: no preconditions.
            Number::Float(value) => unsafe { ats_float(value) },
        };
        checked(scalar).map(Self)
    }
}

impl Drop for Scalar {
    fn drop(&mut self) {
        // SAFETY: from `ats_int` or `ats_float`, not freed before.
        unsafe { ats_free(self.0) };
    }
}

type Operator = unsafe extern "C" fn(*mut *mut C_tensor, *mut C_tensor, *mut C_scalar);

/// Calls an operator of one tensor and one number.
///
/// # Safety
/// Where `operator` writes to `x`, the caller has it by mutable reference.
unsafe fn call(operator: Operator, x: *const C_tensor, number: Number) -> Result<Tensor, Cause> {
    let scalar = Scalar::new(number)?;
    // SAFETY: the tensor and the scalar are live, `out` is a place for one new tensor.
    unsafe { result(|out| operator(out, x.cast_mut(), scalar.0)) }
}

/// Runs `body`, which is given a place for one new tensor.
///
/// # Safety
/// `body` puts nothing there but a new `at::Tensor` on the heap that nobody else frees.
unsafe fn result(body: impl FnOnce(*mut *mut C_tensor)) -> Result<Tensor, Cause> {
    let mut out = std::ptr::null_mut();
    checked(body(&raw mut out))?;
    if out.is_null() {
        return Err(Cause::new("the operator returned nothing"));
    }
    // SAFETY: by the caller's promise.
    Ok(unsafe { Tensor::from_ptr(out) })
}

macro_rules! fresh {
    ($($name:ident => $operator:ident;)*) => {$(
        pub(crate) fn $name(x: &Tensor, number: impl Into<Number>) -> Result<Tensor, Cause> {
            // SAFETY: the operator only reads `x`.
            unsafe { call($operator, x.as_ptr(), number.into()) }
        }
    )*};
}

macro_rules! in_place {
    ($($name:ident => $operator:ident;)*) => {$(
        pub(crate) fn $name(x: &mut Tensor, number: impl Into<Number>) -> Result<Tensor, Cause> {
            // SAFETY: the operator writes to `x`, which is borrowed mutably.
            unsafe { call($operator, x.as_ptr(), number.into()) }
        }
    )*};
}

fresh! {
    add => atg_add_scalar;
    multiply => atg_mul_scalar;
    divide => atg_div_scalar;
    subtract_from => atg_rsub_scalar;
    power => atg_pow_tensor_scalar;
    at_least => atg_clamp_min;
    at_most => atg_clamp_max;
    is_at_least => atg_ge;
    is_above => atg_gt;
    is_below => atg_lt;
    is => atg_eq;
    is_not => atg_ne;
    bitwise_and => atg_bitwise_and;
    bitwise_xor => atg_bitwise_xor;
    shift_left => atg_bitwise_left_shift_tensor_scalar;
    shift_right => atg_bitwise_right_shift_tensor_scalar;
}

in_place! {
    add_in_place => atg_add_scalar_;
    multiply_in_place => atg_mul_scalar_;
    at_least_in_place => atg_clamp_min_;
    at_most_in_place => atg_clamp_max_;
}

/// Limits elements to `low..=high`; where `low` is the greater, to `high`.
pub(crate) fn clamp(x: &Tensor, low: Number, high: Number) -> Result<Tensor, Cause> {
    let (low, high) = (Scalar::new(low)?, Scalar::new(high)?);
    // SAFETY: live arguments, of which `x` is only read.
    unsafe { result(|out| atg_clamp(out, x.as_ptr().cast_mut(), low.0, high.0)) }
}

/// As [`clamp`], in place.
pub(crate) fn clamp_in_place(x: &mut Tensor, low: Number, high: Number) -> Result<Tensor, Cause> {
    let (low, high) = (Scalar::new(low)?, Scalar::new(high)?);
    // SAFETY: live arguments, of which `x` is borrowed mutably.
    unsafe { result(|out| atg_clamp_(out, x.as_mut_ptr(), low.0, high.0)) }
}

/// Replaces elements up to `limit` by `other`.
pub(crate) fn threshold(x: &Tensor, limit: Number, other: Number) -> Result<Tensor, Cause> {
    let (limit, other) = (Scalar::new(limit)?, Scalar::new(other)?);
    // SAFETY: live arguments, of which `x` is only read.
    unsafe { result(|out| atg_threshold(out, x.as_ptr().cast_mut(), limit.0, other.0)) }
}

/// Makes a list of the numbers from 0 on.
pub(crate) fn count(length: i64, kind: tch::Kind) -> Result<Tensor, Cause> {
    let end = Scalar::new(Number::Int(length))?;
    let kind = c_int::from(number_of(kind)?);
    // SAFETY: a live scalar.
    unsafe { result(|out| atg_arange(out, end.0, kind, CPU)) }
}

/// Makes a tensor of one number.
pub(crate) fn full(
    shape: &[i64],
    number: impl Into<Number>,
    kind: tch::Kind,
) -> Result<Tensor, Cause> {
    let scalar = Scalar::new(number.into())?;
    let kind = c_int::from(number_of(kind)?);
    let rank = c_int::try_from(shape.len()).map_err(|error| Cause::new(error.to_string()))?;
    // SAFETY: a live scalar, and `rank` sizes that outlive the call.
    unsafe { result(|out| atg_full(out, shape.as_ptr(), rank, scalar.0, kind, CPU)) }
}
