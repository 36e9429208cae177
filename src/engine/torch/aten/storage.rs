//! Dtypes that libtorch cannot compute with, kept in ones that it can.
//!
//! | dtype | kept as | so that |
//! |---|---|---|
//! | UINT16, UINT32 | INT32, INT64 | every value fits; results that do not are wrapped |
//! | UINT64 | INT64 of the same bits | sums and products are right; order and quotients need care |
//! | INT2, INT4 and UINT2, UINT4 | INT8 and UINT8 | every value fits |
//! | narrow floats | FP32 | every value is exact; rounding happens where a model converts |

use std::sync::Arc;

use tch::Tensor;

use crate::types::{self, AlignedBytes, DType};

use super::super::cause::Cause;
use super::super::ffi::scalar;
use super::args::{Kernel, Outputs};
use super::context::NodeContext;
use super::datum::Datum;
use super::narrow::{Format, Rounding};

/// Tells whether libtorch computes with the dtype as it is.
pub(super) fn is_native(dtype: DType) -> bool {
    kept_as(dtype) == dtype
}

/// Returns the dtype in which a run keeps values of `dtype`.
pub(super) const fn kept_as(dtype: DType) -> DType {
    match dtype {
        DType::U16 => DType::I32,
        DType::U32 | DType::U64 => DType::I64,
        DType::U2 | DType::U4 => DType::U8,
        DType::I2 | DType::I4 => DType::I8,
        _ if dtype.is_narrow_float() => DType::F32,
        _ => dtype,
    }
}

/// Returns the values in the dtype that a run keeps them in, in aligned memory of their own.
pub(super) fn copied(tensor: &types::Tensor) -> Result<types::Tensor, Cause> {
    if !is_native(tensor.dtype()) {
        return decode(tensor);
    }
    retyped(tensor, tensor.dtype(), tensor.bytes())
}

/// Returns the values in the dtype that a run keeps them in.
pub(super) fn decode(tensor: &types::Tensor) -> Result<types::Tensor, Cause> {
    let bytes = tensor.bytes();
    let wide: Vec<u8> = match tensor.dtype() {
        DType::U16 => each(bytes, |two| {
            i32::from(u16::from_le_bytes(two)).to_le_bytes()
        }),
        DType::U32 => each(bytes, |four| {
            i64::from(u32::from_le_bytes(four)).to_le_bytes()
        }),
        dtype => match Format::of(dtype) {
            Some(format) => {
                let numbers = format.table();
                each(bytes, |[code]| numbers[usize::from(code)].to_le_bytes())
            }
            None => bytes.to_vec(),
        },
    };
    retyped(tensor, kept_as(tensor.dtype()), &wide)
}

/// Returns values of `dtype` from what a run kept of them. What does not fit wraps around.
pub(super) fn encode(kept: &types::Tensor, dtype: DType) -> Result<types::Tensor, Cause> {
    if kept.dtype() != kept_as(dtype) {
        return Err(Cause::new(format!(
            "result is {}, expected {dtype} kept as {}",
            kept.dtype(),
            kept_as(dtype)
        )));
    }
    let bytes = kept.bytes();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "wraps around, as arithmetic of the type does"
    )]
    let narrow: Vec<u8> = match dtype {
        DType::U16 => each(bytes, |four| {
            (i32::from_le_bytes(four) as u16).to_le_bytes()
        }),
        DType::U32 => each(bytes, |eight| {
            (i64::from_le_bytes(eight) as u32).to_le_bytes()
        }),
        dtype => match Format::of(dtype) {
            Some(format) => each(bytes, |four| {
                [format.encode(f32::from_le_bytes(four).into(), Rounding::EXACT)]
            }),
            None => bytes.to_vec(),
        },
    };
    retyped(kept, dtype, &narrow)
}

/// Brings what a kernel computed back into the range of `dtype`, as arithmetic of the type does.
pub(super) fn wrap(kept: Tensor, dtype: DType) -> Result<Tensor, Cause> {
    match dtype {
        DType::U2 => scalar::bitwise_and(&kept, 0x3),
        DType::U4 => scalar::bitwise_and(&kept, 0xF),
        DType::U16 => scalar::bitwise_and(&kept, 0xFFFF),
        DType::U32 => scalar::bitwise_and(&kept, 0xFFFF_FFFF),
        DType::I2 => scalar::shift_right(&scalar::shift_left(&kept, 6)?, 6),
        DType::I4 => scalar::shift_right(&scalar::shift_left(&kept, 4)?, 4),
        _ => Ok(kept),
    }
}

/// Makes a kernel wrap results that do not fit the dtypes of the node's outputs.
pub(super) fn wrapping(context: &NodeContext<'_>, kernel: Kernel) -> Kernel {
    use DType::{I2, I4, U2, U4, U16, U32};
    let dtypes: Vec<Option<DType>> = (0..context.outputs())
        .map(|output| context.output_dtype(output))
        .collect();
    let can_overflow = |dtype: &Option<DType>| matches!(dtype, Some(I2 | I4 | U2 | U4 | U16 | U32));
    if !dtypes.iter().any(can_overflow) {
        return kernel;
    }
    let wrapped = move |(datum, dtype): (Datum, &Option<DType>)| match (datum, dtype) {
        (Datum::Tensor(kept), Some(dtype)) => wrap(kept, *dtype).map(Datum::Tensor),
        (other, _) => Ok(other),
    };
    Box::new(move |args| {
        let data = match kernel(args)? {
            Outputs::One(datum) => vec![datum],
            Outputs::Many(data) => data,
        };
        let data = data.into_iter().zip(&dtypes).map(wrapped);
        Ok(Outputs::Many(data.collect::<Result<_, Cause>>()?))
    })
}

fn each<const FROM: usize, const TO: usize>(
    bytes: &[u8],
    convert: impl Fn([u8; FROM]) -> [u8; TO],
) -> Vec<u8> {
    let (elements, _) = bytes.as_chunks();
    elements
        .iter()
        .flat_map(|element| convert(*element))
        .collect()
}

fn retyped(tensor: &types::Tensor, dtype: DType, bytes: &[u8]) -> Result<types::Tensor, Cause> {
    let memory = Arc::new(AlignedBytes::copy_of(bytes));
    types::Tensor::new(dtype, tensor.shape().to_vec(), memory)
        .map_err(|error| Cause::new(error.to_string()))
}
