//! Decisions over time as pure state machines: joining inputs, closing batches, answering faults, replacing an epoch.
//!
//! No threads, sockets, devices or logging; time comes in as a value, so a test can be at any time it likes.

mod batch;
mod join;
mod recent;
mod restart;
mod share;
mod supervision;
mod swap;
mod watch;

pub use batch::{Batcher, Decision, Item, Limits};
pub use join::Joiner;
pub use recent::Recent;
pub use restart::{Restart, RestartPolicy};
pub use share::Share;
pub use supervision::{Remedy, Supervision, Ward};
pub use swap::{
    Canaried, LATENCY_SLACK, MEDIAN_ANSWERS_MIN, P99_ANSWERS_MIN, Phase, Shadowed, Side, Swap,
};
pub use watch::{Doing, Sight, Watch};
