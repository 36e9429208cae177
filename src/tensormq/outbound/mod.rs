//! The producer's end of one link, and what becomes of it when an end is opened anew.

mod link;
mod reopen;
mod told;

pub use link::{LinkState, LostPeer, Outbound, Polled};
