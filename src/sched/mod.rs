//! Decisions over time as pure state machines: joining inputs, closing batches, answering faults.
//!
//! No threads, sockets, devices or logging; time comes in as a value, so a test can be at any time it likes.

mod batch;
mod join;
mod recent;
mod restart;
mod supervision;
mod watch;

pub use batch::{Batcher, Decision, Item, Limits};
pub use join::Joiner;
pub use recent::Recent;
pub use restart::{Restart, RestartPolicy};
pub use supervision::{Remedy, Supervision, Ward};
pub use watch::{Doing, Sight, Watch};
