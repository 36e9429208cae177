//! The door through which requests enter the pipelines and replies leave.

mod handle;

pub use handle::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
