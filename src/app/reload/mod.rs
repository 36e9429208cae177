//! Reload as a transaction: what is configured now is prepared and warmed beside what is served, then takes its place.
//!
//! ```text
//! asked ─▶ read ─▶ compared ─▶ prepared, warmed ─▶ tried ─▶ switched ─▶ recorded; the old epoch drains and is freed
//!            │         │              │               │
//!            ▼         ▼              ▼               ▼
//!        rejected   unchanged      rejected       rejected, or rolled back
//! ```
//!
//! An epoch is a whole runtime: its own actors, links and worker processes. So no request can see blocks of two
//! (`REQ-2`), and whatever goes wrong before the switch leaves what is served untouched (`SWAP-2`). What a block is prepared
//! into, weights above all, depends on its contents and on how and where it runs, and is shared between epochs: a block that
//! stays as it was is not loaded again, it only gets new sessions. The switch replaces one reference. One reload runs at a time, and at most two
//! epochs exist: the next waits for the one before the last to be gone.
//!
//! Where devices have limits and both epochs do not fit, which is decided before anything is loaded (`plan/fit.rs`), the old
//! one goes first and requests wait ([`exchange`]).
//! Where the configuration asks for it, an epoch is tried on live requests before it takes over ([`trial`](super::trial)): it
//! stands beside the one that serves as a [`Candidate`](candidate::Candidate), where a stop finds it, and either takes its
//! place or is taken back. Then what began in it ends in it, like in any epoch that was replaced.
//!
//! What is read is what the files say, or a recorded epoch in their place, with what an operator has set over it (`standing.rs`).
//! An ask of an operator is a reload like any other; it changes what the next epoch stands on.
//!
//! What a running program cannot change is refused by name, and so is, where a configuration has several hosts, all but
//! their keys.

mod ask;
mod candidate;
mod exchange;
mod leaving;
mod lifecycle;
mod recording;
mod retired;
mod source;
mod standing;
mod switch;
mod sync;
mod transaction;
mod wanted;

pub(super) use ask::{Applied, Ask, Outcome, Reloads};
pub(super) use lifecycle::Lifecycle;
pub use source::{Read, Source};
pub(super) use standing::Standing;
