//! Payloads, encoded and decoded: elements to bytes on a wire and back.
//!
//! Invariants: what an encoding loses is rounding, and that only where it narrows; a payload that somebody else has made is
//! either exactly the elements that were announced or an error; unpacked it takes no more than [`RATIO_MAX`] times its own size, nor
//! more than a frame may have, and widened twice that, which is asked for once it has been unpacked.

use bytemuck::{Pod, Zeroable};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::tensormq::FRAME_BYTES_MAX;
use crate::types::{
    AlignedBytes, Compress, DType, Encoding, Narrow, Tensor, TensorError, byte_count,
};

/// Bytes that one byte of a compressed payload stands for at most: what the format of LZ4 allows. Zstandard would go further
/// for elements that are all the same, and is filled up.
pub const RATIO_MAX: usize = 255;

/// Fast, and higher ones gain activations next to nothing.
const ZSTD_LEVEL: i32 = 1;
/// Begins a frame that every decoder of Zstandard passes over; its length follows, `u32`.
const ZSTD_SKIPPABLE: u32 = 0x184d_2a50;

/// Why a payload is not what was announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    #[error("{encoding} is no encoding of {dtype}")]
    Unfit { encoding: Encoding, dtype: DType },
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("{bytes} bytes are announced, at most {max} are allowed")]
    TooLarge { bytes: usize, max: usize },
    #[error("{payload} bytes are announced to hold {bytes}, more than {RATIO_MAX} for each")]
    Ratio { payload: usize, bytes: usize },
    #[error("{seen} bytes came out, expected {expected}")]
    Length { expected: usize, seen: usize },
    #[error("it is not {}: {cause}", compress.name())]
    Compressed { compress: Compress, cause: String },
}

/// Encodes payloads, with the memory that this takes.
#[derive(Default)]
pub struct PayloadEncoder {
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for PayloadEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadEncoder").finish_non_exhaustive()
    }
}

impl PayloadEncoder {
    /// Returns a tensor's payload in an encoding, whether or not that is smaller; `None` if the tensor has no such form.
    pub fn encode(&mut self, tensor: &Tensor, encoding: Encoding) -> Option<Vec<u8>> {
        if encoding != encoding.for_dtype(tensor.dtype()) {
            return None;
        }
        let narrowed = encoding.narrow.map(|to| narrow(tensor.bytes(), to));
        match encoding.compress {
            Some(how) => self.compress(narrowed.as_deref().unwrap_or(tensor.bytes()), how),
            None => Some(narrowed.unwrap_or_else(|| tensor.bytes().to_vec())),
        }
    }

    /// Returns the compressed bytes, or `None` if they cannot be compressed.
    pub(super) fn compress(&mut self, plain: &[u8], how: Compress) -> Option<Vec<u8>> {
        match how {
            Compress::Lz4 => Some(lz4_flex::block::compress(plain)),
            Compress::Zstd => {
                let zstd = match &mut self.zstd {
                    Some(zstd) => zstd,
                    none => none.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?),
                };
                let mut packed = zstd.compress(plain).ok()?;
                fill_up(&mut packed, plain.len().div_ceil(RATIO_MAX))?;
                Some(packed)
            }
        }
    }
}

/// Appends to frames of Zstandard what has no meaning, up to a length.
fn fill_up(packed: &mut Vec<u8>, length: usize) -> Option<()> {
    if packed.len() < length {
        let filler = (length - packed.len()).saturating_sub(8);
        packed.extend_from_slice(&ZSTD_SKIPPABLE.to_le_bytes());
        packed.extend_from_slice(&u32::try_from(filler).ok()?.to_le_bytes());
        packed.resize(packed.len() + filler, 0);
    }
    Some(())
}

/// Rounds FP32 elements to a narrower type.
pub(super) fn narrow(elements: &[u8], to: Narrow) -> Vec<u8> {
    match to {
        Narrow::F16 => rounded::<f16>(elements, |to, from| to.convert_from_f32_slice(from)),
        Narrow::BF16 => rounded::<bf16>(elements, |to, from| to.convert_from_f32_slice(from)),
    }
}

