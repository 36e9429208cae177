//! Running blocks: [`prepare()`] makes a [`Prepared`] of a source, and that a [`Session`] for each thread.
//!
//! Never sees a socket, a pipeline or another block. Invariants: a [`Prepared`] is immutable and shared by all
//! instances of its block; a [`Session`] belongs to one thread; inputs are never written to.

mod auto;
pub mod builtin;
pub mod cuda;
mod error;
mod graphs;
mod image_file;
mod mock;
pub mod onnxruntime;
mod outputs;
mod prepare;
mod seam;
mod store;
mod support;
pub mod torch;

pub use error::EngineError;
pub use graphs::graph_engine;
pub use mock::MockPrepared;
pub use prepare::{BlockSource, check_device, prepare, warm};
pub use seam::{Engine, Prepared, Session};
pub use store::{Store, Usage};
pub use support::{Lack, Support, lacks};
