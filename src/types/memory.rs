//! Memory that tensors live in.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{Device, Ordered};

/// Alignment, in bytes, of memory that this program allocates for tensors: a cache line, and what AVX-512 loads want.
pub const MEMORY_ALIGNMENT: usize = 64;

/// Host memory that somebody owns and nobody writes any more.
///
/// The slice must stay valid, unchanged and at one address until the owner is dropped.
pub trait HostMemory: Any + Send + Sync + fmt::Debug {
    /// Returns the elements in row-major order.
    fn bytes(&self) -> &[u8];

    /// Returns the number of bytes, whatever the order.
    fn byte_count(&self) -> usize {
        self.bytes().len()
    }

    /// Returns this, if it holds the elements in another order, in which it can be had without rearranging them.
    fn ordered(&self) -> Option<&Ordered> {
        None
    }

    /// Returns the device that the memory belongs to.
    fn device(&self) -> Device {
        Device::Cpu
    }
}

/// Memory of a simulated device, which the host can read.
#[derive(Debug)]
pub struct DeviceMemory {
    device: Device,
    memory: Arc<dyn HostMemory>,
}

impl DeviceMemory {
    pub fn new(device: Device, memory: Arc<dyn HostMemory>) -> Self {
        Self { device, memory }
    }
}

impl HostMemory for DeviceMemory {
    fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    fn byte_count(&self) -> usize {
        self.memory.byte_count()
    }

    fn ordered(&self) -> Option<&Ordered> {
        self.memory.ordered()
    }

    fn device(&self) -> Device {
        self.device
    }
}

/// Bytes whose first one lies on a [`MEMORY_ALIGNMENT`] boundary.
///
/// Aligned by hand: an aligned allocation leaves holes in the heap that the next one of that size does not fit into.
pub struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBytes {
    /// Returns `length` zero bytes.
    pub fn zeroed(length: usize) -> Self {
        let bytes = vec![0; length + MEMORY_ALIGNMENT - 1];
        let start = bytes.as_ptr().align_offset(MEMORY_ALIGNMENT);
        Self {
            bytes,
            start,
            length,
        }
    }

    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
    }
}

impl HostMemory for AlignedBytes {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl HostMemory for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBytes")
            .field("length", &self.length)
            .finish()
    }
}