fn rounded<T: Pod + Zeroable>(elements: &[u8], round: impl Fn(&mut [T], &[f32])) -> Vec<u8> {
    // Tensors lie aligned; what does not is copied rather than refused.
    let copied: Vec<f32>;
    let from: &[f32] = match bytemuck::try_cast_slice(elements) {
        Ok(from) => from,
        Err(_) => {
            copied = elements
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            &copied
        }
    };
    let mut narrowed = vec![0; from.len() * size_of::<T>()];
    match bytemuck::try_cast_slice_mut(&mut narrowed) {
        Ok(to) => round(to, from),
        Err(_) => {
            let mut to = vec![T::zeroed(); from.len()];
            round(&mut to, from);
            narrowed.copy_from_slice(bytemuck::cast_slice(&to));
        }
    }
    narrowed
}

fn widen(narrowed: &[u8], from: Narrow, elements: &mut [u8]) {
    match from {
        Narrow::F16 => widened::<f16>(narrowed, elements, |from, to| from.convert_to_f32_slice(to)),
        Narrow::BF16 => {
            widened::<bf16>(narrowed, elements, |from, to| from.convert_to_f32_slice(to));
        }
    }
}

/// Writes the elements, which lie aligned.
fn widened<T: Pod>(narrowed: &[u8], elements: &mut [u8], write: impl Fn(&[T], &mut [f32])) {
    let elements = bytemuck::cast_slice_mut(elements);
    match bytemuck::try_cast_slice(narrowed) {
        Ok(from) => write(from, elements),
        Err(_) => {
            let chunks = narrowed.chunks_exact(size_of::<T>());
            let from: Vec<T> = chunks.map(bytemuck::pod_read_unaligned).collect();
            write(&from, elements);
        }
    }
}

/// Returns the elements of a tensor of the dtype and shape, if the payload is exactly those in the encoding.
pub fn decode_payload(
    payload: &[u8],
    dtype: DType,
    shape: &[usize],
    encoding: Encoding,
) -> Result<AlignedBytes, EncodingError> {
    if encoding != encoding.for_dtype(dtype) {
        return Err(EncodingError::Unfit { encoding, dtype });
    }
    let bytes = byte_count(dtype, shape).map_err(TensorError::from)?;
    if bytes > FRAME_BYTES_MAX {
        let max = FRAME_BYTES_MAX;
        return Err(EncodingError::TooLarge { bytes, max });
    }
    let packed = match encoding.narrow {
        Some(_) => bytes / 2,
        None => bytes,
    };
    let length = |seen| {
        let expected = packed;
        (seen == expected)
            .then_some(())
            .ok_or(EncodingError::Length { expected, seen })
    };
    match (encoding.compress, encoding.narrow) {
        (None, None) => {
            length(payload.len())?;
            Ok(AlignedBytes::copy_of(payload))
        }
        (None, Some(from)) => {
            length(payload.len())?;
            let mut elements = AlignedBytes::zeroed(bytes);
            widen(payload, from, elements.as_mut_slice());
            Ok(elements)
        }
        (Some(compress), narrow) => {
            if packed > payload.len().saturating_mul(RATIO_MAX) {
                let payload = payload.len();
                let bytes = packed;
                return Err(EncodingError::Ratio { payload, bytes });
            }
            // Its pages are the process's as they are written, by what the payload really holds.
            let mut unpacked = AlignedBytes::zeroed(packed);
            length(unpack(payload, compress, unpacked.as_mut_slice())?)?;
            let Some(from) = narrow else {
                return Ok(unpacked);
            };
            let mut elements = AlignedBytes::zeroed(bytes);
            widen(unpacked.as_mut_slice(), from, elements.as_mut_slice());
            Ok(elements)
        }
    }
}

/// Fills memory with what was compressed; returns how much that was. What does not fit is an error.
fn unpack(payload: &[u8], compress: Compress, to: &mut [u8]) -> Result<usize, EncodingError> {
    let failed = |cause: String| EncodingError::Compressed { compress, cause };
    match compress {
        Compress::Lz4 => {
            lz4_flex::block::decompress_into(payload, to).map_err(|error| failed(error.to_string()))
        }
        Compress::Zstd => {
            zstd::bulk::decompress_to_buffer(payload, to).map_err(|error| failed(error.to_string()))
        }
    }
}
