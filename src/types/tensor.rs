//! Tensors as they cross rooms: a description and shared, immutable memory.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::shape::{byte_count, element_count};
use super::{
    AlignedBytes, DType, Device, DeviceMemory, HostMemory, Order, Ordered, Parts, Remote,
    RemoteMemory, Shape, ShapeError,
};

/// A tensor over shared memory, row-major to whoever asks for its bytes. Cloning copies no payload.
///
/// The memory may be one that the host cannot read ([`Tensor::remote`]). Whoever asks for bytes has to know that it can:
/// tensors that leave a device's blocks are brought to the host first, so this is a matter of the program and not of requests.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    memory: Memory,
    offset: usize,
    length: usize,
}

#[derive(Clone)]
enum Memory {
    Host(Arc<dyn HostMemory>),
    Remote(Arc<dyn RemoteMemory>),
}

/// A description that its memory does not satisfy, or an operation the tensor does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error("{dtype} tensor of shape {shape:?} needs {expected} bytes, got {seen}")]
    Length {
        dtype: DType,
        shape: Shape,
        expected: usize,
        seen: usize,
    },
    #[error(
        "BYTES tensor of shape {shape:?} needs {expected} elements, its data holds {seen} whole ones in {bytes} bytes"
    )]
    Elements {
        shape: Shape,
        expected: usize,
        seen: usize,
        bytes: usize,
    },
    #[error(
        "{dtype} tensor of shape {shape:?} cannot lie in the order {order:?} of its dimensions"
    )]
    Order {
        dtype: DType,
        shape: Shape,
        order: Order,
    },
    #[error("rows {rows:?} lie outside of shape {shape:?}")]
    Rows { rows: Range<usize>, shape: Shape },
    #[error("tensors {first} and {second} cannot be joined along the first dimension")]
    Join { first: String, second: String },
}

impl Tensor {
    /// Wraps memory that holds exactly the elements, little-endian.
    pub fn new(
        dtype: DType,
        shape: Shape,
        memory: Arc<dyn HostMemory>,
    ) -> Result<Self, TensorError> {
        let length = memory.byte_count();
        match dtype.size() {
            Some(_) => {
                let expected = byte_count(dtype, &shape)?;
                if expected != length {
                    return Err(TensorError::Length {
                        dtype,
                        shape,
                        expected,
                        seen: length,
                    });
                }
            }
            None => {
                let expected = element_count(&shape)?;
                let seen = count_byte_strings(memory.bytes());
                if seen.is_err() || seen != Ok(expected) {
                    let seen = seen.unwrap_or_else(|whole| whole);
                    return Err(TensorError::Elements {
                        shape,
                        expected,
                        seen,
                        bytes: length,
                    });
                }
            }
        }
        Ok(Self {
            dtype,
            shape,
            memory: Memory::Host(memory),
            offset: 0,
            length,
        })
    }

    /// Wraps memory that holds exactly the elements, row-major, and that the host cannot read. Strings have none such.
    pub fn remote(
        dtype: DType,
        shape: Shape,
        memory: Arc<dyn RemoteMemory>,
    ) -> Result<Self, TensorError> {
        let seen = memory.byte_count();
        let expected = byte_count(dtype, &shape)?;
        if dtype.size().is_none() || expected != seen {
            return Err(TensorError::Length {
                dtype,
                shape,
                expected,
                seen,
            });
        }
        Ok(Self {
            dtype,
            shape,
            memory: Memory::Remote(memory),
            offset: 0,
            length: seen,
        })
    }

    /// Wraps memory that holds exactly the elements, little-endian, densely in another order of the dimensions.
    pub fn in_order(
        dtype: DType,
        shape: Shape,
        order: Order,
        memory: Arc<dyn HostMemory>,
    ) -> Result<Self, TensorError> {
        if dtype.size().is_none() || order.rank() != shape.len() {
            return Err(TensorError::Order {
                dtype,
                shape,
                order,
            });
        }
        let checked = Self::new(dtype, shape, memory)?;
        if checked.length == 0 {
            return Ok(checked);
        }
        let memory = Ordered::new(checked.memory().clone(), checked.shape.clone(), order);
        Ok(Self {
            memory: Memory::Host(Arc::new(memory)),
            ..checked
        })
    }

