//! LinearAttention and CausalConvWithState.

use tch::{Kind, Tensor};

use crate::graph::LinearAttention;

use super::super::cause::Cause;
use super::super::ffi::scalar;
use super::args::{Kernel, signed};

/// All `test_linear_attention_…`. The state is kept in FP32, in double precision where the tensors are.
pub(super) fn linear_attention(op: LinearAttention) -> Kernel {
    Box::new(move |args| {
        let query = args.tensor(0)?;
        let kind = query.f_kind()?;
        let wide = if kind == Kind::Double {
            kind
        } else {
            Kind::Float
        };
        let (groups, shared) = (
            signed(op.heads.key_value),
            signed(op.heads.query / op.heads.key_value),
        );
        // [time, batch, heads, size], so that a step is one slice.
        let steps = |input: usize, heads: i64| -> Result<Tensor, Cause> {
            let tensor = args.tensor(input)?;
            if tensor.dim() != 3 {
                return Err(Cause::new(format!(
                    "input {input} has shape {:?}",
                    tensor.size()
                )));
            }
            let split = tensor.f_totype(wide)?.f_unflatten(2, [heads, -1])?;
            Ok(split.f_permute([1, 0, 2, 3])?)
        };
        let queries = steps(0, signed(op.heads.query))?.f_unflatten(2, [groups, shared])?;
        let (keys, values) = (steps(1, groups)?, steps(2, groups)?);
        let decays = if op.gated {
            Some(steps(4, groups)?.f_exp()?.f_unsqueeze(-1)?)
        } else {
            None
        };
        let betas = if op.delta {
            // One rate for all heads broadcasts.
            Some(
                args.tensor(5)?
                    .f_totype(wide)?
                    .f_permute([1, 0, 2])?
                    .f_unsqueeze(-1)?,
            )
        } else {
            None
        };
        let (size, value_size) = (keys.size()[3], values.size()[3]);
        let batch = keys.size()[1];
        let mut state = match args.optional(3)? {
            Some(past) => past.f_totype(wide)?,
            None => Tensor::f_zeros([batch, groups, size, value_size], (wide, tch::Device::Cpu))?,
        };
        if state.size() != [batch, groups, size, value_size] {
            return Err(Cause::new(format!(
                "past state has shape {:?}",
                state.size()
            )));
        }
        let mut results = Vec::new();
        for step in 0..keys.size()[0] {
            if let Some(decays) = &decays {
                state = state.f_mul(&decays.f_select(0, step)?)?;
            }
            // [batch, heads, 1, size]: rows, so that products of matrices do the rest.
            let key = keys.f_select(0, step)?.f_unsqueeze(2)?;
            let mut value = values.f_select(0, step)?.f_unsqueeze(2)?;
            if let Some(betas) = &betas {
                let lacking = value.f_sub(&key.f_matmul(&state)?)?;
                value = lacking.f_mul(&betas.f_select(0, step)?.f_unsqueeze(-1)?)?;
            }
            state = state.f_add(&key.f_transpose(2, 3)?.f_matmul(&value)?)?;
            results.push(queries.f_select(0, step)?.f_matmul(&state)?);
        }
        #[expect(clippy::cast_precision_loss, reason = "sizes of heads are small")]
        let scale = op
            .scale
            .map_or_else(|| 1.0 / (size as f64).sqrt(), f64::from);
        let result = if results.is_empty() {
            Tensor::f_zeros(
                [batch, 0, groups * shared * value_size],
                (wide, tch::Device::Cpu),
            )?
        } else {
            scalar::multiply(&Tensor::f_stack(&results, 1)?.f_flatten(2, 4)?, scale)?
        };
        let state_kind = args.optional(3)?.map_or(Ok(kind), Tensor::f_kind)?;
        Ok(vec![result.f_totype(kind)?, state.f_totype(state_kind)?].into())
    })
}

/// All `test_causal_conv_with_state_…`
pub(super) fn causal_conv(silu: bool) -> Kernel {
    Box::new(move |args| {
        let (x, weight) = (args.tensor(0)?, args.tensor(1)?);
        let (shape, window) = (x.size(), weight.size());
        let (&[batch, channels, length], &[_, 1, kernel]) = (shape.as_slice(), window.as_slice())
        else {
            return Err(Cause::new(format!(
                "weight {window:?} does not fit data {shape:?}"
            )));
        };
        if kernel == 0 {
            return Err(Cause::new("the kernel is empty"));
        }
        let kept = kernel - 1;
        let padded = match args.optional(3)? {
            Some(past) if past.size() == [batch, channels, kept] => Tensor::f_cat(&[past, x], 2)?,
            Some(past) => {
                return Err(Cause::new(format!(
                    "past state has shape {:?}",
                    past.size()
                )));
            }
            None => x.f_constant_pad_nd([kept, 0])?,
        };
        let mut result = padded.f_conv1d(weight, args.optional(2)?, 1, 0, 1, channels)?;
        if silu {
            result = result.f_silu_()?;
        }
        // A copy, which does not keep the padded sequence alive.
        let state = padded.f_narrow(2, length, kept)?.f_contiguous()?;
        Ok(vec![result, state].into())
    })
}
