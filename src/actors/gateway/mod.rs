//! The door through which requests enter the pipelines and replies leave.
//!
//! [`Gateway`] is what front ends hold: it checks and admits on the caller's thread and puts the request into a bounded
//! queue. The gateway actor alone knows which requests are open; it stamps, sends, collects outputs, watches deadlines
//! and answers.
//!
//! When a process or host is lost, the gateway hears of it from its own links and from blocks that sent there. The requests that
//! may have been lost with it are withdrawn from every block and sent again, once, as long as their deadlines allow; a second loss
//! is answered with the reason. Blocks compute and change nothing, so doing it twice does no harm.

mod actor;
mod handle;
mod loss;
mod pending;

pub(super) use actor::{Abandon, GatewayActor, GatewayConfig};
pub use handle::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Purpose, Ticket};
pub(super) use loss::Unusable;
