//! Dropout, which does something in training only.

use tch::{Kind, Tensor};

use super::super::cause::Cause;
use super::super::ffi::cuda::beside;
use super::super::ffi::scalar::{self, Number};
use super::args::{Args, Kernel, number};
use super::mersenne::Mersenne;

/// `test_dropout_default_mask`, `test_dropout_default_mask_ratio`, `test_training_dropout`,
/// `test_training_dropout_default`, `test_training_dropout_zero_ratio`, and the same with `_mask`
///
/// A seed gives the same elements in every run.
pub(super) fn dropout(seed: Option<i64>) -> Kernel {
    Box::new(move |args| {
        let x = args.tensor(0)?;
        let training = given(args, 2)?.is_some_and(|mode| mode != 0.0);
        let ratio = given(args, 1)?.unwrap_or(0.5);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(Cause::new(format!("ratio {ratio} is not from 0 to 1")));
        }
        if !training || ratio == 0.0 {
            let mask = Tensor::f_ones(x.size(), (Kind::Bool, x.device()))?;
            return Ok(vec![x.shallow_clone(), mask].into());
        }
        let mut random = Mersenne::with_seed(match seed {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "seeds of the generator have 32 bits"
            )]
            Some(seed) => seed as u32,
            None => fastrand::u32(..),
        });
        let mask: Vec<bool> = (0..x.numel()).map(|_| random.uniform() >= ratio).collect();
        let mask = beside(&Tensor::f_from_slice(&mask)?.f_reshape(x.size())?, x)?;
        let factor = if ratio < 1.0 {
            (1.0 - ratio).recip()
        } else {
            0.0
        };
        let result = scalar::multiply(&x.f_mul(&mask)?, factor)?;
        Ok(vec![result, mask].into())
    })
}

fn given(args: &Args<'_>, input: usize) -> Result<Option<f64>, Cause> {
    let value = args.optional(input)?.map(number).transpose()?;
    Ok(value.map(Number::to_f64))
}
