//! Tensors compared element by element: floats within a tolerance, all else exactly.

use half::{bf16, f16};

use crate::types::{DType, Shape, Tensor, Tolerance};

/// How a tensor differs from the expected one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Elements that are not as good as expected. Of tensors of other forms, all.
    pub different: usize,
    pub compared: usize,
    /// Largest difference of two finite floats.
    pub absolute_max: f64,
    /// Largest difference of two finite floats as a share of the larger of them, from 0 to 2.
    pub relative_max: f64,
    /// The element that differs most beyond what is allowed, in words.
    pub worst: Option<String>,
}

/// Compares a tensor with the expected one. Floats of any two types are compared as numbers; NaN is as good as NaN.
pub fn compare(expected: &Tensor, seen: &Tensor, tolerance: Tolerance) -> Comparison {
    let both = |is: fn(DType) -> bool| is(expected.dtype()) && is(seen.dtype());
    let floats = both(DType::is_float);
    let count: usize = expected.shape().iter().product();
    if expected.shape() != seen.shape() || !(floats || expected.dtype() == seen.dtype()) {
        return Comparison {
            different: count.max(1),
            compared: count,
            absolute_max: 0.0,
            relative_max: 0.0,
            worst: Some(format!("expected {expected:?}, got {seen:?}")),
        };
    }
    let same = expected.dtype() == seen.dtype() && expected.bytes() == seen.bytes();
    if same {
        return Comparison {
            compared: count,
            ..Comparison::default()
        };
    }
    if floats {
        return compare_floats(expected, seen, tolerance);
    }
    let pairs = elements(expected).into_iter().zip(elements(seen));
    let mut different = pairs.enumerate().filter(|(_, (left, right))| left != right);
    let first = different.next();
    Comparison {
        different: usize::from(first.is_some()) + different.count(),
        compared: count,
        absolute_max: 0.0,
        relative_max: 0.0,
        worst: first.map(|(place, (left, right))| {
            let index = index_of(expected.shape(), place);
            let [left, right] = [left, right].map(|bytes| shown(expected.dtype(), bytes));
            format!("at {index:?}: expected {left}, got {right}")
        }),
    }
}

fn compare_floats(expected: &Tensor, seen: &Tensor, tolerance: Tolerance) -> Comparison {
    let mut comparison = Comparison::default();
    // Place, excess and the numbers of what differs most.
    let mut worst: Option<(usize, f64, [f64; 2])> = None;
    for (place, (left, right)) in floats(expected).zip(floats(seen)).enumerate() {
        comparison.compared += 1;
        let difference = (left - right).abs();
        if difference.is_finite() && difference > 0.0 {
            comparison.absolute_max = comparison.absolute_max.max(difference);
            let share = difference / left.abs().max(right.abs());
            comparison.relative_max = comparison.relative_max.max(share);
        }
        if tolerance.allows(left, right) {
            continue;
        }
        comparison.different += 1;
        let excess = match difference.is_nan() {
            true => f64::INFINITY,
            false => difference - tolerance.around(left),
        };
        if worst.is_none_or(|(_, known, _)| excess > known) {
            worst = Some((place, excess, [left, right]));
        }
    }
    comparison.worst = worst.map(|(place, _, [left, right])| {
        let index = index_of(expected.shape(), place);
        format!("at {index:?}: expected {left}, got {right}")
    });
    comparison
}

