//! Tensors: in the model file, or described as a stretch of a file beside it.

use bytes::Bytes;
use half::{bf16, f16};

use crate::graph::onnx::dtype::number;
use crate::graph::onnx::packed::{pack, per_byte};
use crate::graph::onnx::proto::{StringStringEntryProto, TensorProto};
use crate::types::{DType, Tensor};

/// The memory of a tensor, kept for as long as bytes of it are.
struct Memory(Tensor);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A stretch of a data file.
pub(super) struct Stretch<'a> {
    pub(super) file: &'a str,
    pub(super) offset: u64,
}

/// Returns the elements as a file holds them. Memory is shared where that has the same form.
pub(super) fn raw(tensor: &Tensor) -> Bytes {
    match per_byte(tensor.dtype()) {
        1 => Bytes::from_owner(Memory(tensor.clone())),
        _ => Bytes::from(pack(tensor.dtype(), tensor.bytes())),
    }
}

/// Describes a tensor with its elements.
pub(super) fn inline(name: &str, tensor: &Tensor) -> TensorProto {
    let mut proto = described(name, tensor.dtype(), tensor.shape());
    if tensor.dtype() == DType::Bytes {
        let strings = tensor.byte_strings().into_iter();
        proto.string_data = strings.map(Bytes::copy_from_slice).collect();
    } else {
        proto.raw_data = raw(tensor);
    }
    proto
}

/// Describes a tensor whose elements lie in another file.
pub(super) fn external(
    name: &str,
    tensor: &Tensor,
    length: usize,
    at: &Stretch<'_>,
) -> TensorProto {
    /// Number of the place "in another file".
    const EXTERNAL: i32 = 1;
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: key.to_owned(),
        value,
    };
    TensorProto {
        data_location: EXTERNAL,
        external_data: vec![
            entry("location", at.file.to_owned()),
            entry("offset", at.offset.to_string()),
            entry("length", length.to_string()),
        ],
        ..described(name, tensor.dtype(), tensor.shape())
    }
}

/// Returns a tensor of one element; `None` for a dtype of which no number is read.
pub(super) fn single(dtype: DType, value: f64) -> Option<TensorProto> {
    numbers(dtype, &[value])
}

/// Returns a list of numbers that were read from elements of the dtype; `None` for one of which none is read.
pub(super) fn numbers(dtype: DType, values: &[f64]) -> Option<TensorProto> {
    let elements: Option<Vec<_>> = values.iter().map(|&value| element(dtype, value)).collect();
    let list = Tensor::copy_of(dtype, vec![values.len()], &elements?.concat()).ok()?;
    Some(inline("", &list))
}

fn element(dtype: DType, value: f64) -> Option<Vec<u8>> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the value was read from an element of the dtype"
    )]
    Some(match dtype {
        DType::Bool | DType::U8 | DType::U4 | DType::U2 => vec![value as u8],
        DType::I8 | DType::I4 | DType::I2 => (value as i8).to_le_bytes().to_vec(),
        DType::U16 => (value as u16).to_le_bytes().to_vec(),
        DType::I16 => (value as i16).to_le_bytes().to_vec(),
        DType::U32 => (value as u32).to_le_bytes().to_vec(),
        DType::I32 => (value as i32).to_le_bytes().to_vec(),
        DType::U64 => (value as u64).to_le_bytes().to_vec(),
        DType::I64 => (value as i64).to_le_bytes().to_vec(),
        DType::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        DType::F32 => (value as f32).to_le_bytes().to_vec(),
        DType::F64 => value.to_le_bytes().to_vec(),
        DType::F4E2M1
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::Bytes => return None,
    })
}

fn described(name: &str, dtype: DType, shape: &[usize]) -> TensorProto {
    let dims = shape
        .iter()
        .map(|&size| i64::try_from(size).unwrap_or(i64::MAX));
    TensorProto {
        name: name.to_owned(),
        data_type: number(dtype),
        dims: dims.collect(),
        ..TensorProto::default()
    }
}
