//! Quantised numbers: integers or narrow floats that stand for `(q − zero point) · scale`.

use crate::types::DType;

use super::Conv;

/// Operators that make, read or compute with quantised numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quantised {
    /// Inputs: data, scale, zero point?. To the zero point's dtype, else to `to`. Divides in `precision`, else in the
    /// scale's dtype.
    Quantize {
        scaling: Scaling,
        to: DType,
        saturate: bool,
        precision: Option<DType>,
    },
    /// Inputs: data, scale, zero point?. To the scale's dtype unless `to` says otherwise.
    Dequantize { scaling: Scaling, to: Option<DType> },
    /// Outputs: UINT8 data, the scale and zero point that fit its extremes.
    DynamicQuantize,
    /// Inputs: a, its scale and zero point, b, its scale and zero point, scale and zero point of the result.
    MatMul,
    /// Inputs: data, its scale and zero point, weight, its scale and zero point, scale and zero point of the result,
    /// INT32 bias?.
    Conv(Conv),
    /// Inputs: a, b, zero point of a?, zero point of b?. To INT32.
    MatMulInteger,
    /// Inputs: data, weight, zero point of the data?, zero point of the weight?. To INT32.
    ConvInteger(Conv),
}

/// How scales and zero points are laid against data: a single one for all, a list along `axis`, or one for each `block`
/// elements along `axis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    pub axis: i64,
    /// 0 where there are no blocks.
    pub block: usize,
}
