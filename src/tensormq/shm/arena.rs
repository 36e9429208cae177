//! The producer's side of shared memory: slots, and who holds them.

#![expect(
    unsafe_code,
    reason = "slots are parts of one mapping, which their owners write and read"
)]

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use crate::tensormq::LinkError;
use crate::types::{
    DType, DevicePool, HostMemory, Order, PoolCard, PoolError, PoolOpener, Room, Shape, Tensor,
    byte_count, lock,
};

use super::extents::Extents;
use super::pool::{Extent, PLACE_BYTES, Place, Shows};
use super::region::{ARENA_BYTES_MAX, Announcement, Region, draw};
use super::slot::{FIRST_SLOT, SLOT_HEADER_BYTES, SlotId, SlotRange};

/// Size of the arena of an actor: room for what its links carry at a time, and only addresses until it is used.
pub const ARENA_BYTES: usize = 1 << 30;
/// Tensors of at most so many bytes travel in messages: that costs less than to lend a slot and to have it back.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Shared memory that an actor sends tensors in. Clones are the same arena.
pub struct Arena {
    shared: Arc<Shared>,
    inline_bytes_max: usize,
    shows: Option<Arc<Shows>>,
    /// This clone's alone, and so of one link.
    link: Arc<()>,
}

/// A slot that is being written, and becomes a tensor that is sent without a copy.
#[derive(Debug)]
pub struct SlotBuffer {
    slot: Slot,
    dtype: DType,
    shape: Shape,
}

struct Shared {
    /// First, so that it goes before the mapping.
    pinned: OnceLock<Box<dyn Any + Send + Sync>>,
    region: Arc<Region>,
    state: Mutex<State>,
}

struct State {
    extents: Extents,
    /// Of the newest slot.
    generation: u64,
    slots: usize,
    /// Slots that are copies of other memory.
    copies: HashMap<Source, Copy>,
}

/// The address of an owner of memory, the first byte taken from it, and how many.
type Source = (usize, usize, usize);

struct Copy {
    generation: u64,
    slot: Weak<Slot>,
    /// Keeps the owner's address from being another's.
    _owner: Weak<dyn HostMemory>,
}

/// A slot that somebody in this process holds: tensors, and links that have sent it.
pub(super) struct Slot {
    arena: Arc<Shared>,
    offset: usize,
    length: usize,
    generation: u64,
    copy_of: Option<Source>,
    /// Of a pool, where that is where the tensor lies.
    extent: Option<Extent>,
}

