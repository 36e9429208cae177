//! Why actors could not be started.

use crate::tensormq::LinkError;

/// Failure to start a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("block {block:?} could not be started: {cause}")]
    Block { block: String, cause: String },
    #[error("{0}")]
    Worker(String),
    #[error("the gateway could not be started: {0}")]
    Gateway(LinkError),
    #[error("cannot start thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error("the control thread ended before every block was up")]
    ControlLost,
}