    /// Copies bytes into aligned memory of its own.
    pub fn copy_of(dtype: DType, shape: Shape, bytes: &[u8]) -> Result<Self, TensorError> {
        Self::new(dtype, shape, Arc::new(AlignedBytes::copy_of(bytes)))
    }

    /// Returns a one-dimensional-element BYTES tensor of the given strings.
    pub fn from_byte_strings(
        shape: Shape,
        strings: &[impl AsRef<[u8]>],
    ) -> Result<Self, TensorError> {
        let mut bytes = Vec::new();
        for string in strings {
            let string = string.as_ref();
            let length = u32::try_from(string.len()).map_err(|_| ShapeError::Overflow {
                shape: vec![string.len()],
            })?;
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(string);
        }
        Self::copy_of(DType::Bytes, shape, &bytes)
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn device(&self) -> Device {
        match &self.memory {
            Memory::Host(memory) => memory.device(),
            Memory::Remote(memory) => memory.device(),
        }
    }

    /// Tells whether the host can read the elements.
    pub fn is_readable(&self) -> bool {
        matches!(self.memory, Memory::Host(_))
    }

    /// Returns where the elements lie, if the host cannot read them.
    pub fn as_remote(&self) -> Option<Remote<'_>> {
        match &self.memory {
            Memory::Host(_) => None,
            Memory::Remote(memory) => Some(Remote {
                memory,
                range: self.offset..self.offset + self.length,
            }),
        }
    }

    /// Returns the same elements as memory of a device that the host can read; nothing is copied.
    #[must_use]
    pub fn on(mut self, device: Device) -> Self {
        if let Memory::Host(memory) = &self.memory
            && memory.device() != device
        {
            self.memory = Memory::Host(Arc::new(DeviceMemory::new(device, memory.clone())));
        }
        self
    }

    /// Returns a copy in memory of the host, in the order in which the elements lie.
    #[must_use]
    pub fn copied(&self) -> Self {
        let (bytes, order) = self.stored();
        let copy = Arc::new(AlignedBytes::copy_of(bytes));
        let made = match order {
            Some(order) => Self::in_order(self.dtype, self.shape.clone(), order.clone(), copy),
            None => Self::new(self.dtype, self.shape.clone(), copy),
        };
        made.expect("as many bytes of the same dtype, shape and order")
    }

    /// Returns the elements, little-endian, row-major. They must be [readable](Tensor::is_readable).
    pub fn bytes(&self) -> &[u8] {
        &self.memory().bytes()[self.offset..self.offset + self.length]
    }

    /// Returns the elements, little-endian, densely as they lie, and the order of the dimensions there; none is row-major.
    pub fn stored(&self) -> (&[u8], Option<&Order>) {
        let fits = |ordered: &&Ordered| {
            let tails = (self.shape.get(1..), ordered.shape().get(1..));
            self.shape == ordered.shape()
                || (ordered.order().keeps_rows() && self.length > 0 && tails.0 == tails.1)
        };
        match self.memory().ordered().filter(fits) {
            Some(ordered) => {
                let bytes = &ordered.memory().bytes()[self.offset..][..self.length];
                (bytes, Some(ordered.order()))
            }
            None => (self.bytes(), None),
        }
    }

    /// Returns the size of [`Tensor::bytes`] without asking for them.
    pub fn byte_count(&self) -> usize {
        self.length
    }

