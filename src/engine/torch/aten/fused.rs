//! Operators that passes make of several. What is added to a result or applied to it is, here, done in its own memory.

use tch::{Kind, Tensor};

use crate::graph::{Activation, FusedConv, ScaledDotProduct};

use super::super::cause::Cause;
use super::super::ffi::scalar::{
    Number, at_least_in_place, at_most_in_place, clamp_in_place, full, multiply,
};
use super::activation::{hard_sigmoid, leaky_relu, swish};
use super::args::Kernel;
use super::convolution::convolve;
use super::elementwise::holds_result;

/// No backend tests: no model names the operator. The same of the others here.
pub(super) fn conv(op: &FusedConv) -> Kernel {
    let op = op.clone();
    Box::new(move |args| {
        let mut result = convolve(&op.conv, args)?;
        if let Some(addend) = args.optional(3)? {
            result = if holds_result(&result, addend)? {
                result.f_add_(addend)?
            } else {
                result.f_add(addend)?
            };
        }
        Ok(activate(op.activation, result)?.into())
    })
}

pub(super) fn linear(activation: Option<Activation>) -> Kernel {
    Box::new(move |args| {
        let (x, weight) = (args.tensor(0)?, args.tensor(1)?);
        let result = x.f_linear(&weight.f_transpose(0, 1)?, args.optional(2)?)?;
        Ok(activate(activation, result)?.into())
    })
}

pub(super) fn attention(op: ScaledDotProduct) -> Kernel {
    Box::new(move |args| {
        let (q, k, v) = (args.tensor(0)?, args.tensor(1)?, args.tensor(2)?);
        let mask = args.optional(3)?;
        if !is_uniform(q, k, v, mask) {
            return Ok(spelled_out(op, [q, k, v], mask)?.into());
        }
        let attended =
            Tensor::f_scaled_dot_product_attention(q, k, v, mask, 0.0, op.causal, op.scale, false)?;
        Ok(attended.into())
    })
}

/// Tells whether nothing has to be broadcast but the mask, to which libtorch's kernel is limited.
fn is_uniform(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> bool {
    let [q, k, v] = [q, k, v].map(Tensor::size);
    let ([batch @ .., rows, _], [k_batch @ .., columns, _], [v_batch @ .., _, _]) =
        (q.as_slice(), k.as_slice(), v.as_slice())
    else {
        return false;
    };
    let scores = [batch, &[*rows, *columns]].concat();
    let fits = |mask: &Tensor| {
        let mask = mask.size();
        let aligned = mask.iter().rev().zip(scores.iter().rev());
        (2..=scores.len()).contains(&mask.len())
            && aligned
                .into_iter()
                .all(|(&own, &size)| own == size || own == 1)
    };
    batch == k_batch && batch == v_batch && mask.is_none_or(fits)
}

fn spelled_out(
    op: ScaledDotProduct,
    [q, k, v]: [&Tensor; 3],
    mask: Option<&Tensor>,
) -> Result<Tensor, Cause> {
    let mut scores = multiply(&q.f_matmul(&k.f_transpose(-2, -1)?)?, op.scale)?;
    let hidden = full(&[], f64::NEG_INFINITY, scores.f_kind()?)?;
    if op.causal {
        let sizes = scores.size();
        let seen = Tensor::f_ones(&sizes[sizes.len() - 2..], (Kind::Bool, scores.device()))?;
        scores = scores.f_where_self(&seen.f_tril(0)?, &hidden)?;
    }
    scores = match mask {
        Some(seen) if seen.f_kind()? == Kind::Bool => scores.f_where_self(seen, &hidden)?,
        Some(added) => scores.f_add(added)?,
        None => scores,
    };
    Ok(scores.f_internal_safe_softmax(-1, None)?.f_matmul(v)?)
}

/// Applies an activation to memory that nobody else sees.
pub(super) fn activate(activation: Option<Activation>, mut x: Tensor) -> Result<Tensor, Cause> {
    let Some(activation) = activation else {
        return Ok(x);
    };
    Ok(match activation {
        Activation::Relu => x.f_relu_()?,
        Activation::Clip { min, max } => match (min.is_finite(), max.is_finite()) {
            (true, false) => at_least_in_place(&mut x, min)?,
            (false, true) => at_most_in_place(&mut x, max)?,
            _ => clamp_in_place(&mut x, Number::Float(min), Number::Float(max))?,
        },
        Activation::HardSwish => x.f_hardswish_()?,
        Activation::HardSigmoid { alpha, beta } => {
            hard_sigmoid(&x, f64::from(alpha), f64::from(beta))?
        }
        Activation::Sigmoid => x.f_sigmoid_()?,
        Activation::Tanh => x.f_tanh_()?,
        Activation::Swish { alpha: 1.0 } => x.f_silu_()?,
        Activation::Swish { alpha } => swish(&x, f64::from(alpha))?,
        Activation::Gelu { tanh } => x.f_gelu_(if tanh { "tanh" } else { "none" })?,
        Activation::LeakyRelu { alpha } => leaky_relu(&x, f64::from(alpha))?,
    })
}
