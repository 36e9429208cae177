//! Tensors of a model file: their claims checked against the data that is there.

use std::sync::Arc;

use crate::types::{
    AlignedBytes, DType, HostMemory, RANK_MAX, Shape, Tensor, byte_count, element_count,
};

use super::dtype::dtype;
use super::external::Files;
use super::packed::{packed_length, per_byte, unpack};
use super::proto::TensorProto;
use crate::graph::build::{check_truth_values, in_file};
use crate::graph::{Defect, Initializer};

/// Reads one tensor. Its name is for messages, as that of an attribute's tensor is often empty.
pub(super) fn read(
    proto: &TensorProto,
    name: &str,
    files: &mut Files,
) -> Result<Arc<Initializer>, Defect> {
    let dtype = dtype(proto.data_type, name)?;
    let shape = shape(&proto.dims, name)?;
    let oversized = || Defect::Oversized {
        tensor: name.to_owned(),
        shape: shape.clone(),
    };
    let count = element_count(&shape).map_err(|_| oversized())?;
    let expected = match per_byte(dtype) {
        1 if dtype == DType::Bytes => 0,
        1 => byte_count(dtype, &shape).map_err(|_| oversized())?,
        _ => packed_length(dtype, count),
    };
    let raw = match proto.data_location {
        _ if dtype == DType::Bytes => None,
        1 => Some(files.slice(name, &proto.external_data, expected)?),
        _ if !proto.raw_data.is_empty() => Some(proto.raw_data.clone()),
        _ => None,
    };
    let memory: Arc<dyn HostMemory> = match raw {
        Some(raw) => {
            check_length(name, dtype, &shape, "bytes", expected, raw.len())?;
            match per_byte(dtype) {
                1 => in_file(raw),
                _ => Arc::new(AlignedBytes::copy_of(&unpack(dtype, &raw, count))),
            }
        }
        None => typed(proto, name, dtype, &shape)?,
    };
    check_truth_values(name, dtype, memory.bytes())?;
    let tensor = Tensor::new(dtype, shape.clone(), memory).map_err(|_| oversized())?;
    Ok(Arc::new(Initializer { tensor }))
}

fn shape(dims: &[i64], tensor: &str) -> Result<Shape, Defect> {
    if dims.len() > RANK_MAX {
        return Err(Defect::Rank {
            tensor: tensor.to_owned(),
            seen: dims.len(),
            most: RANK_MAX,
        });
    }
    let sizes: Option<Shape> = dims
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect();
    sizes.ok_or_else(|| Defect::Dimensions {
        tensor: tensor.to_owned(),
        seen: dims.to_vec(),
    })
}

fn check_length(
    tensor: &str,
    dtype: DType,
    shape: &Shape,
    unit: &'static str,
    expected: usize,
    seen: usize,
) -> Result<(), Defect> {
    if seen == expected {
        return Ok(());
    }
    Err(Defect::Data {
        tensor: tensor.to_owned(),
        dtype,
        shape: shape.clone(),
        unit,
        expected,
        seen,
    })
}

/// Copies the elements out of the field that the specification assigns to the dtype.
fn typed(
    proto: &TensorProto,
    name: &str,
    dtype: DType,
    shape: &Shape,
) -> Result<Arc<dyn HostMemory>, Defect> {
    let expected = element_count(shape).map_err(|_| Defect::Oversized {
        tensor: name.to_owned(),
        shape: shape.clone(),
    })?;
    let count = |seen: usize| check_length(name, dtype, shape, "elements", expected, seen);
    let narrow = |value: i32| Defect::Element {
        tensor: name.to_owned(),
        dtype,
        seen: value.into(),
    };
    let bytes = match dtype {
        DType::F32 => {
            count(proto.float_data.len())?;
            collect(proto.float_data.iter().map(|value| value.to_le_bytes()))
        }
        DType::F64 => {
            count(proto.double_data.len())?;
            collect(proto.double_data.iter().map(|value| value.to_le_bytes()))
        }
        DType::I64 => {
            count(proto.int64_data.len())?;
            collect(proto.int64_data.iter().map(|value| value.to_le_bytes()))
        }
        DType::U64 => {
            count(proto.uint64_data.len())?;
            collect(proto.uint64_data.iter().map(|value| value.to_le_bytes()))
        }
        DType::U32 => {
            count(proto.uint64_data.len())?;
            let narrow = |value: &u64| {
                u32::try_from(*value)
                    .map(u32::to_le_bytes)
                    .map_err(|_| Defect::Element {
                        tensor: name.to_owned(),
                        dtype,
                        seen: i64::try_from(*value).unwrap_or(i64::MAX),
                    })
            };
            let elements: Vec<_> = proto
                .uint64_data
                .iter()
                .map(narrow)
                .collect::<Result<_, _>>()?;
            collect(elements.into_iter())
        }
        DType::I32 => {
            count(proto.int32_data.len())?;
            collect(proto.int32_data.iter().map(|value| value.to_le_bytes()))
        }
        // The bits of the number, as an integer.
        DType::F16 | DType::BF16 | DType::U16 => {
            count(proto.int32_data.len())?;
            narrowed(&proto.int32_data, |value| {
                u16::try_from(value)
                    .map(u16::to_le_bytes)
                    .map_err(|_| narrow(value))
            })?
        }
        DType::I16 => {
            count(proto.int32_data.len())?;
            narrowed(&proto.int32_data, |value| {
                i16::try_from(value)
                    .map(i16::to_le_bytes)
                    .map_err(|_| narrow(value))
            })?
        }
        DType::I8 => {
            count(proto.int32_data.len())?;
            narrowed(&proto.int32_data, |value| {
                i8::try_from(value)
                    .map(i8::to_le_bytes)
                    .map_err(|_| narrow(value))
            })?
        }
        DType::U2 | DType::I2 | DType::U4 | DType::I4 | DType::F4E2M1 => {
            let packed = packed_length(dtype, expected);
            check_length(
                name,
                dtype,
                shape,
                "packed elements",
                packed,
                proto.int32_data.len(),
            )?;
            let bytes = narrowed(&proto.int32_data, |value| {
                u8::try_from(value)
                    .or_else(|_| i8::try_from(value).map(i8::cast_unsigned))
                    .map(u8::to_le_bytes)
                    .map_err(|_| narrow(value))
            })?;
            unpack(dtype, &bytes, expected)
        }
        DType::U8
        | DType::Bool
        | DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0 => {
            count(proto.int32_data.len())?;
            narrowed(&proto.int32_data, |value| {
                u8::try_from(value)
                    .map(u8::to_le_bytes)
                    .map_err(|_| narrow(value))
            })?
        }
        DType::Bytes => {
            count(proto.string_data.len())?;
            let tensor = Tensor::from_byte_strings(shape.clone(), &proto.string_data);
            let tensor = tensor.map_err(|_| Defect::Oversized {
                tensor: name.to_owned(),
                shape: shape.clone(),
            })?;
            return Ok(tensor.memory().clone());
        }
    };
    Ok(Arc::new(AlignedBytes::copy_of(&bytes)))
}

fn collect<const N: usize>(elements: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    elements.flatten().collect()
}

fn narrowed<const N: usize>(
    elements: &[i32],
    narrow: impl Fn(i32) -> Result<[u8; N], Defect>,
) -> Result<Vec<u8>, Defect> {
    let parts = elements
        .iter()
        .map(|&element| narrow(element))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(collect(parts.into_iter()))
}
