//! What can go wrong on a link.

use crate::types::{Endpoint, TensorError};

/// Failure of a link, or something on it that is no envelope.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot bind {endpoint}: {cause}")]
    Bind { endpoint: Endpoint, cause: String },
    #[error("cannot connect to {endpoint}: {cause}")]
    Connect { endpoint: Endpoint, cause: String },
    #[error("{0} leads out of this process, where tensors cannot travel as handles")]
    Carrier(Endpoint),
    #[error("socket failed: {0}")]
    Socket(String),
    #[error("message has {seen} frames, expected {expected}")]
    Frames { seen: usize, expected: usize },
    #[error("header is {bytes} bytes long, expected {expected}")]
    HeaderLength { bytes: usize, expected: usize },
    #[error("header starts with {seen:#010x}, which is not TensorMQ")]
    Magic { seen: u32 },
    #[error(
        "peer speaks TensorMQ version {seen}, this program speaks {expected}: run the same release on both sides"
    )]
    Version { seen: u8, expected: u8 },
    #[error("header field {field} has the unknown value {seen}")]
    Field { field: &'static str, seen: u64 },
    #[error("envelope carries {seen} tensors, at most {max} are allowed")]
    Tensors { seen: usize, max: usize },
    #[error("tensor has {seen} dimensions, at most {max} are allowed")]
    Rank { seen: usize, max: usize },
    #[error("tensor {index} is announced as {announced}, its handle is {seen}")]
    Announced {
        index: usize,
        announced: String,
        seen: String,
    },
    #[error("frame {index} is not a tensor handle of this process")]
    NoHandle { index: usize },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
