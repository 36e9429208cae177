//! TensorMQ: moving tensors between actors over ZeroMQ.
//!
//! The consumer of a link binds a ROUTER ([`Inbound`]), every producer connects a DEALER ([`Outbound`]). Envelopes flow
//! one way, credits the other way on the same pair of sockets. A producer sends a tensor envelope only for a credit,
//! and a consumer grants `window` credits when a producer says hello and one more for each envelope it takes off its
//! queue; so at most `window` envelopes of one producer wait at one consumer. Failures and cancellations need no
//! credit: they carry no tensors and must not wait behind them.
//!
//! Within a process a tensor travels as a handle: the frame *is* a reference to the shared memory, owned by the
//! message and freed by the message's own free function, so a message that libzmq discards leaks nothing. No payload
//! byte is copied.
//!
//! Invariants: sends never block; every queue is bounded by a window; per-producer sequence numbers make a loss
//! visible; a handle is accepted from an inproc socket only; the decoder never panics, never allocates what a header
//! merely claims, and nothing that arrives is ever executed.

mod credit;
mod envelope;
mod error;
mod inbound;
mod outbound;
mod socket;

pub use credit::{Grant, Window};
pub use envelope::{Addressed, Body, Envelope, HEADER_BYTES_MAX, decode, encode};
pub use error::LinkError;
pub use inbound::{Inbound, Peer, Received};
pub use outbound::Outbound;
pub use socket::{Context, Edges};
