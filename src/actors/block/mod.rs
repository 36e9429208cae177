//! A block instance: its queue, its batches, its session.
//!
//! The session is the only thing a failure takes away; sockets and queue live on while it is rebuilt.

mod actor;
mod links;
mod queue;
mod session;

pub(super) use actor::{Announce, BlockActor, BlockConfig, GiveUp, Rebuild};
