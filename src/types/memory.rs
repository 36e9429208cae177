//! Memory that tensors live in.

use std::fmt;

/// Alignment, in bytes, of memory that this program allocates for tensors: a cache line, and what AVX-512 loads want.
pub const MEMORY_ALIGNMENT: usize = 64;

/// Host memory that somebody owns and nobody writes any more.
///
/// The slice must stay valid, unchanged and at one address until the owner is dropped.
pub trait HostMemory: Send + Sync + fmt::Debug {
    fn bytes(&self) -> &[u8];
}

/// Bytes whose first one lies on a [`MEMORY_ALIGNMENT`] boundary.
#[derive(Clone)]
pub struct AlignedBytes {
    lines: Vec<Line>,
    length: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; MEMORY_ALIGNMENT]);

impl AlignedBytes {
    /// Returns `length` zero bytes.
    pub fn zeroed(length: usize) -> Self {
        let lines = vec![Line([0; MEMORY_ALIGNMENT]); length.div_ceil(MEMORY_ALIGNMENT)];
        Self { lines, length }
    }

    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut copy = Self::zeroed(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut flatten_mut(&mut self.lines)[..self.length]
    }
}

fn flatten(lines: &[Line]) -> &[u8] {
    bytemuck::cast_slice(lines)
}

fn flatten_mut(lines: &mut [Line]) -> &mut [u8] {
    bytemuck::cast_slice_mut(lines)
}

impl HostMemory for AlignedBytes {
    fn bytes(&self) -> &[u8] {
        &flatten(&self.lines)[..self.length]
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
