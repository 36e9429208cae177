//! How a slot is called, and what can be wrong with a name.

use crate::types::PoolPlace;

/// Slots of one producer that one consumer may hold, each counted as often as it is held; further tensors travel as bytes.
pub const LEASES_MAX: usize = 4096;

/// Where slots begin: a multiple of this, which payloads then begin at too.
pub(super) const SLOT_ALIGNMENT: usize = 64;
/// Bytes before the payload.
pub(super) const SLOT_HEADER_BYTES: usize = 64;
/// The first slot begins here; before it lies what identifies the arena.
pub(super) const FIRST_SLOT: usize = 4096;
pub(super) const SLOT_MAGIC: u64 = u64::from_le_bytes(*b"BFslot02");

/// A slot of an arena while it has one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotId {
    /// Of its header in the arena.
    pub offset: u64,
    /// Never twice in one arena.
    pub generation: u64,
}

/// A part of a slot's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotRange {
    pub slot: SlotId,
    /// First byte, counted from the beginning of the payload.
    pub start: u64,
    pub length: u64,
}

/// A tensor in a pool of its device, and the slot that says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolRange {
    pub slot: SlotId,
    pub place: PoolPlace,
}

/// Why a consumer does not believe that a tensor lies in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SlotError {
    #[error("its producer has no arena that is mapped here")]
    NoArena,
    #[error("offset {offset} is not a multiple of {SLOT_ALIGNMENT}")]
    Misaligned { offset: u64 },
    #[error("offset {offset} lies outside of the slots of an arena of {bytes} bytes")]
    OutOfRange { offset: u64, bytes: u64 },
    #[error("there is no slot at offset {offset}")]
    NoSlot { offset: u64 },
    #[error("the slot is of generation {seen}, the message says {announced}")]
    Stale { announced: u64, seen: u64 },
    #[error("{length} bytes from byte {start} on are more than the {slot} of the slot")]
    TooLong { start: u64, length: u64, slot: u64 },
    #[error("its producer has no pool of this device that is mapped here")]
    NoPool,
    #[error("its slot says that it lies elsewhere in the pool")]
    OtherPlace,
    #[error(
        "offset {offset} and {length} bytes are not within a pool of {bytes}, aligned to {SLOT_ALIGNMENT}"
    )]
    OutOfPool {
        offset: u64,
        length: u64,
        bytes: u64,
    },
    #[error("event {event} of {events}")]
    NoEvent { event: u16, events: usize },
    #[error("{length} bytes of a pool for a tensor of {expected}")]
    OtherLength { length: u64, expected: u64 },
    #[error("{LEASES_MAX} slots are held already")]
    TooMany,
}