impl Arena {
    /// Makes an arena of that size, rounded up to whole pages, for tensors of more than so many bytes.
    pub fn new(bytes: usize, inline_bytes_max: usize) -> Result<Self, LinkError> {
        let wrong = |cause: String| LinkError::Arena { bytes, cause };
        let size = bytes.checked_next_multiple_of(FIRST_SLOT);
        let size = size.filter(|size| (2 * FIRST_SLOT..=ARENA_BYTES_MAX).contains(size));
        let size = size.ok_or_else(|| {
            wrong(format!(
                "expected {} to {ARENA_BYTES_MAX} bytes",
                2 * FIRST_SLOT
            ))
        })?;
        let region = Region::create(size).map_err(|error| wrong(error.to_string()))?;
        let state = State {
            extents: Extents::new(FIRST_SLOT..size),
            // Another arena counts from elsewhere.
            generation: draw() >> 1,
            slots: 0,
            copies: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            pinned: OnceLock::new(),
            region: Arc::new(region),
            state: Mutex::new(state),
        });
        Ok(Self {
            shared,
            inline_bytes_max,
            shows: None,
            link: Arc::default(),
        })
    }

    /// Shows tensors of a device in a pool of it, to consumers that have mapped that.
    #[must_use]
    pub fn with_pool(mut self, pool: Arc<dyn DevicePool>) -> Self {
        self.shows = Some(Arc::new(Shows::new(pool)));
        self
    }

    /// Has the device of an opener copy from and to the arena by itself, as far as it can.
    pub fn pin(&self, opener: &dyn PoolOpener) -> Result<(), PoolError> {
        let pinned = opener.pin(self.shared.region.clone())?;
        // One is enough, of whatever device.
        let _ = self.shared.pinned.set(pinned);
        Ok(())
    }

    /// Returns the same memory for links of consumers that have no use for the pool.
    #[must_use]
    pub fn without_pool(&self) -> Self {
        Self {
            shows: None,
            ..self.clone()
        }
    }

    /// Returns what consumers are told of the pool, if there is one.
    pub fn pool_card(&self) -> Option<&PoolCard> {
        self.shows.as_ref().map(|shows| shows.card())
    }

    /// Returns the bytes of the pool that are free, in however many pieces.
    pub fn pool_free_bytes(&self) -> usize {
        self.shows.as_ref().map_or(0, |shows| shows.free_bytes())
    }

    /// Tells whether a tensor can be shown, be it not now.
    pub(in crate::tensormq) fn shows(&self, tensor: &Tensor) -> bool {
        self.shows.as_ref().is_some_and(|shows| shows.takes(tensor))
    }

    /// Has a tensor of a device lie in the pool.
    pub(in crate::tensormq) fn show(&self, tensor: &Tensor) -> Result<Place, PoolError> {
        let Some(shows) = &self.shows else {
            return Ok(Place::Elsewhere);
        };
        shows.place(tensor, &self.link, |words, extent| {
            let mut slot = Slot::take(&self.shared, PLACE_BYTES, None)?;
            for (to, word) in slot.payload_mut().chunks_exact_mut(8).zip(words) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            slot.extent = Some(extent);
            Some(Arc::new(slot))
        })
    }

    /// Returns a tensor of a device in memory of the host; `None`: there is nobody who could do that.
    pub(in crate::tensormq) fn to_host(
        &self,
        tensor: &Tensor,
    ) -> Option<Result<Tensor, PoolError>> {
        let shows = self.shows.as_ref()?;
        Some(shows.pool().to_host(tensor))
    }

    /// Returns memory for a tensor to be written to, which holds whatever it held before. `None` if there is no room, or if the
    /// size of such tensors does not follow from their shape.
    pub fn allocate(&self, dtype: DType, shape: Shape) -> Option<SlotBuffer> {
        dtype.size()?;
        let length = byte_count(dtype, &shape).ok()?;
        Some(SlotBuffer {
            slot: Slot::take(&self.shared, length, None)?,
            dtype,
            shape,
        })
    }

    /// Returns memory for what a tensor of so many bytes is made of. `None` if there is no room, or if it would not travel in a
    /// slot.
    pub fn room(&self, bytes: usize) -> Option<Box<dyn Room>> {
        if bytes <= self.inline_bytes_max {
            return None;
        }
        Some(Box::new(Slot::take(&self.shared, bytes, None)?))
    }

    /// Returns the number of slots that are held, by this process or by consumers.
    pub fn slots(&self) -> usize {
        self.shared.state().slots
    }

    /// Returns the bytes that are free, in however many pieces.
    pub fn free_bytes(&self) -> usize {
        self.shared.state().extents.free_bytes()
    }

    /// Returns what consumers are told of it.
    pub fn announcement(&self) -> Announcement {
        self.shared.region.announcement()
    }

    /// Returns the tensor over a slot, and the bytes that were copied for that: none if it lies in one. `None` means that it
    /// is better sent as bytes.
    pub(in crate::tensormq) fn place(&self, tensor: &Tensor) -> Option<(Tensor, u64)> {
        let length = tensor.byte_count();
        if length <= self.inline_bytes_max || !tensor.is_readable() {
            return None;
        }
        if self.range(tensor).is_some() {
            return Some((tensor.clone(), 0));
        }
        let (bytes, order) = tensor.stored();
        let over = |slot| over(tensor, order, slot);
        let owner = Arc::as_ptr(tensor.memory()).cast::<()>().addr();
        let source = (owner, bytes.as_ptr().addr(), length);
        let known = {
            let state = self.shared.state();
            let copy = state.copies.get(&source);
            copy.and_then(|copy| copy.slot.upgrade())
        };
        if let Some(slot) = known {
            return Some((over(slot)?, 0));
        }
        let mut slot = Slot::take(&self.shared, length, Some(source))?;
        slot.payload_mut().copy_from_slice(bytes);
        let slot = Arc::new(slot);
        let copy = Copy {
            generation: slot.generation,
            slot: Arc::downgrade(&slot),
            _owner: Arc::downgrade(tensor.memory()),
        };
        self.shared.state().copies.insert(source, copy);
        Some((over(slot)?, length as u64))
    }

    /// Returns where in this arena a tensor lies, if it does and is to travel so.
    pub fn range(&self, tensor: &Tensor) -> Option<SlotRange> {
        if tensor.byte_count() <= self.inline_bytes_max || !tensor.is_readable() {
            return None;
        }
        let memory = tensor.memory();
        let memory = memory.ordered().map_or(memory, |ordered| ordered.memory());
        let memory: &dyn Any = memory.as_ref();
        let slot = memory.downcast_ref::<Slot>()?;
        if !Arc::ptr_eq(&slot.arena, &self.shared) {
            return None;
        }
        let bytes = tensor.stored().0;
        let start = bytes.as_ptr().addr();
        // Not if somebody has it look otherwise than it lies.
        let start = start.checked_sub(slot.bytes().as_ptr().addr())?;
        let end = start.checked_add(bytes.len())?;
        if end > slot.length {
            return None;
        }
        Some(SlotRange {
            slot: slot.id(),
            start: start as u64,
            length: tensor.byte_count() as u64,
        })
    }
}

