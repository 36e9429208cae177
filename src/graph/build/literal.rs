//! Initialisers made from values of this program: attributes that turn into inputs, shapes that are known.

use std::sync::Arc;

use half::{bf16, f16};

use crate::types::{AlignedBytes, DType, Shape, Tensor};

use crate::graph::Initializer;

/// An INT64 list.
pub(in crate::graph) fn integers(values: &[i64]) -> Option<Arc<Initializer>> {
    of_integers(DType::I64, vec![values.len()], values)
}

/// A scalar of a floating-point dtype, rounded to it; `None` for another dtype.
pub(in crate::graph) fn float(dtype: DType, value: f32) -> Option<Arc<Initializer>> {
    let bytes = match dtype {
        DType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        DType::F32 => value.to_le_bytes().to_vec(),
        DType::F64 => f64::from(value).to_le_bytes().to_vec(),
        _ => return None,
    };
    initializer(dtype, Vec::new(), &bytes)
}

/// A tensor of FP32 elements, row-major.
pub(in crate::graph) fn floats(shape: Shape, values: &[f32]) -> Option<Arc<Initializer>> {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    initializer(DType::F32, shape, &bytes)
}

/// A tensor of strings, row-major.
pub(in crate::graph) fn strings(
    shape: Shape,
    values: &[impl AsRef<[u8]>],
) -> Option<Arc<Initializer>> {
    let tensor = Tensor::from_byte_strings(shape, values).ok()?;
    Some(Arc::new(Initializer { tensor }))
}

/// A tensor of integer or boolean elements, row-major; `None` if one of them is out of the dtype's range.
pub(in crate::graph) fn of_integers(
    dtype: DType,
    shape: Shape,
    values: &[i64],
) -> Option<Arc<Initializer>> {
    let bytes: Vec<u8> = match dtype {
        DType::I64 => values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        DType::I32 => {
            let values: Vec<_> = values
                .iter()
                .map(|&value| i32::try_from(value))
                .collect::<Result<_, _>>()
                .ok()?;
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        }
        DType::Bool => {
            let valid = values.iter().all(|value| matches!(value, 0 | 1));
            valid.then(|| values.iter().map(|&value| u8::from(value == 1)).collect())?
        }
        _ => return None,
    };
    initializer(dtype, shape, &bytes)
}

/// Returns the elements of a tensor of INT64, INT32 or BOOL.
pub(in crate::graph) fn read_integers(tensor: &Tensor) -> Option<Vec<i64>> {
    let bytes = tensor.bytes();
    Some(match tensor.dtype() {
        DType::I64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| i64::from_le_bytes(*element))
            .collect(),
        DType::I32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|element| i32::from_le_bytes(*element).into())
            .collect(),
        DType::Bool => bytes.iter().map(|&element| element.into()).collect(),
        _ => return None,
    })
}

/// Returns the elements of a tensor of FP32.
pub(in crate::graph) fn read_floats(tensor: &Tensor) -> Option<Vec<f32>> {
    let elements = tensor.bytes().as_chunks().0;
    let values = elements.iter().map(|element| f32::from_le_bytes(*element));
    (tensor.dtype() == DType::F32).then(|| values.collect())
}

/// Returns the only element of a tensor as a floating-point number; `None` if there are more or it would be rounded.
pub(in crate::graph) fn read_single(tensor: &Tensor) -> Option<f64> {
    let bytes = tensor.bytes();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "checked by the way back"
    )]
    let exact =
        |value: i64| Some(value as f64).filter(|&float| float as i64 == value && value != i64::MAX);
    match tensor.dtype() {
        DType::F32 => Some(f32::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        DType::F16 => Some(f16::from_le_bytes(bytes.try_into().ok()?).to_f64()),
        DType::BF16 => Some(bf16::from_le_bytes(bytes.try_into().ok()?).to_f64()),
        DType::I64 => exact(i64::from_le_bytes(bytes.try_into().ok()?)),
        DType::I32 => Some(i32::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::I16 => Some(i16::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::I8 | DType::I4 | DType::I2 => Some(i8::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::U32 => Some(u32::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::U16 => Some(u16::from_le_bytes(bytes.try_into().ok()?).into()),
        DType::U64 => i64::try_from(u64::from_le_bytes(bytes.try_into().ok()?))
            .ok()
            .and_then(exact),
        DType::U8 | DType::Bool | DType::U4 | DType::U2 => {
            Some(u8::from_le_bytes(bytes.try_into().ok()?).into())
        }
        DType::Bytes
        | DType::F4E2M1
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0 => None,
    }
}

fn initializer(dtype: DType, shape: Shape, bytes: &[u8]) -> Option<Arc<Initializer>> {
    let tensor = Tensor::new(dtype, shape, Arc::new(AlignedBytes::copy_of(bytes))).ok()?;
    Some(Arc::new(Initializer { tensor }))
}
