//! Functions of single elements: unary, binary, variadic, clip, where.

use tch::{Kind, TchError, Tensor};

use crate::graph::{Binary, Reduce, Unary};

use super::super::cause::Cause;
use super::super::ffi::scalar::{self, Number};
use super::args::{Args, Kernel, Outputs, is_integer, number, signed};
use super::context::NodeContext;

type Fresh = fn(&Tensor) -> Result<Tensor, TchError>;
type InPlace = fn(&mut Tensor) -> Result<Tensor, TchError>;
type Pairwise = fn(&Tensor, &Tensor) -> Result<Tensor, TchError>;
type PairwiseInPlace = fn(&mut Tensor, &Tensor) -> Result<Tensor, TchError>;

/// Element-wise functions of one tensor, with these backend tests:
/// - `test_relu`, `test_sigmoid`, `test_tanh`, `test_exp`, `test_log`, `test_sqrt`, `test_reciprocal`, `test_neg`,
///   `test_abs`, `test_floor`, `test_ceil`, `test_round`, `test_sign`, `test_erf`, `test_softplus`, `test_softsign`,
///   `test_hardswish`, `test_mish`, each with its `_example` where there is one; `test_not_2d` to `test_not_4d`
/// - `test_hardsigmoid`, `test_hardsigmoid_default`, `test_leakyrelu`, `test_leakyrelu_default`, `test_elu`,
///   `test_elu_default`, `test_gelu_default_1`, `test_gelu_tanh_1`
pub(super) fn unary(function: Unary) -> Kernel {
    match function {
        Unary::Relu => either(Tensor::f_relu, Tensor::f_relu_),
        Unary::Sigmoid => either(Tensor::f_sigmoid, Tensor::f_sigmoid_),
        Unary::Tanh => either(Tensor::f_tanh, Tensor::f_tanh_),
        Unary::Exp => either(Tensor::f_exp, Tensor::f_exp_),
        Unary::Log => either(Tensor::f_log, Tensor::f_log_),
        Unary::Sqrt => either(Tensor::f_sqrt, Tensor::f_sqrt_),
        Unary::Reciprocal => either(Tensor::f_reciprocal, Tensor::f_reciprocal_),
        Unary::Neg => either(Tensor::f_neg, Tensor::f_neg_),
        Unary::Abs => either(Tensor::f_abs, Tensor::f_abs_),
        Unary::Floor => either(Tensor::f_floor, Tensor::f_floor_),
        Unary::Ceil => either(Tensor::f_ceil, Tensor::f_ceil_),
        Unary::Round => either(Tensor::f_round, Tensor::f_round_),
        Unary::Sign => either(Tensor::f_sign, Tensor::f_sign_),
        Unary::Erf => either(Tensor::f_erf, Tensor::f_erf_),
        Unary::HardSwish => either(Tensor::f_hardswish, Tensor::f_hardswish_),
        Unary::Mish => either(Tensor::f_mish, Tensor::f_mish_),
        Unary::Softplus => computed(|x| Ok(x.f_softplus()?)),
        Unary::Not => computed(|x| Ok(x.f_logical_not()?)),
        Unary::Softsign => computed(|x| Ok(x.f_div(&scalar::add_in_place(&mut x.f_abs()?, 1)?)?)),
        Unary::Gelu { tanh } => {
            computed(move |x| Ok(x.f_gelu(if tanh { "tanh" } else { "none" })?))
        }
        Unary::LeakyRelu { alpha } => computed(move |x| leaky_relu(x, f64::from(alpha))),
        Unary::Elu { alpha } => computed(move |x| elu(x, f64::from(alpha))),
        Unary::HardSigmoid { alpha, beta } => computed(move |x| {
            let mut y = scalar::multiply(x, f64::from(alpha))?;
            let mut y = scalar::add_in_place(&mut y, f64::from(beta))?;
            scalar::clamp_in_place(&mut y, Number::Float(0.0), Number::Float(1.0))
        }),
    }
}

/// Runs in place where the input may be written to.
fn either(fresh: Fresh, in_place: InPlace) -> Kernel {
    Box::new(move |args| {
        let result = match args.take(0) {
            Some(mut x) => in_place(&mut x)?,
            None => fresh(args.tensor(0)?)?,
        };
        Ok(result.into())
    })
}

