//! Products of matrices.

use crate::graph::Equation;

use super::attribute::{flag, float, text};
use super::call::{Call, Written};

/// `factors` of the product and of the addend; which of both operands are transposed.
pub(super) fn gemm(call: &mut Call<'_, '_>, factors: [f32; 2], transposed: [bool; 2]) -> Written {
    call.plain(vec![
        float("alpha", factors[0]),
        float("beta", factors[1]),
        flag("transA", transposed[0]),
        flag("transB", transposed[1]),
    ])
}

pub(super) fn einsum(call: &mut Call<'_, '_>, equation: &Equation) -> Written {
    call.plain(vec![text("equation", &equation.to_string())])
}
