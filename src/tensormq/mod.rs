//! TensorMQ: moving tensors between actors over ZeroMQ, within a process, a host, or between hosts.
//!
//! The consumer of a link binds a ROUTER per carrier ([`Inbound`]), every producer connects a DEALER ([`Outbound`]).
//! A producer says who it is ([`Hello`]) on every connection it makes, and is let in ([`Welcome`]) or not ([`Refusal`]): both
//! ends must run the same configuration ([`Party`]). Envelopes flow one way, credits ([`Grant`]) the other way on the
//! same pair of sockets. A producer sends a tensor envelope only for a credit, and a consumer grants as many as its
//! window, then one more for each envelope it takes off its queue, several at a time; so at most `window` envelopes of one producer wait
//! at one consumer, however often it connects. Other messages need no credit: they carry no tensors and must not wait
//! behind them.
//!
//! Within a process a tensor travels as a handle: the frame *is* a reference to the shared memory, owned by the
//! message and freed by the message's own free function, so a message that libzmq discards leaks nothing. No payload
//! byte is copied. Between processes of one host it lies in memory of the producer that the consumer maps ([`Arena`]), and what
//! travels is where. Tensors of a device lie in a pool of that device likewise, where the consumer is on it too ([`Form::Pool`]);
//! what a device is, only those know who have it ([`DevicePool`](crate::types::DevicePool)). Where there is no such memory, no room in it, or too little to be worth it, its bytes travel, from where they lie into the kernel, and out of it into the message
//! that the received tensor then lies in ([`Form`]). Elements travel in the order in which they are stored, which is told with
//! them. To another host they may travel narrowed or compressed, where the configuration asks for it of an edge; these are
//! row-major.
//!
//! A connection between processes may break at any time. The producer hears of it ([`Polled::lost`]), says which requests may
//! have been in transit, connects again and goes on with what waits. A process that was started again is told apart by
//! its incarnation.
//!
//! Links between hosts are encrypted and both ends know each other by their keys ([`Keyring`]); the keys may change while
//! links are up.
//!
//! Invariants: sends never block; every queue is bounded; per-connection sequence numbers make a loss visible; a handle is
//! accepted from an inproc socket only; the decoders never panic, never allocate what a header merely claims, and nothing that
//! arrives is ever executed; a message that is not believed is counted, and disturbs no other peer.
//!
//! Frames are laid out byte by byte at [`Hello`], [`Welcome`], [`Refusal`], [`Grant`] and in the documentation of the
//! modules `frame` and `envelope`.

mod credit;
mod door;
mod envelope;
mod error;
mod frame;
mod greeting;
mod inbound;
mod keys;
mod lending;
mod outbound;
mod outgoing;
mod party;
mod payload;
mod received;
mod shm;
mod socket;
mod wire;

pub use credit::{Grant, RETURNS_MAX, Window};
pub use envelope::{
    Addressed, BlockState, Body, Condition, Envelope, HEADER_BYTES_MAX, LostReceiver, decode,
    encode, encode_each, forms,
};
pub use error::LinkError;
pub use frame::VERSION;
pub use greeting::{Hello, NAME_BYTES_MAX, Refusal, Welcome};
pub use inbound::{Inbound, PEERS_MAX};
pub use keys::{HostKeys, KeyPair, Keyring};
pub use outbound::{LinkState, LostPeer, Outbound, Polled};
pub use party::{Digest, Party};
pub use payload::{Form, Moved, Payload};
pub use received::{Discarded, Peer, Received};
pub use shm::{
    ARENA_BYTES, ARENA_BYTES_MAX, Announcement, Arena, INLINE_BYTES_MAX, LEASES_MAX, MapError,
    PoolRange, SlotBuffer, SlotError, SlotId, SlotRange,
};
pub use socket::{Context, Edges, Library, library};
pub use wire::{
    COMPRESS_BYTES_MIN, EncodingError, MISSES_MAX, PAUSE_MAX, PAUSE_MIN, PayloadEncoder, RATIO_MAX,
    decode_payload,
};

use socket::FRAME_BYTES_MAX;
