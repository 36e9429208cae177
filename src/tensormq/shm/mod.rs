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
//! Tensors of a device: memory of a device is not mapped by a file, so a producer on one has, beside its arena, a *pool* of that
//! device ([`DevicePool`](crate::types::DevicePool)), which its consumers on the same device map too. It is a fixed piece of memory with one handle and a ring of events, all
//! of which the consumer is told once, in the hello. A tensor is copied into an extent of the pool on the producer's side, by
//! the device; a slot of the arena says where it lies and which event says that it does, and that slot is what is
//! leased, checked (magic, generation, bounds) and returned, as any other. The message repeats the place, with dtype and shape
//! (elements are row-major), and what the slot and the message say must be the same. The consumer has the device wait for the event and
//! copy the tensor into memory of its own, when the message is read; once that copy is done the lease ends. So extents return
//! whether or not the consumer's queue moves, and nothing in it lies in memory of another process. Where there is no room, the
//! message waits until this consumer has returned an extent; a tensor that is larger than the pool, or that finds no room while
//! this consumer has none of it, goes through the host.
//!
//! The pool goes with the process of its producer. What a consumer that died had leased is back when another takes its place. A consumer
//! whose producer died keeps what it has mapped until its copies are done, and closes it then.
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
mod pool;
mod region;
mod slot;

pub use arena::{ARENA_BYTES, Arena, INLINE_BYTES_MAX, SlotBuffer};
pub use region::{ARENA_BYTES_MAX, Announcement, MapError};
pub use slot::{LEASES_MAX, PoolRange, SlotError, SlotId, SlotRange};

pub(super) use bell::{Bell, eventfd};
pub(super) use ledger::{Ledger, Ledgers, Origin};
pub(super) use pool::Place;
