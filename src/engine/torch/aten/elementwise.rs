//! Functions of single elements: unary, binary, variadic, clip, where.

use tch::{Kind, TchError, Tensor};

use crate::graph::{Binary, Reduce, Unary};
use crate::types::DType;

use super::super::cause::Cause;
use super::super::ffi::scalar::{self, Number};
use super::activation::{self, Exponential};
use super::args::{Args, Kernel, is_integer, number, signed};
use super::context::NodeContext;
use super::{division, unsigned};

type Fresh = fn(&Tensor) -> Result<Tensor, TchError>;
type InPlace = fn(&mut Tensor) -> Result<Tensor, TchError>;
type Pairwise = fn(&Tensor, &Tensor) -> Result<Tensor, TchError>;
type PairwiseInPlace = fn(&mut Tensor, &Tensor) -> Result<Tensor, TchError>;

/// Element-wise functions of one tensor, with these backend tests:
/// - `test_relu`, `test_sigmoid`, `test_tanh`, `test_exp`, `test_log`, `test_sqrt`, `test_reciprocal`, `test_neg`,
///   `test_abs`, `test_floor`, `test_ceil`, `test_round`, `test_sign`, `test_erf`, `test_softplus`, `test_softsign`,
///   `test_hardswish`, `test_mish`, `test_sin` and its kin, each with its `_example` where there is one; `test_not_2d`
///   to `test_not_4d`, `test_bitwise_not_2d` to `test_bitwise_not_4d`, `test_isnan`, `test_isnan_float16`
/// - `test_gelu_default_1`, `test_gelu_tanh_1`, `test_swish`, and the activations with parameters
pub(super) fn unary(dtype: Option<DType>, function: Unary) -> Kernel {
    match function {
        Unary::Relu | Unary::Abs if dtype.is_some_and(is_unsigned) => {
            Box::new(|args| Ok(args.tensor(0)?.shallow_clone().into()))
        }
        Unary::Sign if dtype == Some(DType::U64) => {
            computed(|x| Ok(scalar::is_not(x, 0)?.f_totype(Kind::Int64)?))
        }
        Unary::Relu => either(Tensor::f_relu, Tensor::f_relu_),
        Unary::Sigmoid => either(Tensor::f_sigmoid, Tensor::f_sigmoid_),
        Unary::Tanh => either(Tensor::f_tanh, Tensor::f_tanh_),
        Unary::Sin => either(Tensor::f_sin, Tensor::f_sin_),
        Unary::Cos => either(Tensor::f_cos, Tensor::f_cos_),
        Unary::Tan => either(Tensor::f_tan, Tensor::f_tan_),
        Unary::Asin => either(Tensor::f_asin, Tensor::f_asin_),
        Unary::Acos => either(Tensor::f_acos, Tensor::f_acos_),
        Unary::Atan => either(Tensor::f_atan, Tensor::f_atan_),
        Unary::Sinh => either(Tensor::f_sinh, Tensor::f_sinh_),
        Unary::Cosh => either(Tensor::f_cosh, Tensor::f_cosh_),
        Unary::Asinh => either(Tensor::f_asinh, Tensor::f_asinh_),
        Unary::Acosh => either(Tensor::f_acosh, Tensor::f_acosh_),
        Unary::Atanh => either(Tensor::f_atanh, Tensor::f_atanh_),
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
        Unary::Swish { alpha: 1.0 } => either(Tensor::f_silu, Tensor::f_silu_),
        Unary::Softplus => computed(|x| Ok(x.f_softplus()?)),
        Unary::Not => computed(|x| Ok(x.f_logical_not()?)),
        Unary::BitwiseNot => computed(|x| Ok(x.f_bitwise_not()?)),
        Unary::IsNaN => computed(|x| Ok(x.f_isnan()?)),
        Unary::IsInf { negative, positive } => {
            computed(move |x| activation::is_inf(x, negative, positive))
        }
        Unary::Softsign => computed(|x| Ok(x.f_div(&scalar::add_in_place(&mut x.f_abs()?, 1)?)?)),
        Unary::Gelu { tanh } => {
            computed(move |x| Ok(x.f_gelu(if tanh { "tanh" } else { "none" })?))
        }
        Unary::LeakyRelu { alpha } => {
            computed(move |x| activation::leaky_relu(x, f64::from(alpha)))
        }
        Unary::HardSigmoid { alpha, beta } => {
            computed(move |x| activation::hard_sigmoid(x, f64::from(alpha), f64::from(beta)))
        }
        Unary::Elu { alpha } => exponential(alpha, 1.0, 1.0),
        Unary::Selu { alpha, gamma } => exponential(alpha, 1.0, gamma),
        Unary::Celu { alpha } => exponential(alpha, alpha.recip(), 1.0),
        Unary::Shrink { bias, lambda } => {
            computed(move |x| activation::shrink(x, f64::from(bias), f64::from(lambda)))
        }
        Unary::ThresholdedRelu { alpha } => {
            computed(move |x| activation::thresholded_relu(x, f64::from(alpha)))
        }
        Unary::Swish { alpha } => computed(move |x| activation::swish(x, f64::from(alpha))),
    }
}