/// Returns a tensor like another over a slot that holds its elements in that order.
fn over(tensor: &Tensor, order: Option<&Order>, slot: Arc<Slot>) -> Option<Tensor> {
    let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
    match order {
        Some(order) => Tensor::in_order(dtype, shape, order.clone(), slot).ok(),
        None => Tensor::new(dtype, shape, slot).ok(),
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            inline_bytes_max: self.inline_bytes_max,
            shows: self.shows.clone(),
            link: Arc::default(),
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("region", &self.shared.region)
            .field("slots", &self.slots())
            .finish_non_exhaustive()
    }
}

impl SlotBuffer {
    /// Returns the elements to write, row-major.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.slot.payload_mut()
    }

    /// Ends writing.
    pub fn into_tensor(self) -> Tensor {
        let tensor = Tensor::new(self.dtype, self.shape, Arc::new(self.slot));
        tensor.expect("a slot is as long as its dtype and shape say")
    }
}

impl Shared {
    /// Whoever panics does so between changes, not within one.
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Slot {
    fn take(arena: &Arc<Shared>, length: usize, copy_of: Option<Source>) -> Option<Self> {
        let extent = length.checked_add(SLOT_HEADER_BYTES)?;
        let (offset, generation) = {
            let mut state = arena.state();
            let offset = state.extents.take(extent)?;
            state.generation += 1;
            state.slots += 1;
            (offset, state.generation)
        };
        // SAFETY: the extent is this slot's, and no consumer has been told of it.
        unsafe { arena.region.put_header(offset, generation, length) };
        Some(Self {
            arena: arena.clone(),
            offset,
            length,
            generation,
            copy_of,
            extent: None,
        })
    }

    /// Returns the part of a pool that it has.
    pub(super) fn extent(&self) -> Option<&Extent> {
        self.extent.as_ref()
    }

    pub(super) fn id(&self) -> SlotId {
        SlotId {
            offset: self.offset as u64,
            generation: self.generation,
        }
    }

    fn payload_mut(&mut self) -> &mut [u8] {
        // SAFETY: the extent is this slot's, which is borrowed mutably; no consumer has been told of it, as only tensors are
        // sent, and a slot becomes a tensor when writing has ended.
        unsafe { self.arena.region.payload_mut(self.offset, self.length) }
    }
}

impl Room for Slot {
    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.payload_mut()
    }

    fn into_memory(self: Box<Self>) -> Arc<dyn HostMemory> {
        Arc::new(*self)
    }
}

impl HostMemory for Slot {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the extent is this slot's; whoever writes borrows it mutably, and other processes cannot.
        unsafe { self.arena.region.payload(self.offset, self.length) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.arena.state();
        state.slots -= 1;
        let extent = self.length + SLOT_HEADER_BYTES;
        state.extents.give_back(self.offset, extent);
        if let Some(source) = self.copy_of {
            let own = |copy: &Copy| copy.generation == self.generation;
            if state.copies.get(&source).is_some_and(own) {
                state.copies.remove(&source);
            }
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("offset", &self.offset)
            .field("length", &self.length)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
