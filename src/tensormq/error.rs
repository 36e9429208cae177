//! What can go wrong on a link.

use crate::types::{Device, Endpoint, PoolError, TensorError};

use super::{EncodingError, Form, SlotError};

/// Failure of a link, or something on it that is no envelope.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot bind {endpoint}: {cause}")]
    Bind { endpoint: Endpoint, cause: String },
    #[error("a producer has sent more than its window of {window}")]
    Overrun { window: u32 },
    #[error("cannot connect to {endpoint}: {cause}")]
    Connect { endpoint: Endpoint, cause: String },
    #[error("the name {name:?} of a producer has {} bytes, expected 1 to {max}", name.len())]
    NameLength { name: String, max: usize },
    #[error(
        "{endpoint} is beyond this machine, and links there have to be encrypted: give each host a key"
    )]
    NoKeys { endpoint: Endpoint },
    #[error("no host of the configuration has a key and listens at {endpoint}")]
    UnknownHost { endpoint: Endpoint },
    #[error(
        "the installed libzmq cannot encrypt: one with CURVE is needed for links to other hosts"
    )]
    NoCurve,
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
    #[error("order {seen:?} of dimensions is not a permutation of theirs other than row-major")]
    Order { seen: Vec<u8> },
    #[error("tensor {index} is announced as {announced}, its handle is {seen}")]
    Announced {
        index: usize,
        announced: String,
        seen: String,
    },
    #[error("frame {index} is not a tensor handle of this process")]
    NoHandle { index: usize },
    #[error("tensor {index} is announced in the form {announced:?}, it came as {seen:?}")]
    Form {
        index: usize,
        announced: Form,
        seen: Form,
    },
    #[error("payload of tensor {index}: {cause}")]
    Payload { index: usize, cause: TensorError },
    #[error("encoded payload of tensor {index}: {cause}")]
    Encoded { index: usize, cause: EncodingError },
    #[error("slot of tensor {index}: {cause}")]
    Slot { index: usize, cause: SlotError },
    #[error("tensor {index} in a pool of its device: {cause}")]
    Pool { index: usize, cause: PoolError },
    #[error("a tensor of {device} cannot leave it: {cause}")]
    Device { device: Device, cause: String },
    #[error("cannot make an arena of {bytes} bytes: {cause}")]
    Arena { bytes: usize, cause: String },
    #[error("the name of a producer is not UTF-8")]
    Name,
    #[error("a producer that was not let in sent an envelope")]
    NotGreeted,
    #[error("producer {name:?} was not let in: {reason}")]
    Refused { name: String, reason: String },
}
