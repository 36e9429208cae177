//! Activations with parameters.

use tch::Tensor;

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::{self, Number};

/// `gamma · x` above zero, `gamma · alpha · (exp(rate · x) − 1)` below.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exponential {
    pub(super) alpha: f32,
    pub(super) rate: f32,
    pub(super) gamma: f32,
}

#[expect(
    clippy::float_cmp,
    reason = "factors of exactly one need no multiplication, and libtorch has kernels for the defaults"
)]
impl Exponential {
    const SELU: Self = Self {
        alpha: 1.673_263_2,
        rate: 1.0,
        gamma: 1.050_701,
    };

    /// `test_elu…`, `test_selu…`, `test_celu`
    pub(super) fn of(&self, x: &Tensor) -> Result<Tensor, Cause> {
        let Self { alpha, rate, gamma } = *self;
        if (alpha, rate, gamma) == (1.0, 1.0, 1.0) {
            return Ok(x.f_elu()?);
        }
        if (alpha, rate, gamma) == (Self::SELU.alpha, Self::SELU.rate, Self::SELU.gamma) {
            return Ok(x.f_selu()?);
        }
        let mut negative = scalar::at_most(x, 0.0)?;
        if rate != 1.0 {
            negative = scalar::multiply_in_place(&mut negative, f64::from(rate))?;
        }
        negative = negative.f_expm1_()?;
        negative = scalar::multiply_in_place(&mut negative, f64::from(alpha))?;
        let mut y = x.f_where_self(&scalar::is_above(x, 0.0)?, &negative)?;
        if gamma != 1.0 {
            y = scalar::multiply_in_place(&mut y, f64::from(gamma))?;
        }
        Ok(y)
    }
}

/// `test_leakyrelu…`
pub(super) fn leaky_relu(x: &Tensor, alpha: f64) -> Result<Tensor, Cause> {
    Ok(x.f_prelu(&beside(&scalar::full(&[1], alpha, x.f_kind()?)?, x)?)?)
}

/// `test_hardsigmoid…`
pub(super) fn hard_sigmoid(x: &Tensor, alpha: f64, beta: f64) -> Result<Tensor, Cause> {
    let mut y = scalar::multiply(x, alpha)?;
    let mut y = scalar::add_in_place(&mut y, beta)?;
    scalar::clamp_in_place(&mut y, Number::Float(0.0), Number::Float(1.0))
}

/// `test_shrink_hard`, `test_shrink_soft`; integers are moved as floating-point numbers and truncated.
pub(super) fn shrink(x: &Tensor, bias: f64, lambda: f64) -> Result<Tensor, Cause> {
    let kind = x.f_kind()?;
    let wide = if super::args::is_integer(x)? {
        x.f_totype(tch::Kind::Double)?
    } else {
        x.shallow_clone()
    };
    let middle = wide.f_zeros_like()?;
    let lower =
        scalar::add(&wide, bias)?.f_where_self(&scalar::is_below(&wide, -lambda)?, &middle)?;
    let shrunk =
        scalar::add(&wide, -bias)?.f_where_self(&scalar::is_above(&wide, lambda)?, &lower)?;
    Ok(shrunk.f_totype(kind)?)
}

/// `test_thresholdedrelu…`
pub(super) fn thresholded_relu(x: &Tensor, alpha: f64) -> Result<Tensor, Cause> {
    scalar::threshold(x, Number::Float(alpha), Number::Float(0.0))
}

/// For any factor; libtorch has a kernel for that of 1, which is faster.
pub(super) fn swish(x: &Tensor, alpha: f64) -> Result<Tensor, Cause> {
    let mut gate = scalar::multiply(x, alpha)?.f_sigmoid_()?;
    Ok(gate.f_mul_(x)?)
}

/// `test_isinf`, `test_isinf_float16`, `test_isinf_negative`, `test_isinf_positive`
pub(super) fn is_inf(x: &Tensor, negative: bool, positive: bool) -> Result<Tensor, Cause> {
    Ok(match (negative, positive) {
        (true, true) => x.f_isinf()?,
        (true, false) => x.f_isneginf()?,
        (false, true) => x.f_isposinf()?,
        (false, false) => x.f_zeros_like()?.f_totype(tch::Kind::Bool)?,
    })
}
