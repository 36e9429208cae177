//! Trying a new epoch on live requests before it takes over.
//!
//! Both trials stand at one place, the [`Door`] through which requests come into the epoch that serves:
//!
//! - *Shadowing*: a share of the requests is also asked of the new epoch. Its answers go nowhere; they are compared with those
//!   that clients got. A shadow never holds up a live request and costs none its answer: where the new epoch is behind,
//!   requests have no shadow.
//! - *Canary*: a share of the requests begins in the new epoch, and ends there (`REQ-2`). Both sides are counted. A request
//!   that the new epoch does not take is one of the old one after all.
//!
//! Only pipelines that both epochs have, with equal signatures, take part. What the numbers mean is decided in
//! [`sched::Swap`](crate::sched::Swap); here they are counted. A stop, or another reload, ends a trial at once.

mod door;
mod run;
mod shadow;
mod tally;

pub(super) use door::{Door, Report};
pub(super) use run::try_out;
