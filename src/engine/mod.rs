//! Running blocks: [`prepare()`] makes a [`Prepared`] of a source, and that a [`Session`] for each thread.
//!
//! Never sees a socket, a pipeline or another block. Invariants: a [`Prepared`] is immutable and shared by all
//! instances of its block; a [`Session`] belongs to one thread; inputs are never written to.

mod auto;
pub mod builtin;
mod compare;
pub mod cuda;
mod error;
mod golden;
mod graphs;
mod image_file;
mod mock;
mod npy;
mod npz;
pub mod onnxruntime;
mod outputs;
mod prepare;
mod proof;
mod seam;
mod store;
mod support;
pub mod torch;

pub use compare::{Comparison, compare};
pub use error::EngineError;
pub use golden::{Golden, GoldenError};
pub use graphs::graph_engine;
pub use mock::MockPrepared;
pub use npy::{NpyError, read_npy, write_npy};
pub use npz::read_npz;
pub use prepare::{BlockSource, check_device, prepare};
pub use proof::{prove, warm, warm_up};
pub use seam::{Engine, Prepared, Session};
pub use store::{Store, Usage};
pub use support::{Lack, Support, lacks};
