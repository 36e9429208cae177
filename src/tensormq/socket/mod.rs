//! The only place that speaks to libzmq: sockets that never block, frames that are tensors, and what becomes of
//! connections.
//!
//! A frame is made without copying a payload: within a process it is a handle, else foreign memory that libzmq reads and
//! then gives back. A payload that comes in stays in the message that brought it. A handle names memory of this process,
//! so it is looked for on inproc sockets only, which receive from sockets of their own context alone.
//!
//! Sockets between hosts are encrypted (CURVE) where the context has keys, and cannot be made without beyond this machine.

mod context;
mod curve;
mod edges;
mod frames;
mod io;
mod library;
mod monitor;
mod ring;
mod zap;

pub use context::Context;
pub use edges::Edges;
pub use library::{Library, library};

pub(super) use context::FRAME_BYTES_MAX;
pub(super) use io::{Message, Rekeyed, Socket};
pub(super) use monitor::Connection;
