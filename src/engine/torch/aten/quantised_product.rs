//! Matrix products and convolutions of quantised numbers.
//!
//! Integers are multiplied as floating-point numbers, for which libtorch has fast kernels: as FP32 where no partial sum
//! can leave its 24 bits, else as FP64. Products are exact either way. Convolutions of a device are not, where they are computed
//! by transforms; as FP64 they are off by far less than a half, and rounded.

use tch::{Kind, Tensor};

use crate::graph::Conv;

use super::super::cause::Cause;
use super::super::ffi::cuda::is_on_host;
use super::args::{Args, Kernel, Outputs};
use super::context::NodeContext;
use super::convolution;
use super::quantised::Target;

/// `test_matmulinteger`
pub(super) fn matmul_integer() -> Kernel {
    Box::new(|args| {
        let a = centred(args.tensor(0)?, args.optional(2)?.map(rows))?;
        let b = centred(args.tensor(1)?, args.optional(3)?.map(columns))?;
        Ok(to_integers(&product(&a, &b)?)?.into())
    })
}

/// `test_qlinearmatmul_2D_…`, `test_qlinearmatmul_3D_…`
pub(super) fn matmul(context: &NodeContext<'_>) -> Result<Kernel, Cause> {
    let target = Target::of(context.output_dtype(0), true)?;
    Ok(Box::new(move |args| {
        let a = centred(args.tensor(0)?, Some(rows(args.tensor(2)?)))?;
        let b = centred(args.tensor(3)?, Some(columns(args.tensor(5)?)))?;
        let product = product(&a, &b)?;
        let (a_scale, b_scale) = (rows(args.tensor(1)?)?, columns(args.tensor(4)?)?);
        let scale = combined(&a_scale, &b_scale, &rows(args.tensor(6)?)?)?;
        let zero_point = rows(args.tensor(7)?)?;
        let scaled = product.f_mul(&scale.f_totype(product.f_kind()?)?)?;
        Ok(target.quantised(scaled, Some(&zero_point))?.into())
    }))
}

/// `test_convinteger_with_padding`, `test_convinteger_without_padding`
pub(super) fn conv_integer(conv: &Conv) -> Kernel {
    let convolution = convolution::convolution(conv);
    Box::new(move |args| {
        let weight = args.tensor(1)?;
        let x = centred(
            args.tensor(0)?,
            args.optional(2)?.map(|zero| Ok(zero.shallow_clone())),
        )?;
        let zero_point = args.optional(3)?;
        let weight = centred(weight, zero_point.map(|zero| filters(zero, weight.dim())))?;
        Ok(to_integers(&convolved(&convolution, x, weight, None)?)?.into())
    })
}

/// `test_qlinearconv`
pub(super) fn conv(context: &NodeContext<'_>, conv: &Conv) -> Result<Kernel, Cause> {
    let target = Target::of(context.output_dtype(0), true)?;
    let convolution = convolution::convolution(conv);
    Ok(Box::new(move |args| {
        let weight = args.tensor(3)?;
        let rank = weight.dim();
        let x = centred(args.tensor(0)?, Some(Ok(args.tensor(2)?.shallow_clone())))?;
        let weight = centred(weight, Some(filters(args.tensor(5)?, rank)))?;
        let sum = convolved(&convolution, x, weight, args.optional(8)?)?;
        // One scale for each output channel, which is dimension 1 of the result.
        let weight_scale = filters(args.tensor(4)?, rank.saturating_sub(1))?;
        let scale = combined(args.tensor(1)?, &weight_scale, args.tensor(6)?)?;
        let scaled = sum.f_mul(&scale.f_totype(sum.f_kind()?)?)?;
        Ok(target.quantised(scaled, Some(args.tensor(7)?))?.into())
    }))
}

/// Returns quantised numbers less their zero point, exactly.
fn centred(x: &Tensor, zero_point: Option<Result<Tensor, Cause>>) -> Result<Tensor, Cause> {
    let wide = x.f_totype(Kind::Float)?;
    Ok(match zero_point {
        Some(zero) => wide.f_sub(&zero?.f_totype(Kind::Float)?)?,
        None => wide,
    })
}

/// Lays one parameter per row against a matrix. More dimensions are laid out already.
fn rows(parameter: &Tensor) -> Result<Tensor, Cause> {
    Ok(if parameter.dim() == 1 && parameter.numel() > 1 {
        parameter.f_unsqueeze(1)?
    } else {
        parameter.shallow_clone()
    })
}

/// Lays one parameter per column against a matrix, as broadcasting does.
fn columns(parameter: &Tensor) -> Result<Tensor, Cause> {
    Ok(parameter.shallow_clone())
}

/// Lays one parameter per filter against the first of `rank` dimensions.
fn filters(parameter: &Tensor, rank: usize) -> Result<Tensor, Cause> {
    if parameter.numel() == 1 {
        return Ok(parameter.f_reshape(&[] as &[i64])?);
    }
    let mut shape = vec![1; rank];
    if let Some(first) = shape.first_mut() {
        *first = -1;
    }
    Ok(parameter.f_reshape(shape)?)
}

/// Returns by what sums of products of two quantised numbers are multiplied.
fn combined(a: &Tensor, b: &Tensor, result: &Tensor) -> Result<Tensor, Cause> {
    let [a, b, result] = [a, b, result].map(|scale| scale.f_totype(Kind::Float));
    Ok(a?.f_mul(&b?)?.f_div(&result?)?)
}

fn product(a: &Tensor, b: &Tensor) -> Result<Tensor, Cause> {
    let summed = if b.dim() < 2 { 0 } else { -2 };
    Ok(if fits(a, b, &[summed])? {
        a.f_matmul(b)?
    } else {
        a.f_totype(Kind::Double)?
            .f_matmul(&b.f_totype(Kind::Double)?)?
    })
}

fn convolved(
    convolution: &Kernel,
    x: Tensor,
    weight: Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, Cause> {
    let summed: Vec<i64> = (1..weight.size().len())
        .filter_map(|axis| axis.try_into().ok())
        .collect();
    let kind = if is_on_host(&x) && fits(&x, &weight, &summed)? {
        Kind::Float
    } else {
        Kind::Double
    };
    let bias = bias.map(|bias| bias.f_totype(kind)).transpose()?;
    let inputs = [Some(x.f_totype(kind)?), Some(weight.f_totype(kind)?), bias];
    let mut slots = inputs.map(|input| input.map(Into::into));
    let outputs = convolution(&mut Args {
        slots: &mut slots,
        inputs: &[Some(0), Some(1), Some(2)],
        last: &[false; 3],
    })?;
    match outputs {
        Outputs::One(datum) => Ok(datum.tensor()?.f_round()?),
        Outputs::Many(_) => Err(Cause::new("a convolution returned several tensors")),
    }
}

/// Tells whether FP32 holds every sum of products of elements of `a` and those of `b` along `summed`.
fn fits(a: &Tensor, b: &Tensor, summed: &[i64]) -> Result<bool, Cause> {
    const EXACT: f64 = 16_777_216.0;
    if a.numel() == 0 || b.numel() == 0 {
        return Ok(true);
    }
    let largest = a.f_abs()?.f_max()?.f_double_value(&[])?;
    let sums = b.f_abs()?.f_sum_dim_intlist(summed, false, Kind::Float)?;
    Ok(largest * sums.f_max()?.f_double_value(&[])? <= EXACT)
}

/// Returns exact sums as INT32; more than that holds wraps around.
fn to_integers(sums: &Tensor) -> Result<Tensor, Cause> {
    Ok(sums.f_totype(Kind::Int64)?.f_totype(Kind::Int)?)
}
