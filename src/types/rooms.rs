//! Where a run puts its outputs.

use std::fmt;
use std::sync::Arc;

use super::{AlignedBytes, HostMemory};

/// Memory that one writer fills, and then gives away for others to read.
pub trait Room: Send + fmt::Debug {
    /// Returns all of it. It holds whatever it held before, and stays at its place, also as what it becomes.
    fn as_mut_slice(&mut self) -> &mut [u8];

    /// Ends writing.
    fn into_memory(self: Box<Self>) -> Arc<dyn HostMemory>;
}

/// Gives room for outputs of a run, each called by its place among the outputs.
pub trait Rooms: fmt::Debug {
    /// Tells whether there may be room for an output elsewhere than on the heap.
    fn takes(&self, output: usize) -> bool;

    /// Returns room of so many bytes, aligned to [`MEMORY_ALIGNMENT`](super::MEMORY_ALIGNMENT). `None`: the heap will do.
    fn room(&self, output: usize, bytes: usize) -> Option<Box<dyn Room>>;
}

impl Room for AlignedBytes {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }

    fn into_memory(self: Box<Self>) -> Arc<dyn HostMemory> {
        Arc::new(*self)
    }
}

/// Returns room of so many bytes for an output, on the heap if there is none elsewhere.
pub fn room_or_heap(rooms: &dyn Rooms, output: usize, bytes: usize) -> Box<dyn Room> {
    let room = rooms.takes(output).then(|| rooms.room(output, bytes));
    let room = room.flatten();
    room.unwrap_or_else(|| Box::new(AlignedBytes::zeroed(bytes)))
}

/// Outputs lie wherever an engine has its memory.
#[derive(Debug, Clone, Copy)]
pub struct Heap;

impl Rooms for Heap {
    fn takes(&self, _output: usize) -> bool {
        false
    }

    fn room(&self, _output: usize, _bytes: usize) -> Option<Box<dyn Room>> {
        None
    }
}