fn computed(function: impl Fn(&Tensor) -> Result<Tensor, Cause> + Send + Sync + 'static) -> Kernel {
    Box::new(move |args| Ok(function(args.tensor(0)?)?.into()))
}

fn leaky_relu(x: &Tensor, alpha: f64) -> Result<Tensor, Cause> {
    Ok(x.f_prelu(&scalar::full(&[1], alpha, x.f_kind()?)?)?)
}

#[expect(
    clippy::float_cmp,
    reason = "the default of both ONNX and libtorch, exactly"
)]
fn elu(x: &Tensor, alpha: f64) -> Result<Tensor, Cause> {
    if alpha == 1.0 {
        return Ok(x.f_elu()?);
    }
    let mut negative = scalar::at_most(x, 0.0)?.f_expm1()?;
    let negative = scalar::multiply_in_place(&mut negative, alpha)?;
    Ok(x.f_where_self(&scalar::is_above(x, 0.0)?, &negative)?)
}

/// Element-wise functions of two tensors, with these backend tests, each with its `_bcast` and type variants:
/// `test_add`, `test_sub`, `test_mul`, `test_div`, `test_pow`, `test_prelu_example`, `test_prelu_broadcast`,
/// `test_and2d` to `test_and4d`, `test_or2d` …, `test_xor2d` …, `test_equal`, `test_less`, `test_less_equal`,
/// `test_greater`, `test_greater_equal`
pub(super) fn binary(function: Binary) -> Kernel {
    match function {
        Binary::Add => commutative(Tensor::f_add, Tensor::f_add_),
        Binary::Mul => commutative(Tensor::f_mul, Tensor::f_mul_),
        Binary::Sub => Box::new(|args| match take_left(args)? {
            Some(mut a) => Ok(a.f_sub_(args.tensor(1)?)?.into()),
            None => Ok(args.tensor(0)?.f_sub(args.tensor(1)?)?.into()),
        }),
        Binary::Div => Box::new(divide),
        Binary::Pow => pair(power),
        Binary::PRelu => {
            pair(|x, slope| Ok(x.f_where_self(&scalar::is_at_least(x, 0)?, &x.f_mul(slope)?)?))
        }
        Binary::And => simple_pair(Tensor::f_logical_and),
        Binary::Or => simple_pair(Tensor::f_logical_or),
        Binary::Xor => simple_pair(Tensor::f_logical_xor),
        Binary::Equal => simple_pair(Tensor::f_eq_tensor),
        Binary::Less => simple_pair(Tensor::f_lt_tensor),
        Binary::LessOrEqual => simple_pair(Tensor::f_le_tensor),
        Binary::Greater => simple_pair(Tensor::f_gt_tensor),
        Binary::GreaterOrEqual => simple_pair(Tensor::f_ge_tensor),
    }
}

fn simple_pair(function: Pairwise) -> Kernel {
    pair(move |a, b| Ok(function(a, b)?))
}

fn pair(
    function: impl Fn(&Tensor, &Tensor) -> Result<Tensor, Cause> + Send + Sync + 'static,
) -> Kernel {
    Box::new(move |args| Ok(function(args.tensor(0)?, args.tensor(1)?)?.into()))
}

fn commutative(fresh: Pairwise, in_place: PairwiseInPlace) -> Kernel {
    Box::new(move |args| {
        if let Some(mut a) = take_left(args)? {
            return Ok(in_place(&mut a, args.tensor(1)?)?.into());
        }
        if holds_result(args.tensor(1)?, args.tensor(0)?)?
            && let Some(mut b) = args.take(1)
        {
            return Ok(in_place(&mut b, args.tensor(0)?)?.into());
        }
        Ok(fresh(args.tensor(0)?, args.tensor(1)?)?.into())
    })
}

/// Takes the left operand where it may be written to and has the result's shape and type.
fn take_left(args: &mut Args<'_>) -> Result<Option<Tensor>, Cause> {
    let fits = holds_result(args.tensor(0)?, args.tensor(1)?)?;
    Ok(if fits { args.take(0) } else { None })
}

/// Tells whether `a` has the type and shape of `a ∘ b`.
fn holds_result(a: &Tensor, b: &Tensor) -> Result<bool, Cause> {
    if a.f_kind()? != b.f_kind()? {
        return Ok(false);
    }
    let (a, b) = (a.size(), b.size());
    let aligned = a.iter().rev().zip(b.iter().rev());
    Ok(b.len() <= a.len() && aligned.into_iter().all(|(&a, &b)| a == b || b == 1))
}

