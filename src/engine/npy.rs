//! Tensors from and to `.npy` files.
//!
//! The header is npyz's to read and write; the elements are moved as bytes, so that every dtype takes one path.
//! Whatever a file holds, the tensor is little-endian and row-major.

use std::fs;
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use npyz::{Endianness, NpyHeader, Order, TypeChar, TypeStr, WriterBuilder};

use crate::types::{DType, Shape, Tensor, TensorError, byte_count};

/// Bytes of the longest fixed part in front of the header's text: magic, version, length.
const PREAMBLE_BYTES: usize = 12;

/// A file that holds no usable array, or an archive of none, or a tensor that fits no such file.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is no .npy file: {cause}", path = path.display())]
    Header { path: PathBuf, cause: String },
    #[error(
        "{path} holds elements of type {seen}; expected one of |b1 |u1 |i1 i2 i4 i8 f2 f4 f8",
        path = path.display()
    )]
    ElementType { path: PathBuf, seen: String },
    #[error("{path} is cut short or too long: shape {shape:?} of {dtype} takes {expected} bytes, found {seen}", path = path.display())]
    Length {
        path: PathBuf,
        dtype: DType,
        shape: Shape,
        expected: usize,
        seen: usize,
    },
    #[error("{path} holds an unusable array: {source}", path = path.display())]
    Tensor { path: PathBuf, source: TensorError },
    #[error("cannot write {path}: NumPy has no element type for {dtype}", path = path.display())]
    Unwritable { path: PathBuf, dtype: DType },
    #[error("{path} is no usable .npz file: {cause}", path = path.display())]
    Archive { path: PathBuf, cause: String },
    #[error("{path} takes more than {bytes_max} bytes", path = path.display())]
    TooLarge { path: PathBuf, bytes_max: u64 },
}

/// Reads an array; big-endian and Fortran-ordered ones are converted.
pub fn read_npy(path: &Path) -> Result<Tensor, NpyError> {
    let file = fs::read(path).map_err(|source| NpyError::Read {
        path: path.to_owned(),
        source,
    })?;
    decode(path, &file)
}

