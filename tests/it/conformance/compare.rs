//! The suite's own rule for a pass: as many outputs, each of equal dtype and shape, numbers within
//! `atol + rtol · |expected|`, NaN where NaN is expected, everything else exactly.

use blockflow::types::{DType, Tensor};
use half::{bf16, f16};

const RTOL: f64 = 1e-3;
const ATOL: f64 = 1e-7;

pub(super) fn compare(seen: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    if seen.len() != expected.len() {
        return Err(format!(
            "{} outputs, expected {}",
            seen.len(),
            expected.len()
        ));
    }
    for (index, (seen, expected)) in seen.iter().zip(expected).enumerate() {
        if (seen.dtype(), seen.shape()) != (expected.dtype(), expected.shape()) {
            return Err(format!("output {index} is {seen:?}, expected {expected:?}"));
        }
        let (Some(values), Some(wanted)) = (floats(seen), floats(expected)) else {
            if seen.bytes() != expected.bytes() {
                return Err(format!(
                    "output {index} has other elements: {}",
                    shown(seen, expected)
                ));
            }
            continue;
        };
        let odd = values
            .iter()
            .zip(&wanted)
            .position(|(&seen, &wanted)| !close(seen, wanted));
        if let Some(at) = odd {
            return Err(format!(
                "output {index} has {} at {at}, expected {}",
                values[at], wanted[at]
            ));
        }
    }
    Ok(())
}

#[expect(clippy::float_cmp, reason = "infinities are equal or not")]
fn close(seen: f64, expected: f64) -> bool {
    if seen.is_nan() || expected.is_nan() {
        return seen.is_nan() && expected.is_nan();
    }
    if seen.is_infinite() || expected.is_infinite() {
        return seen == expected;
    }
    (seen - expected).abs() <= ATOL + RTOL * expected.abs()
}

/// Returns the elements of a tensor of floating-point numbers.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| value(*element))
            .collect()
    }
    match tensor.dtype() {
        DType::F16 => Some(each(bytes, |two| f16::from_le_bytes(two).to_f64())),
        DType::BF16 => Some(each(bytes, |two| bf16::from_le_bytes(two).to_f64())),
        DType::F32 => Some(each(bytes, |four| f32::from_le_bytes(four).into())),
        DType::F64 => Some(each(bytes, f64::from_le_bytes)),
        _ => None,
    }
}

fn shown(seen: &Tensor, expected: &Tensor) -> String {
    let some = |tensor: &Tensor| format!("{:?}", &tensor.bytes()[..tensor.bytes().len().min(16)]);
    format!("bytes {}…, expected {}…", some(seen), some(expected))
}
