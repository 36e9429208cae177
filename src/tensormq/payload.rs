//! What stands behind a header: the tensors, in the form in which they travel.

use std::ops::AddAssign;
use std::sync::Arc;

use crate::types::{
    AlignedBytes, DType, Encoding, HostMemory, Order, PoolPlace, Shape, Tensor, TensorError,
};

use super::envelope::Description;
use super::frame::Reader;
use super::wire;
use super::{LinkError, PoolRange, SlotId, SlotRange};

/// How the payload of a tensor travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// A frame that is a reference to the tensor; within one process only.
    Handle,
    /// A frame of the elements, in the order that goes with it.
    Bytes,
    /// No frame: the elements lie in the producer's arena, in the order that goes with it; within one host only.
    Slot(SlotRange),
    /// No frame: the elements lie row-major in a pool of the producer's device, which the consumer has mapped; a slot of the
    /// arena says so, too.
    Pool(PoolRange),
    /// A frame of the elements, row-major, in an encoding other than the plain one; between hosts.
    Encoded(Encoding),
}

/// The payload of one tensor as it came.
#[derive(Debug, Clone)]
pub enum Payload {
    Handle(Tensor),
    Bytes(Arc<dyn HostMemory>),
    Slot(Arc<dyn HostMemory>),
    /// Memory of this process that is filled from a pool.
    Pool(Tensor),
}

/// Payload bytes that a link moved; handles move none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Of tensors that were sent or received in frames, as they are in memory.
    pub bytes: u64,
    /// What those frames had: fewer where they were encoded.
    pub framed: u64,
    /// Sent or received in slots.
    pub lent: u64,
    /// Sent or received in memory of a device.
    pub shown: u64,
    /// Tensors of a device, not bytes, that went through the host because a pool had no room for them or was not there.
    pub fallen_back: u64,
    /// Those that this program copied itself: into slots, or because they lay where their dtype cannot be read.
    pub copied: u64,
}

impl AddAssign for Moved {
    fn add_assign(&mut self, more: Self) {
        self.bytes += more.bytes;
        self.framed += more.framed;
        self.lent += more.lent;
        self.shown += more.shown;
        self.fallen_back += more.fallen_back;
        self.copied += more.copied;
    }
}

impl Form {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Handle => 0,
            Self::Bytes => 1,
            Self::Slot(_) => 2,
            Self::Encoded(_) => 3,
            Self::Pool(_) => 4,
        }
    }

    /// Reads what follows the code.
    pub(super) fn read(code: u8, reader: &mut Reader<'_>) -> Result<Self, LinkError> {
        match code {
            0 => Ok(Self::Handle),
            1 => Ok(Self::Bytes),
            2 => Ok(Self::Slot(SlotRange {
                slot: reader.slot()?,
                start: reader.u64()?,
                length: reader.u64()?,
            })),
            4 => {
                let slot = reader.slot()?;
                let place = PoolPlace {
                    offset: reader.u64()?,
                    length: reader.u64()?,
                    event: reader.u16()?,
                };
                reader.zeros(6)?;
                Ok(Self::Pool(PoolRange { slot, place }))
            }
            3 => {
                let code = reader.u8()?;
                reader.zeros(7)?;
                let encoding = Encoding::ALL.get(usize::from(code)).copied();
                let encoding = encoding.filter(|encoding| !encoding.is_plain());
                encoding.map(Self::Encoded).ok_or(LinkError::Field {
                    field: "encoding",
                    seen: code.into(),
                })
            }
            _ => Err(LinkError::Field {
                field: "form",
                seen: code.into(),
            }),
        }
    }

    /// Writes what follows the code.
    pub(super) fn write(self, frame: &mut Vec<u8>) {
        match self {
            Self::Handle | Self::Bytes => {}
            Self::Slot(range) => {
                let SlotId { offset, generation } = range.slot;
                for number in [offset, generation, range.start, range.length] {
                    frame.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::Pool(PoolRange { slot, place }) => {
                for number in [slot.offset, slot.generation, place.offset, place.length] {
                    frame.extend_from_slice(&number.to_le_bytes());
                }
                frame.extend_from_slice(&place.event.to_le_bytes());
                frame.extend_from_slice(&[0; 6]);
            }
            Self::Encoded(encoding) => {
                let known = Encoding::ALL.iter().position(|one| *one == encoding);
                frame.extend_from_slice(&[known.unwrap_or_default() as u8, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
    }
}

impl Payload {
    /// Returns the tensor that a header describes, if this is it.
    pub(super) fn claim(
        self,
        index: usize,
        is: Description,
        moved: &mut Moved,
    ) -> Result<Tensor, LinkError> {
        let Description {
            dtype,
            shape,
            order,
            form,
            ..
        } = is;
        let seen = match (&self, form) {
            (Self::Handle(_), _) => Form::Handle,
            (Self::Slot(_), Form::Slot(_))
            | (Self::Bytes(_), Form::Encoded(_))
            | (Self::Pool(_), Form::Pool(_)) => form,
            (Self::Bytes(_) | Self::Slot(_) | Self::Pool(_), _) => Form::Bytes,
        };
        if seen != form {
            return Err(LinkError::Form {
                index,
                announced: form,
                seen,
            });
        }
        match self {
            Self::Pool(tensor) => {
                moved.shown += tensor.byte_count() as u64;
                Ok(tensor)
            }
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
            Self::Bytes(memory) | Self::Slot(memory) => {
                let bytes = memory.byte_count() as u64;
                let wrong = |cause| LinkError::Payload { index, cause };
                match form {
                    Form::Slot(_) => moved.lent += bytes,
                    Form::Encoded(encoding) => {
                        let elements =
                            wire::decode_payload(memory.bytes(), dtype, &shape, encoding)
                                .map_err(|cause| LinkError::Encoded { index, cause })?;
                        moved.bytes += elements.byte_count() as u64;
                        moved.framed += bytes;
                        return Tensor::new(dtype, shape, Arc::new(elements)).map_err(wrong);
                    }
                    Form::Handle | Form::Bytes | Form::Pool(_) => {
                        moved.bytes += bytes;
                        moved.framed += bytes;
                    }
                }
                over(memory, dtype, shape, order, moved).map_err(wrong)
            }
        }
    }
}

/// Returns the tensor over memory that came from elsewhere; the memory is copied if it lies across its elements.
fn over(
    memory: Arc<dyn HostMemory>,
    dtype: DType,
    shape: Shape,
    order: Option<Order>,
    moved: &mut Moved,
) -> Result<Tensor, TensorError> {
    let mut memory = memory;
    if lies_across(memory.bytes(), dtype) {
        // Not before the length is checked.
        Tensor::new(dtype, shape.clone(), memory.clone())?;
        moved.copied += memory.byte_count() as u64;
        memory = Arc::new(AlignedBytes::copy_of(memory.bytes()));
    }
    match order {
        Some(order) => Tensor::in_order(dtype, shape, order, memory),
        None => Tensor::new(dtype, shape, memory),
    }
}

/// Tells whether elements of the dtype cannot be read where the bytes lie.
fn lies_across(bytes: &[u8], dtype: DType) -> bool {
    let alignment = dtype.size().unwrap_or(1);
    !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(alignment)
}
