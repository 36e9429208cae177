//! Tensors crossing between ONNX Runtime and the rest of the program.

use std::fmt;
use std::sync::Arc;

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, Shape, Tensor as Owned, TensorRef};

use crate::types::{DType, HostMemory, Tensor, TensorError};

/// Why a tensor does not cross.
#[derive(Debug, thiserror::Error)]
pub(super) enum CrossError {
    #[error("datatype {0} is not one that ONNX Runtime is given here")]
    DType(DType),
    #[error("element {0} is no UTF-8, which strings of ONNX Runtime are")]
    Utf8(usize),
    #[error(transparent)]
    Runtime(#[from] ort::Error),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Runs an expression with `$type` set to the element type of a dtype of fixed size.
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr, else $other:expr) => {
        match $dtype {
            DType::U8 => {
                type $type = u8;
                $body
            }
            DType::U16 => {
                type $type = u16;
                $body
            }
            DType::U32 => {
                type $type = u32;
                $body
            }
            DType::U64 => {
                type $type = u64;
                $body
            }
            DType::I8 => {
                type $type = i8;
                $body
            }
            DType::I16 => {
                type $type = i16;
                $body
            }
            DType::I32 => {
                type $type = i32;
                $body
            }
            DType::I64 => {
                type $type = i64;
                $body
            }
            DType::F16 => {
                type $type = f16;
                $body
            }
            DType::BF16 => {
                type $type = bf16;
                $body
            }
            DType::F32 => {
                type $type = f32;
                $body
            }
            DType::F64 => {
                type $type = f64;
                $body
            }
            _ => $other,
        }
    };
}

/// Makes an input over the memory of `tensor`.
pub(super) fn input(tensor: &Tensor) -> Result<SessionInputValue<'_>, CrossError> {
    match tensor.dtype() {
        DType::Bool => {
            let shape = tensor.shape().to_vec();
            let flags: &[bool] = bytemuck::checked::try_cast_slice(tensor.bytes())
                .map_err(|_| CrossError::DType(DType::Bool))?;
            Ok(TensorRef::from_array_view((shape, flags))?.into())
        }
        DType::Bytes => strings(tensor),
        dtype => {
            with_element!(dtype, T => numbers::<T>(tensor), else Err(CrossError::DType(dtype)))
        }
    }
}

fn numbers<T>(tensor: &Tensor) -> Result<SessionInputValue<'_>, CrossError>
where
    T: PrimitiveTensorElementType + AnyBitPattern + NoUninit + fmt::Debug + 'static,
{
    let shape = tensor.shape().to_vec();
    Ok(match bytemuck::try_cast_slice::<u8, T>(tensor.bytes()) {
        Ok(elements) => TensorRef::from_array_view((shape, elements))?.into(),
        // Memory that is not aligned to the element.
        Err(_) => {
            let elements: Vec<T> = bytemuck::pod_collect_to_vec(tensor.bytes());
            Owned::from_array((shape, elements))?.into()
        }
    })
}

fn strings(tensor: &Tensor) -> Result<SessionInputValue<'_>, CrossError> {
    let mut texts = Vec::new();
    for (index, bytes) in tensor.byte_strings().into_iter().enumerate() {
        let text = str::from_utf8(bytes).map_err(|_| CrossError::Utf8(index))?;
        texts.push(text.to_owned());
    }
    let shape = tensor.shape().to_vec();
    Ok(Owned::from_string_array((shape, texts.as_slice()))?.into())
}

/// Turns an output into a tensor over its memory.
pub(super) fn output(value: DynValue, dtype: DType) -> Result<Tensor, CrossError> {
    match dtype {
        DType::Bytes => {
            let (shape, texts) = value.try_extract_strings()?;
            Ok(Tensor::from_byte_strings(sizes(shape), &texts)?)
        }
        DType::Bool => {
            let shape = sizes(value.try_extract_tensor::<bool>()?.0);
            wrap::<bool>(value, dtype, shape)
        }
        dtype => with_element!(dtype, T => {
            let shape = sizes(value.try_extract_tensor::<T>()?.0);
            wrap::<T>(value, dtype, shape)
        }, else Err(CrossError::DType(dtype))),
    }
}

fn sizes(shape: &Shape) -> Vec<usize> {
    // Of a computed tensor no size is negative.
    shape
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(0))
        .collect()
}

fn wrap<T>(value: DynValue, dtype: DType, shape: Vec<usize>) -> Result<Tensor, CrossError>
where
    T: PrimitiveTensorElementType + NoUninit + fmt::Debug + 'static,
{
    let memory: Arc<dyn HostMemory> = Arc::new(Output::<T> {
        value,
        element: std::marker::PhantomData,
    });
    Ok(Tensor::new(dtype, shape, memory)?)
}

/// Memory of an output, owned by ONNX Runtime's value.
struct Output<T> {
    value: DynValue,
    element: std::marker::PhantomData<fn() -> T>,
}

impl<T: PrimitiveTensorElementType + NoUninit + fmt::Debug + 'static> HostMemory for Output<T> {
    fn bytes(&self) -> &[u8] {
        let extracted = self.value.try_extract_tensor::<T>();
        // `output` extracted the same elements before.
        extracted.map_or(&[], |(_, elements)| bytemuck::cast_slice(elements))
    }
}

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory of ONNX Runtime")
    }
}