fn exponential(alpha: f32, rate: f32, gamma: f32) -> Kernel {
    let function = Exponential { alpha, rate, gamma };
    computed(move |x| function.of(x))
}

fn is_unsigned(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64)
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

/// Element-wise functions of two tensors, with these backend tests, each with its `_bcast` and type variants:
/// `test_add`, `test_sub`, `test_mul`, `test_div`, `test_pow`, `test_prelu_example`, `test_prelu_broadcast`,
/// `test_and2d` to `test_and4d`, `test_or2d` …, `test_xor2d` …, `test_equal`, `test_less`, `test_less_equal`,
/// `test_greater`, `test_greater_equal`, `test_bitwise_and_…`, `test_bitwise_or_…`, `test_bitwise_xor_…`,
/// `test_bitshift_…`; those of division stand with it
pub(super) fn binary(context: &NodeContext<'_>, function: Binary) -> Result<Kernel, Cause> {
    if context.input_dtype(0) == Some(DType::U64)
        && let Some(kernel) = unsigned::binary(function)
    {
        return Ok(kernel);
    }
    Ok(match function {
        Binary::Add => commutative(Tensor::f_add, Tensor::f_add_),
        Binary::Mul => commutative(Tensor::f_mul, Tensor::f_mul_),
        Binary::Sub => Box::new(|args: &mut Args<'_>| match take_left(args)? {
            Some(mut a) => Ok(a.f_sub_(args.tensor(1)?)?.into()),
            None => Ok(args.tensor(0)?.f_sub(args.tensor(1)?)?.into()),
        }),
        Binary::Div => division::quotient(),
        Binary::Mod { truncated } => division::remainder(truncated),
        Binary::Pow => power(context)?,
        Binary::PRelu => pair(prelu),
        Binary::And => simple_pair(Tensor::f_logical_and),
        Binary::Or => simple_pair(Tensor::f_logical_or),
        Binary::Xor => simple_pair(Tensor::f_logical_xor),
        Binary::Equal => simple_pair(Tensor::f_eq_tensor),
        Binary::Less => simple_pair(Tensor::f_lt_tensor),
        Binary::LessOrEqual => simple_pair(Tensor::f_le_tensor),
        Binary::Greater => simple_pair(Tensor::f_gt_tensor),
        Binary::GreaterOrEqual => simple_pair(Tensor::f_ge_tensor),
        Binary::BitwiseAnd => simple_pair(Tensor::f_bitwise_and_tensor),
        Binary::BitwiseOr => simple_pair(Tensor::f_bitwise_or_tensor),
        Binary::BitwiseXor => simple_pair(Tensor::f_bitwise_xor_tensor),
        Binary::ShiftLeft => simple_pair(Tensor::f_bitwise_left_shift),
        Binary::ShiftRight => simple_pair(Tensor::f_bitwise_right_shift),
    })
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
pub(super) fn take_left(args: &mut Args<'_>) -> Result<Option<Tensor>, Cause> {
    let fits = holds_result(args.tensor(0)?, args.tensor(1)?)?;
    Ok(if fits { args.take(0) } else { None })
}

/// Tells whether `a` has the type and shape of `a ∘ b`.
pub(super) fn holds_result(a: &Tensor, b: &Tensor) -> Result<bool, Cause> {
    if a.f_kind()? != b.f_kind()? {
        return Ok(false);
    }
    let (a, b) = (a.size(), b.size());
    let aligned = a.iter().rev().zip(b.iter().rev());
    Ok(b.len() <= a.len() && aligned.into_iter().all(|(&a, &b)| a == b || b == 1))
}

