//! Tensors to measure with, and tensors of a block's own.

use tch::Tensor;

use crate::types::Tensor as Plain;

use super::super::super::cause::Cause;
use super::super::datum::Datum;

/// Returns numbers between −1 and 1 without a pattern, the same each time.
pub(super) fn numbers(shape: &[i64]) -> Result<Tensor, Cause> {
    let count = usize::try_from(shape.iter().product::<i64>())
        .map_err(|_| Cause::new(format!("shape {shape:?} has a negative size")))?;
    let mut state = 1_u32;
    let numbers: Vec<f32> = std::iter::repeat_with(|| {
        // Numerical Recipes' generator; the upper bits are the better ones.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 16) as u16) / 32768.0 - 1.0
    })
    .take(count)
    .collect();
    Ok(Tensor::f_from_slice(&numbers)?.f_reshape(shape)?)
}

/// Returns a tensor over the elements of a model file, which is to be read while the file is mapped.
pub(super) fn mapped(tensor: &Plain) -> Result<Tensor, Cause> {
    match Datum::import(tensor)? {
        Datum::Tensor(tensor) => Ok(tensor),
        _ => Err(Cause::new("expected numbers")),
    }
}

/// Returns a copy in memory of its own.
pub(super) fn copied(tensor: &Tensor) -> Result<Tensor, Cause> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}