fn divide(args: &mut Args<'_>) -> Result<Outputs, Cause> {
    if is_integer(args.tensor(0)?)? {
        return Ok(args
            .tensor(0)?
            .f_div_tensor_mode(args.tensor(1)?, "trunc")?
            .into());
    }
    match take_left(args)? {
        Some(mut a) => Ok(a.f_div_(args.tensor(1)?)?.into()),
        None => Ok(args.tensor(0)?.f_div(args.tensor(1)?)?.into()),
    }
}

/// The result has the type of the base, whatever that of the exponent.
fn power(base: &Tensor, exponent: &Tensor) -> Result<Tensor, Cause> {
    let kind = base.f_kind()?;
    if kind == exponent.f_kind()? {
        return Ok(base.f_pow(exponent)?);
    }
    if is_integer(base)? && !is_integer(exponent)? {
        let precise = base
            .f_totype(Kind::Double)?
            .f_pow(&exponent.f_totype(Kind::Double)?)?;
        return Ok(precise.f_totype(kind)?);
    }
    Ok(base.f_pow(&exponent.f_totype(kind)?)?)
}

/// Element-wise `Sum`, `Max`, `Min`, `Mean` of any number of tensors: `test_sum_example`, `test_sum_one_input`,
/// `test_sum_two_inputs`, and the same of `test_max_…` (also per type), `test_min_…`, `test_mean_…`
pub(super) fn variadic(context: &NodeContext<'_>, kind: Reduce) -> Result<Kernel, Cause> {
    let step: Pairwise = match kind {
        Reduce::Sum | Reduce::Mean => Tensor::f_add,
        Reduce::Max => Tensor::f_maximum,
        Reduce::Min => Tensor::f_minimum,
        Reduce::Prod | Reduce::L1 | Reduce::L2 => {
            return Err(Cause::new(format!(
                "{kind:?} of several tensors is not an ONNX operator"
            )));
        }
    };
    if context.inputs() == 0 {
        return Err(Cause::new("no inputs"));
    }
    Ok(Box::new(move |args| {
        let tensors = args.tensors()?;
        let mut total = tensors[0].shallow_clone();
        for tensor in &tensors[1..] {
            total = step(&total, tensor)?;
        }
        if kind == Reduce::Mean {
            total = scalar::divide(&total, signed(tensors.len()))?;
        }
        Ok(total.into())
    }))
}

/// `test_clip`, `test_clip_example`, `test_clip_inbounds`, `test_clip_outbounds`, `test_clip_splitbounds`,
/// `test_clip_min_greater_than_max`, `test_clip_default_min`, `_max`, `_inbounds`, and the `int8` ones
pub(super) fn clip(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let constant = [context.number(1)?, context.number(2)?];
    let given = [context.has_input(1), context.has_input(2)];
    Ok(Box::new(move |args| {
        let bound = |index: usize| match constant[index] {
            None if given[index] => number(args.tensor(index + 1)?).map(Some),
            known => Ok::<_, Cause>(known),
        };
        let bounds = (bound(0)?, bound(1)?);
        let result = match args.take(0) {
            Some(mut x) => match bounds {
                (Some(min), Some(max)) => scalar::clamp_in_place(&mut x, min, max)?,
                (Some(min), None) => scalar::at_least_in_place(&mut x, min)?,
                (None, Some(max)) => scalar::at_most_in_place(&mut x, max)?,
                (None, None) => x,
            },
            None => {
                let x = args.tensor(0)?;
                match bounds {
                    (Some(min), Some(max)) => scalar::clamp(x, min, max)?,
                    (Some(min), None) => scalar::at_least(x, min)?,
                    (None, Some(max)) => scalar::at_most(x, max)?,
                    (None, None) => x.shallow_clone(),
                }
            }
        };
        Ok(result.into())
    }))
}

/// `test_where_example`, `test_where_long_example`
pub(super) fn select() -> Kernel {
    Box::new(|args| {
        Ok(args
            .tensor(1)?
            .f_where_self(args.tensor(0)?, args.tensor(2)?)?
            .into())
    })
}
