//! Quotients and remainders.

use tch::{Kind, Tensor};

use super::super::cause::Cause;
use super::super::ffi::scalar;
use super::args::{Args, Kernel, Outputs, is_integer};
use super::elementwise::take_left;

/// `test_div`, `test_div_bcast`, `test_div_example`, and the types: integers truncate towards zero
pub(super) fn quotient() -> Kernel {
    Box::new(|args| {
        if is_integer(args.tensor(0)?)? {
            let (a, b) = without_minus_one(args.tensor(0)?, args.tensor(1)?)?;
            return Ok(a.f_div_tensor_mode(&b, "trunc")?.into());
        }
        true_quotient(args)
    })
}

fn true_quotient(args: &mut Args<'_>) -> Result<Outputs, Cause> {
    match take_left(args)? {
        Some(mut a) => Ok(a.f_div_(args.tensor(1)?)?.into()),
        None => Ok(args.tensor(0)?.f_div(args.tensor(1)?)?.into()),
    }
}

/// `test_mod_broadcast`, `test_mod_int64_fmod`, `test_mod_mixed_sign_…`, `test_mod_uint…`
pub(super) fn remainder(truncated: bool) -> Kernel {
    Box::new(move |args| {
        let (a, b) = without_minus_one(args.tensor(0)?, args.tensor(1)?)?;
        let rest = if truncated {
            a.f_fmod_tensor(&b)?
        } else {
            a.f_remainder_tensor(&b)?
        };
        Ok(rest.into())
    })
}

/// Returns a fraction of the same value whose divisors are not −1: the least integer divided by that traps.
fn without_minus_one(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor), Cause> {
    if matches!(b.f_kind()?, Kind::Int | Kind::Int64) {
        let odd = scalar::is(b, -1)?;
        if odd.f_any()?.f_int64_value(&[])? != 0 {
            let dividend = a.f_neg()?.f_where_self(&odd, a)?;
            return Ok((dividend, b.f_neg()?.f_where_self(&odd, b)?));
        }
    }
    Ok((a.shallow_clone(), b.shallow_clone()))
}