    /// Returns the owner of the memory that [`Tensor::bytes`] and [`Tensor::stored`] lie in.
    pub fn memory(&self) -> &Arc<dyn HostMemory> {
        match &self.memory {
            Memory::Host(memory) => memory,
            Memory::Remote(memory) => panic!(
                "{self:?} is on {}, where the host cannot read it: it was not brought to the host",
                memory.device()
            ),
        }
    }

    /// Returns the elements of a BYTES tensor; empty for another dtype.
    pub fn byte_strings(&self) -> Vec<&[u8]> {
        if self.dtype == DType::Bytes {
            byte_strings(self.bytes()).0
        } else {
            Vec::new()
        }
    }

    /// Returns the size of the first dimension; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Returns some rows of the first dimension, over the same memory.
    pub fn slice_rows(&self, rows: Range<usize>) -> Result<Self, TensorError> {
        let outside = || TensorError::Rows {
            rows: rows.clone(),
            shape: self.shape.clone(),
        };
        let [count, rest @ ..] = self.shape.as_slice() else {
            return Err(outside());
        };
        if rows.start > rows.end || rows.end > *count {
            return Err(outside());
        }
        let stride = byte_count(self.dtype, rest)?;
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        Ok(Self {
            dtype: self.dtype,
            shape,
            memory: self.memory.clone(),
            offset: self.offset + rows.start * stride,
            length: rows.len() * stride,
        })
    }

    /// Joins tensors of equal dtype and trailing shape along the first dimension, in the order of their dimensions if that is one,
    /// on their device if that is one; one tensor is returned as it is. Where the host cannot read one, they are [`Parts`].
    pub fn join_rows(parts: &[&Self]) -> Result<Self, TensorError> {
        let [first, rest @ ..] = parts else {
            return Err(TensorError::Join {
                first: "none".into(),
                second: "none".into(),
            });
        };
        if rest.is_empty() {
            return Ok((*first).clone());
        }
        let tail = |tensor: &Self| tensor.shape.get(1..).map(<[usize]>::to_vec);
        if let Some(odd) = rest.iter().find(|part| {
            part.dtype != first.dtype || tail(part) != tail(first) || part.shape.is_empty()
        }) {
            return Err(TensorError::Join {
                first: format!("{first:?}"),
                second: format!("{odd:?}"),
            });
        }
        let mut shape = first.shape.clone();
        shape[0] = parts.iter().map(|part| part.rows()).sum();
        if let Some(remote) = parts.iter().find(|part| !part.is_readable()) {
            let all = parts.iter().map(|part| (*part).clone()).collect();
            let joined = Parts::new(all, remote.device());
            return Self::remote(first.dtype, shape, Arc::new(joined));
        }
        let mut joined = AlignedBytes::zeroed(byte_count(first.dtype, &shape)?);
        let order = first.stored().1.filter(|order| order.keeps_rows());
        let order = order.filter(|_| rest.iter().all(|part| part.stored().1 == order));
        let mut target = joined.as_mut_slice();
        for part in parts {
            let (head, rest) = target.split_at_mut(part.length);
            head.copy_from_slice(match order {
                Some(_) => part.stored().0,
                None => part.bytes(),
            });
            target = rest;
        }
        let joined = match order {
            Some(order) => Self::in_order(first.dtype, shape, order.clone(), Arc::new(joined)),
            None => Self::new(first.dtype, shape, Arc::new(joined)),
        };
        let device = first.device();
        match rest.iter().all(|part| part.device() == device) {
            true => joined.map(|joined| joined.on(device)),
            false => joined,
        }
    }
}

/// Splits the data of a BYTES tensor; the second value tells whether all of it was whole elements.
fn byte_strings(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut strings = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((string, rest)) = rest.split_at_checked(length) else {
            return (strings, false);
        };
        strings.push(string);
        bytes = rest;
    }
    (strings, bytes.is_empty())
}

fn count_byte_strings(bytes: &[u8]) -> Result<usize, usize> {
    let (strings, whole) = byte_strings(bytes);
    if whole {
        Ok(strings.len())
    } else {
        Err(strings.len())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}
