//! The door through which requests enter the pipelines and replies leave.
//!
//! [`Gateway`] is what front ends hold: it checks and admits on the caller's thread and puts the request into a bounded
//! queue. The gateway actor alone knows which requests are open; it stamps, sends, collects outputs, watches deadlines
//! and answers.

mod actor;
mod handle;
mod pending;

pub(super) use actor::{Abandon, GatewayActor, GatewayConfig};
pub use handle::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
