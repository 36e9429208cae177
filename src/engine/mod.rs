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
mod ledger;
mod mock;
mod npy;
mod npz;
pub mod onnxruntime;
mod outputs;
mod place;
mod prepare;
mod proof;
mod seam;
mod sim;
mod store;
mod support;
pub mod torch;
mod transfer;

pub use compare::{Comparison, compare};
pub use error::EngineError;
pub use golden::{Golden, GoldenError};
pub use graphs::graph_engine;
pub use ledger::{Lease, Ledger, Memory, MemoryKind, OutOfMemory, Tenant, set_devices};
pub use mock::MockPrepared;
pub use npy::{NpyError, read_npy, write_npy};
pub use npz::read_npz;
pub use place::{Seat, Staged, prepare_for, stage, workspace_bytes};
pub use prepare::{BlockSource, check_device, check_place, prepare};
pub use proof::{prove, warm, warm_up};
pub use seam::{Engine, Prepared, Session};
pub use store::{Held, Store, Usage};
pub use support::{Lack, Support, lacks};
pub use torch::{device_pool, pool_opener};
pub use transfer::{to_host, to_room};
