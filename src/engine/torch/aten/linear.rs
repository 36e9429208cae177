//! Products of matrices.

use tch::{Kind, Tensor};

use crate::graph::Equation;

use super::super::cause::Cause;
use super::super::ffi::scalar::multiply;
use super::args::{Kernel, is_integer};

/// `test_matmul_1d_1d`, `test_matmul_1d_3d`, `test_matmul_2d`, `test_matmul_3d`, `test_matmul_4d`,
/// `test_matmul_4d_1d`, `test_matmul_bcast`
pub(super) fn matmul() -> Kernel {
    Box::new(|args| Ok(args.tensor(0)?.f_matmul(args.tensor(1)?)?.into()))
}

/// `test_einsum_batch_diagonal`, `test_einsum_batch_matmul`, `test_einsum_inner_prod`, `test_einsum_scalar`,
/// `test_einsum_sum`, `test_einsum_transpose`
pub(super) fn einsum(equation: &Equation) -> Kernel {
    let equation = equation.to_string();
    Box::new(move |args| {
        let result = Tensor::f_einsum(&equation, &args.tensors()?, None::<i64>)?;
        Ok(result.f_contiguous()?.into())
    })
}

/// `test_det_2d`, `test_det_nd`
pub(super) fn det() -> Kernel {
    Box::new(|args| {
        let x = args.tensor(0)?;
        let kind = x.f_kind()?;
        let wide = match kind {
            Kind::Half | Kind::BFloat16 => Kind::Float,
            _ => kind,
        };
        Ok(x.f_totype(wide)?.f_det()?.f_totype(kind)?.into())
    })
}

/// `alpha · a' · b' + beta · c`: `test_gemm_all_attributes`, `test_gemm_alpha`, `test_gemm_beta`,
/// `test_gemm_default_matrix_bias`, `test_gemm_default_no_bias`, `test_gemm_default_scalar_bias`,
/// `test_gemm_default_single_elem_vector_bias`, `test_gemm_default_vector_bias`, `test_gemm_default_zero_bias`,
/// `test_gemm_transposeA`, `test_gemm_transposeB`
#[expect(
    clippy::float_cmp,
    reason = "factors of exactly one need no multiplication"
)]
pub(super) fn gemm(alpha: f32, beta: f32, transpose_a: bool, transpose_b: bool) -> Kernel {
    Box::new(move |args| {
        let a = oriented(args.tensor(0)?, transpose_a)?;
        let b = oriented(args.tensor(1)?, transpose_b)?;
        let bias = args.optional(2)?.filter(|_| beta != 0.0);
        if alpha == 1.0
            && beta == 1.0
            && let Some(bias) = bias
        {
            return Ok(bias.f_addmm(&a, &b)?.into());
        }
        let mut result = scaled(a.f_mm(&b)?, alpha)?;
        if let Some(bias) = bias {
            result = result.f_add(&scaled(bias.shallow_clone(), beta)?)?;
        }
        Ok(result.into())
    })
}

fn oriented(matrix: &Tensor, transpose: bool) -> Result<Tensor, Cause> {
    if matrix.dim() != 2 {
        return Err(Cause::new(format!(
            "expected a matrix, got shape {:?}",
            matrix.size()
        )));
    }
    Ok(if transpose {
        matrix.f_transpose(0, 1)?
    } else {
        matrix.shallow_clone()
    })
}

/// Multiplies, keeping the type: integers are scaled as doubles and truncated.
#[expect(
    clippy::float_cmp,
    reason = "factors of exactly one need no multiplication"
)]
fn scaled(tensor: Tensor, factor: f32) -> Result<Tensor, Cause> {
    if factor == 1.0 {
        return Ok(tensor);
    }
    if is_integer(&tensor)? {
        let precise = multiply(&tensor.f_totype(tch::Kind::Double)?, f64::from(factor))?;
        return Ok(precise.f_totype(tensor.f_kind()?)?);
    }
    multiply(&tensor, f64::from(factor))
}
