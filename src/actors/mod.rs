//! Supervisor, block actors and the gateway: the only room that sees engines and links at once.
//!
//! A [`Node`] owns one control thread, on which the supervisor lives, and one thread per block instance and for the
//! gateway. Each of these reads its sockets through its own reactor and does nothing else. Tensors travel over links
//! only; mailboxes carry control, so control overtakes data.
//!
//! ```text
//! front end ──queue──▶ gateway ──link──▶ block ──link──▶ block ──link──▶ gateway ──reply──▶ front end
//!                         │                │ fault, up
//!                         └── cancel ──▶   ▼
//!                                      supervisor ── rebuild, reopen, give up ──▶ block
//! ```
//!
//! Invariants: `REQ-1` an admitted request gets exactly one reply, because only the gateway holds its reply channel and
//! takes it out of the table to use it. `REQ-3` requests in flight are bounded by `limits.in_flight_max`, envelopes in
//! queues by the windows. A block launches nothing while an earlier result still waits for credit.

mod alarm;
mod block;
mod board;
mod distress;
mod error;
mod failpoint;
mod gateway;
mod links;
mod node;
mod progress;
mod reactor;
mod seldom;
mod supervisor;
mod worker;

pub use distress::{Call, Distress};
pub use error::NodeError;
pub use gateway::{
    Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Purpose, Ticket,
};
pub use node::{Node, NodeConfig, StopReport, WorkersHandle};
pub use worker::{Assignment, EXIT_DEVICE_LOST, EXIT_STUCK, FAREWELL, WorkerCommand, Workers};
