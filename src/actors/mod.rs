//! Supervisor, block actors and the gateway: the only room that sees engines and links at once.

mod gateway;

pub use gateway::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
