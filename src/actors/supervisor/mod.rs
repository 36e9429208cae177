//! The supervisor: hears of faults, has them mended as the policy says, starts worker processes again, writes the board.
//!
//! What is done about which fault is decided in [`Supervision`](crate::sched::Supervision), what counts as stuck in
//! [`Watch`](crate::sched::Watch); here it is carried out. What this process cannot mend, because a thread does not come back or a
//! device is lost, is called out ([`Distress`](super::Distress)), for whoever owns the process to replace it.

mod actor;
mod faults;
mod watch;
mod workers;

pub(super) use actor::{Adopt, BoardChanged, Instance, Supervisor, SupervisorConfig, Up};
pub(super) use faults::{Fault, Reconnect, Reopened};
pub(super) use workers::{Laggards, Tell};
