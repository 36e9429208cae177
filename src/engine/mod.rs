//! Running blocks: [`prepare()`] makes a [`Prepared`] of a source, and that a [`Session`] for each thread.
//!
//! Never sees a socket, a pipeline or another block. Invariants: a [`Prepared`] is immutable and shared by all
//! instances of its block; a [`Session`] belongs to one thread; inputs are never written to.

pub mod builtin;
pub mod cuda;
mod error;
mod mock;
mod outputs;
mod prepare;
mod seam;
pub mod torch;

pub use error::EngineError;
pub use mock::MockPrepared;
pub use prepare::{BlockSource, check_device, prepare, warm};
pub use seam::{Prepared, Session};
