//! Elements of floating-point weights, as numbers of double precision.

use half::{bf16, f16};

use crate::types::{DType, Tensor, element_count};

/// Returns the elements of a floating-point tensor; `None` for another dtype.
pub(super) fn read(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    Some(match tensor.dtype() {
        DType::F16 => each(bytes, |element| f16::from_le_bytes(element).to_f64()),
        DType::BF16 => each(bytes, |element| bf16::from_le_bytes(element).to_f64()),
        DType::F32 => each(bytes, |element| f64::from(f32::from_le_bytes(element))),
        DType::F64 => each(bytes, f64::from_le_bytes),
        _ => return None,
    })
}

fn each<const SIZE: usize>(bytes: &[u8], read: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
    let (elements, _) = bytes.as_chunks();
    elements.iter().map(|&element| read(element)).collect()
}

/// Returns the numbers rounded to a floating-point dtype; `None` if one becomes infinite or is no number, for another
/// dtype, and for a shape of another number of elements.
pub(super) fn write(dtype: DType, shape: &[usize], numbers: &[f64]) -> Option<Tensor> {
    #[expect(clippy::cast_possible_truncation, reason = "rounds to the dtype")]
    let bytes: Vec<u8> = match dtype {
        DType::F16 => numbers
            .iter()
            .flat_map(|&number| f16::from_f64(number).to_le_bytes())
            .collect(),
        DType::BF16 => numbers
            .iter()
            .flat_map(|&number| bf16::from_f64(number).to_le_bytes())
            .collect(),
        DType::F32 => numbers
            .iter()
            .flat_map(|&number| (number as f32).to_le_bytes())
            .collect(),
        DType::F64 => numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
        _ => return None,
    };
    let tensor = Tensor::copy_of(dtype, shape.to_vec(), &bytes).ok()?;
    read(&tensor)?
        .iter()
        .all(|number| number.is_finite())
        .then_some(tensor)
}

/// Returns the number that a floating-point tensor of one element holds.
pub(super) fn scalar(tensor: &Tensor) -> Option<f64> {
    if element_count(tensor.shape()) != Ok(1) {
        return None;
    }
    read(tensor)?.first().copied()
}

/// Tells whether a number is what an exporter writes for another, which it may have rounded to FP16.
pub(super) fn is_about(number: f64, other: f64) -> bool {
    (number - other).abs() <= 1e-3 * other.abs()
}