/// Writes a tensor in C order, little-endian.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<(), NpyError> {
    let dtype = type_string(tensor.dtype())
        .and_then(|text| text.parse::<TypeStr>().ok())
        .ok_or_else(|| NpyError::Unwritable {
            path: path.to_owned(),
            dtype: tensor.dtype(),
        })?;
    let shape: Vec<u64> = tensor.shape().iter().map(|&size| size as u64).collect();
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        npyz::WriteOptions::new_header_only()
            .dtype(npyz::DType::Plain(dtype))
            .shape(&shape)
            .writer(&mut file)
            .write_header_only()?;
        file.write_all(tensor.bytes())?;
        file.flush()
    };
    write().map_err(|source| NpyError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Reads an array from the bytes of a file, which errors name by `path`.
pub(super) fn decode(path: &Path, file: &[u8]) -> Result<Tensor, NpyError> {
    let header_error = |cause: String| NpyError::Header {
        path: path.to_owned(),
        cause,
    };
    check_header_length(file).map_err(header_error)?;
    let mut cursor = Cursor::new(file);
    let header =
        NpyHeader::from_reader(&mut cursor).map_err(|error| header_error(error.to_string()))?;
    let (dtype, big_endian) =
        element_type(&header.dtype()).ok_or_else(|| NpyError::ElementType {
            path: path.to_owned(),
            seen: header.dtype().descr(),
        })?;
    let shape = header
        .shape()
        .iter()
        .map(|&size| usize::try_from(size))
        .collect::<Result<Shape, _>>()
        .map_err(|_| {
            header_error(format!(
                "shape {:?} is larger than this machine",
                header.shape()
            ))
        })?;
    let tensor_error = |source| NpyError::Tensor {
        path: path.to_owned(),
        source,
    };
    let expected = byte_count(dtype, &shape).map_err(|error| tensor_error(error.into()))?;
    let body = usize::try_from(cursor.position())
        .ok()
        .and_then(|start| file.get(start..))
        .unwrap_or(&[]);
    if body.len() != expected {
        return Err(NpyError::Length {
            path: path.to_owned(),
            dtype,
            shape,
            expected,
            seen: body.len(),
        });
    }
    let size = dtype.size().unwrap_or(1);
    let mut elements = match header.order() {
        Order::C => body.to_vec(),
        Order::Fortran => row_major(body, &shape, size),
    };
    if big_endian {
        elements.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    if dtype == DType::Bool {
        elements
            .iter_mut()
            .for_each(|byte| *byte = u8::from(*byte != 0));
    }
    Tensor::copy_of(dtype, shape, &elements).map_err(tensor_error)
}

/// Refuses a header longer than its file, for which npyz would allocate what the header claims.
fn check_header_length(file: &[u8]) -> Result<(), String> {
    let Some(preamble) = file.get(..PREAMBLE_BYTES) else {
        return Err(format!("{} bytes are too few", file.len()));
    };
    if !preamble.starts_with(b"\x93NUMPY") {
        return Err("it does not begin with the NumPy magic bytes".to_owned());
    }
    let claimed = match preamble[6] {
        1 => u32::from(u16::from_le_bytes([preamble[8], preamble[9]])),
        _ => u32::from_le_bytes([preamble[8], preamble[9], preamble[10], preamble[11]]),
    };
    if claimed as usize > file.len() {
        return Err(format!(
            "its header claims {claimed} bytes in a file of {}",
            file.len()
        ));
    }
    let text =
        &file[PREAMBLE_BYTES - 2..][..(claimed as usize).min(file.len() - PREAMBLE_BYTES + 2)];
    if product(text).is_none() {
        return Err("its header claims more than any machine holds".to_owned());
    }
    Ok(())
}

/// Returns the product of all numbers of a text but zeros, the sizes of a shape among them. The library multiplies those
/// without looking whether the result fits.
fn product(text: &[u8]) -> Option<u64> {
    let numbers = text.split(|byte| !byte.is_ascii_digit());
    let mut numbers = numbers.filter(|digits| digits.iter().any(|digit| *digit != b'0'));
    numbers.try_fold(1_u64, |product, digits| {
        let number = str::from_utf8(digits).ok()?.parse().ok()?;
        product.checked_mul(number)
    })
}

/// Returns the dtype and whether its bytes stand in big-endian order.
fn element_type(dtype: &npyz::DType) -> Option<(DType, bool)> {
    let npyz::DType::Plain(text) = dtype else {
        return None;
    };
    let dtype = match (text.type_char(), text.size_field()) {
        (TypeChar::Bool, 1) => DType::Bool,
        (TypeChar::Uint, 1) => DType::U8,
        (TypeChar::Uint, 2) => DType::U16,
        (TypeChar::Uint, 4) => DType::U32,
        (TypeChar::Uint, 8) => DType::U64,
        (TypeChar::Int, 1) => DType::I8,
        (TypeChar::Int, 2) => DType::I16,
        (TypeChar::Int, 4) => DType::I32,
        (TypeChar::Int, 8) => DType::I64,
        (TypeChar::Float, 2) => DType::F16,
        (TypeChar::Float, 4) => DType::F32,
        (TypeChar::Float, 8) => DType::F64,
        _ => return None,
    };
    Some((dtype, text.endianness() == Endianness::Big))
}

const fn type_string(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        _ => return None,
    })
}

/// Reorders column-major elements of `size` bytes. `body` holds exactly the elements of `shape`.
fn row_major(body: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let strides: Vec<usize> = shape
        .iter()
        .scan(size, |stride, &dim| {
            let current = *stride;
            *stride *= dim;
            Some(current)
        })
        .collect();
    let mut index = vec![0_usize; shape.len()];
    let mut result = Vec::with_capacity(body.len());
    while result.len() < body.len() {
        let offset: usize = index
            .iter()
            .zip(&strides)
            .map(|(at, stride)| at * stride)
            .sum();
        result.extend_from_slice(&body[offset..offset + size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    result
}