/// Returns the elements of a floating tensor as numbers; none of another.
pub(super) fn floats(tensor: &Tensor) -> impl Iterator<Item = f64> {
    let dtype = tensor.dtype();
    let size = dtype.size().unwrap_or(1);
    let read = move |bytes: &[u8]| match (dtype, bytes) {
        (DType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
        (DType::BF16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
        (DType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (_, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    };
    let bytes: &[u8] = if dtype.is_float() {
        tensor.bytes()
    } else {
        &[]
    };
    bytes.chunks_exact(size).map(read)
}

/// Returns the elements as bytes.
fn elements(tensor: &Tensor) -> Vec<&[u8]> {
    match tensor.dtype().size() {
        Some(size) => tensor.bytes().chunks_exact(size).collect(),
        None => tensor.byte_strings(),
    }
}

/// Writes an element as a person would: numbers as such, what has no number as its bytes.
fn shown(dtype: DType, bytes: &[u8]) -> String {
    let mut wide = [0; 8];
    let signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let unsigned = matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    let negative = signed && bytes.last().is_some_and(|last| last & 0x80 != 0);
    if dtype == DType::Bool {
        return (bytes != [0]).to_string();
    }
    if !(signed || unsigned) || bytes.len() > wide.len() {
        let shown = &bytes[..bytes.len().min(32)];
        return format!("{:?}", String::from_utf8_lossy(shown));
    }
    wide.fill(if negative { 0xff } else { 0 });
    wide[..bytes.len()].copy_from_slice(bytes);
    match signed {
        true => i64::from_le_bytes(wide).to_string(),
        false => u64::from_le_bytes(wide).to_string(),
    }
}

/// Returns the index of the element at a place in row-major order.
pub(super) fn index_of(shape: &[usize], mut place: usize) -> Shape {
    let mut index = vec![0; shape.len()];
    for (at, size) in index.iter_mut().zip(shape).rev() {
        *at = place % size.max(&1);
        place /= size.max(&1);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance {
        relative: 0.0,
        absolute: 0.0,
    };

    fn f32s(values: &[f32]) -> Tensor {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Tensor::copy_of(DType::F32, vec![values.len()], &bytes).expect("a tensor")
    }

    fn bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Tensor {
        Tensor::copy_of(dtype, shape.to_vec(), bytes).expect("a tensor")
    }

    #[test]
    fn floats_differ_beyond_the_tolerance_only() {
        let tolerance = Tolerance {
            relative: 0.01,
            absolute: 0.1,
        };
        let seen = compare(
            &f32s(&[100.0, 0.0, -1.0]),
            &f32s(&[101.0, 0.05, -1.2]),
            tolerance,
        );
        assert_eq!((seen.different, seen.compared), (1, 3));
        assert_eq!((seen.absolute_max, seen.relative_max), (1.0, 1.0));
        let worst = seen.worst.expect("a worst element");
        assert!(
            worst.starts_with("at [2]: expected -1, got -1.2"),
            "{worst}"
        );
    }

    #[test]
    fn nan_is_as_good_as_nan_and_an_infinity_as_itself() {
        let (nan, infinity) = (f32::NAN, f32::INFINITY);
        let same = f32s(&[nan, infinity, 1.0]);
        assert_eq!(
            compare(&same, &f32s(&[-nan, infinity, 1.0]), EXACT).different,
            0
        );
        let odd = compare(&same, &f32s(&[1.0, -infinity, nan]), EXACT);
        assert_eq!(odd.different, 3);
        assert!(odd.worst.is_some_and(|worst| worst.contains("NaN")));
    }

    #[test]
    fn floats_of_two_types_are_compared_as_numbers() {
        let half = bytes(DType::F16, &[1], &f16::from_f32(0.5).to_le_bytes());
        assert_eq!(compare(&f32s(&[0.5]), &half, EXACT).different, 0);
        let brain = bytes(DType::BF16, &[1], &bf16::from_f32(-2.0).to_le_bytes());
        assert_eq!(compare(&f32s(&[2.0]), &brain, EXACT).different, 1);
    }

    #[test]
    fn all_else_is_compared_exactly() {
        let loose = Tolerance {
            relative: 9.0,
            absolute: 9.0,
        };
        let (left, right) = (bytes(DType::I8, &[2, 2], &[1, 2, 3, 4]), [1, 2, 253, 5]);
        let seen = compare(&left, &bytes(DType::I8, &[2, 2], &right), loose);
        assert_eq!(seen.different, 2);
        assert_eq!(seen.worst.as_deref(), Some("at [1, 0]: expected 3, got -3"));
        let string = |text: &str| Tensor::from_byte_strings(vec![1], &[text]).expect("a tensor");
        assert_eq!(compare(&string("a"), &string("a"), loose).different, 0);
        let seen = compare(&string("a"), &string("bb"), loose);
        assert_eq!(
            seen.worst.as_deref(),
            Some("at [0]: expected \"a\", got \"bb\"")
        );
    }

    #[test]
    fn another_form_is_a_difference_even_of_nothing() {
        for other in [
            f32s(&[1.0, 2.0]),
            bytes(DType::I32, &[1], &[0; 4]),
            f32s(&[]),
        ] {
            assert!(
                compare(&f32s(&[1.0]), &other, EXACT).different > 0,
                "{other:?}"
            );
        }
        assert!(compare(&f32s(&[]), &f32s(&[1.0]), EXACT).different > 0);
        assert_eq!(
            compare(&f32s(&[]), &f32s(&[]), EXACT),
            Comparison::default()
        );
    }
}