/// Multiplies what is below zero by the slope.
fn prelu(x: &Tensor, slope: &Tensor) -> Result<Tensor, Cause> {
    // libtorch has a kernel for one slope per channel.
    if let (Some(&channels), [own, rest @ ..]) = (x.size().get(1), &*slope.size())
        && *own == channels
        && slope.numel() == usize::try_from(channels).unwrap_or(0)
        && rest.len() + 2 == x.dim()
        && !is_integer(x)?
    {
        return Ok(x.f_prelu(&slope.f_reshape([channels])?)?);
    }
    Ok(x.f_where_self(&scalar::is_at_least(x, 0)?, &x.f_mul(slope)?)?)
}

fn power(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let single = context
        .constant(1)
        .is_some_and(|tensor| tensor.shape().iter().all(|&size| size == 1));
    let exponent = if single { context.number(1)? } else { None };
    Ok(Box::new(move |args| {
        let (base, exponents) = (args.tensor(0)?, args.tensor(1)?);
        // libtorch multiplies where the exponent is a small number.
        if let Some(exponent) = exponent
            && exponents.dim() <= base.dim()
            && !is_integer(base)?
        {
            return Ok(scalar::power(base, exponent)?.into());
        }
        Ok(raised(base, exponents)?.into())
    }))
}

/// The result has the type of the base, whatever that of the exponent.
fn raised(base: &Tensor, exponent: &Tensor) -> Result<Tensor, Cause> {
    let kind = base.f_kind()?;
    if kind == exponent.f_kind()? {
        return Ok(base.f_pow(exponent)?);
    }
    if is_integer(exponent)? {
        return Ok(base.f_pow(&exponent.f_totype(kind)?)?);
    }
    let precise = base
        .f_totype(Kind::Double)?
        .f_pow(&exponent.f_totype(Kind::Double)?)?;
    Ok(precise.f_totype(kind)?)
}

/// Element-wise `Sum`, `Max`, `Min`, `Mean` of any number of tensors: `test_sum_example`, `test_sum_one_input`,
/// `test_sum_two_inputs`, and the same of `test_max_…` (also per type), `test_min_…`, `test_mean_…`
pub(super) fn variadic(context: &NodeContext<'_>, kind: Reduce) -> Result<Kernel, Cause> {
    let step: Pairwise = match kind {
        Reduce::Sum | Reduce::Mean => Tensor::f_add,
        Reduce::Max => Tensor::f_maximum,
        Reduce::Min => Tensor::f_minimum,
        _ => {
            return Err(Cause::new(format!(
                "{kind:?} of several tensors is not an ONNX operator"
            )));
        }
    };
    if context.inputs() == 0 {
        return Err(Cause::new("no inputs"));
    }
    if context.input_dtype(0) == Some(DType::U64) && matches!(kind, Reduce::Max | Reduce::Min) {
        return Ok(Box::new(move |args| {
            let tensors = args.tensors()?;
            let mut total = unsigned::ordered(tensors[0])?;
            for tensor in &tensors[1..] {
                total = step(&total, &unsigned::ordered(tensor)?)?;
            }
            Ok(unsigned::ordered(&total)?.into())
        }));
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
    let is_u64 = context.input_dtype(0) == Some(DType::U64);
    Ok(Box::new(move |args| {
        let bound = |index: usize| match constant[index] {
            None if given[index] => number(args.tensor(index + 1)?).map(Some),
            known => Ok::<_, Cause>(known),
        };
        let bounds = (bound(0)?, bound(1)?);
        if is_u64 {
            let x = unsigned::ordered(args.tensor(0)?)?;
            let ordered = |bound: Option<Number>| bound.map(unsigned::ordered_number);
            let result = clipped(&x, (ordered(bounds.0), ordered(bounds.1)))?;
            return Ok(unsigned::ordered(&result)?.into());
        }
        let result = match args.take(0) {
            Some(mut x) => match bounds {
                (Some(min), Some(max)) => scalar::clamp_in_place(&mut x, min, max)?,
                (Some(min), None) => scalar::at_least_in_place(&mut x, min)?,
                (None, Some(max)) => scalar::at_most_in_place(&mut x, max)?,
                (None, None) => x,
            },
            None => clipped(args.tensor(0)?, bounds)?,
        };
        Ok(result.into())
    }))
}

fn clipped(x: &Tensor, bounds: (Option<Number>, Option<Number>)) -> Result<Tensor, Cause> {
    Ok(match bounds {
        (Some(min), Some(max)) => scalar::clamp(x, min, max)?,
        (Some(min), None) => scalar::at_least(x, min)?,
        (None, Some(max)) => scalar::at_most(x, max)?,
        (None, None) => x.shallow_clone(),
    })
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
