//! What stands behind a header: the tensors, in the form in which they travel.

use std::sync::Arc;

use crate::types::{DType, HostMemory, Shape, Tensor, TensorError};

use super::LinkError;
use super::envelope::Description;

/// How the payload of a tensor travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A frame that is a reference to the tensor; within one process only.
    Handle,
    /// A frame of the elements, row-major.
    Bytes,
}

/// The payload of one tensor as it came.
#[derive(Debug, Clone)]
pub enum Payload {
    Handle(Tensor),
    Bytes(Arc<dyn HostMemory>),
}

/// Payload bytes that a link moved; handles move none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Sent or received in frames.
    pub bytes: u64,
    /// Of them, those that this program copied itself, as they lay where their dtype cannot be read.
    pub copied: u64,
}

impl Form {
    const ALL: [Self; 2] = [Self::Handle, Self::Bytes];

    pub(super) fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn of_code(code: u8) -> Result<Self, LinkError> {
        let form = Self::ALL.get(usize::from(code)).copied();
        form.ok_or(LinkError::Field {
            field: "form",
            seen: code.into(),
        })
    }
}

impl Payload {
    fn form(&self) -> Form {
        match self {
            Self::Handle(_) => Form::Handle,
            Self::Bytes(_) => Form::Bytes,
        }
    }

    /// Returns the tensor that a header describes, if this is it.
    pub(super) fn claim(
        self,
        index: usize,
        is: Description,
        moved: &mut Moved,
    ) -> Result<Tensor, LinkError> {
        let Description {
            dtype, shape, form, ..
        } = is;
        if form != self.form() {
            return Err(LinkError::Form {
                index,
                announced: form,
                seen: self.form(),
            });
        }
        match self {
            Self::Handle(tensor) => {
                if (tensor.dtype(), tensor.shape()) == (dtype, shape.as_slice()) {
                    return Ok(tensor);
                }
                Err(LinkError::Announced {
                    index,
                    announced: format!("{dtype}{shape:?}"),
                    seen: format!("{tensor:?}"),
                })
            }
            Self::Bytes(memory) => {
                moved.bytes += memory.byte_count() as u64;
                over(memory, dtype, shape, moved)
                    .map_err(|cause| LinkError::Payload { index, cause })
            }
        }
    }
}

/// Returns the tensor over memory that came from elsewhere; the memory is copied if it lies across its elements.
fn over(
    memory: Arc<dyn HostMemory>,
    dtype: DType,
    shape: Shape,
    moved: &mut Moved,
) -> Result<Tensor, TensorError> {
    let tensor = Tensor::new(dtype, shape.clone(), memory)?;
    if !lies_across(tensor.bytes(), dtype) {
        return Ok(tensor);
    }
    moved.copied += tensor.byte_count() as u64;
    Tensor::copy_of(dtype, shape, tensor.bytes())
}

/// Tells whether elements of the dtype cannot be read where the bytes lie.
fn lies_across(bytes: &[u8], dtype: DType) -> bool {
    let alignment = dtype.size().unwrap_or(1);
    !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(alignment)
}
