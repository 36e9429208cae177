//! A block instance: its queue, its batches, its session.
//!
//! A failed run takes the session away; sockets and queue live on while it is rebuilt. Failed sockets take what was in them
//! away, which is told; session and queue live on while they are opened anew.

mod actor;
mod links;
mod queue;
mod session;
mod work;

pub(super) use actor::{Announce, BlockActor, BlockConfig, GiveUp, Rebuild, Reopen};
