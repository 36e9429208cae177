//! The arena: memory of a producer that consumers on its host map, so that a payload crosses processes without a copy.
//!
//! An actor that sends over ipc has one [`Arena`]: a sealed, sparse memory file of a fixed size, cut into slots. A slot is a
//! header of 64 bytes (magic, generation, length) and a payload behind it. The producer copies a tensor into a slot, or has
//! written it there in the first place ([`SlotBuffer`], [`Arena::room`]), and sends where it lies ([`SlotRange`]). The consumer maps the file
//! read-only and has the tensor lie in the mapping.
//!
//! ```text
//!  producer                                                  consumer
//!  Arena ── Slot ◀── tensors of this process                 Ledger (view of the arena, what is lent)
//!             ▲                                                 ▲
//!             └───── leases of a link ── SlotRange ──────▶  Lease ◀── tensors
//!                          ▲                                    │ last holder drops it, on any thread
//!                          └──────────── grant: SlotId ◀── Bell ┘
//! ```
//!
//! Ownership: a slot is free again when nobody in the producer's process holds it, and a link holds it as often as it has
//! sent it and not had it back. So a tensor that goes to several consumers is copied once and leased by each link. A link ends
//! its leases when the consumer returns them, when the consumer of another process takes its place, and when the link is
//! dropped. A connection that broke ends only the leases that the consumer, when it lets the producer in again, does not say
//! that it still holds.
//!
//! Returning: the drop of a lease puts the slot on the ledger's list, of at most [`LEASES_MAX`] entries, and rings the
//! [`Bell`], which is one of the edges of the consumer's end. The list is entered before the bell is rung, and the bell is
//! silenced before the list is read, so no entry is overlooked. Nobody waits for a slot: a tensor that finds no room
//! travels as bytes.
//!
//! Invariants: the file never changes its size, so a mapping never faults; after the producer has mapped it, nobody can map it
//! to write. A consumer opens only what is a memory file of the announced size and seals. It believes no number it has
//! not checked, and reads each number once. Nothing here has a name in a file system: memory goes with the last process that
//! maps it, however that ends. Pages that were used once stay with the arena; first fit keeps them few.
//!
//! Trust: the peer runs as the same user, who could write into this process anyway. A peer that writes into a slot that it has
//! sent changes the numbers of that tensor; lengths within the elements of a BYTES tensor are checked on every read.

mod arena;
mod bell;
mod extents;
mod ledger;
mod region;
mod slot;

pub use arena::{ARENA_BYTES, Arena, INLINE_BYTES_MAX, SlotBuffer};
pub use region::{ARENA_BYTES_MAX, Announcement, MapError};
pub use slot::{LEASES_MAX, SlotError, SlotId, SlotRange};

pub(super) use bell::{Bell, eventfd};
pub(super) use ledger::{Ledger, Ledgers, Origin};
