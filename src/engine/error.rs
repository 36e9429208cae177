//! What can go wrong while a block is prepared or run.

use std::path::PathBuf;

use crate::types::{Device, Shape, SignatureError, TensorError};

use super::{GoldenError, OutOfMemory};

/// Failure of an engine. [`EngineError::is_callers`] tells a bad request from a fault of the block.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The request's tensors do not fit the block.
    #[error("bad input: {0}")]
    Input(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("cannot load {path}: {cause}", path = path.display())]
    Load { path: PathBuf, cause: String },
    #[error("operator {node:?} ({op}) failed: {cause}")]
    Operator {
        node: String,
        op: String,
        cause: String,
    },
    /// A run that failed as a whole, in an engine that does not tell operators apart.
    #[error("the run failed: {0}")]
    Run(String),
    #[error("output {name:?} is {seen}, the signature says {expected}")]
    Output {
        name: String,
        seen: String,
        expected: String,
    },
    /// A run before traffic failed.
    #[error("it failed on zeros of {inputs}: {cause}")]
    Warm { inputs: String, cause: Box<Self> },
    #[error(
        "output {output:?} is {value} at {index:?} on zeros of {inputs}: its weights may be broken; \
         if it cannot take zeros, set finite = false"
    )]
    NotFinite {
        output: String,
        value: f64,
        index: Shape,
        inputs: String,
    },
    /// Runs on declared shapes are to be captured, and cannot be.
    #[error(
        "cuda_graphs is true, and runs on {inputs} cannot be captured: {cause}; \"auto\" does without"
    )]
    NotCaptured { inputs: String, cause: String },
    /// An output is not what a golden case says, or the case cannot be used.
    #[error("golden {0}")]
    Golden(Box<GoldenError>),
    #[error("device {device} is not available: {cause}")]
    Device { device: Device, cause: String },
    /// The device has too little memory left. What the call took of it is free again.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The device fails in every call, until the process is another one.
    #[error(
        "device {device} is lost, and nothing runs there until this process is started again: {cause}"
    )]
    DeviceLost { device: Device, cause: String },
    #[error("engine {engine} is not available: {cause}")]
    NoEngine { engine: &'static str, cause: String },
    #[error("{0}")]
    Fault(String),
}

impl EngineError {
    /// Tells whether the session that gave this error is as good as before: what failed is the run and nothing else. After
    /// any other error it has to be made anew.
    ///
    /// A session drops all tensors of a run whether or not it succeeds, and weights are never written to, so a failed
    /// operator, on whatever inputs, leaves nothing behind. What a TorchScript module keeps by itself it keeps beyond its
    /// sessions, so making one anew would not help.
    pub fn keeps_session(&self) -> bool {
        match self {
            Self::Input(_)
            | Self::Signature(_)
            | Self::Tensor(_)
            | Self::Operator { .. }
            | Self::Run(_)
            | Self::Output { .. }
            | Self::NotFinite { .. }
            | Self::NotCaptured { .. }
            | Self::Golden(_)
            | Self::OutOfMemory(_) => true,
            Self::Warm { cause, .. } => cause.keeps_session(),
            Self::Load { .. }
            | Self::Device { .. }
            | Self::DeviceLost { .. }
            | Self::NoEngine { .. }
            | Self::Fault(_) => false,
        }
    }

    /// Tells whether only another process can go on.
    pub fn loses_device(&self) -> bool {
        match self {
            Self::Warm { cause, .. } => cause.loses_device(),
            _ => matches!(self, Self::DeviceLost { .. }),
        }
    }

    /// Tells whether the request is at fault.
    pub fn is_callers(&self) -> bool {
        matches!(self, Self::Input(_) | Self::Signature(_))
    }
}

impl From<GoldenError> for EngineError {
    fn from(error: GoldenError) -> Self {
        Self::Golden(Box::new(error))
    }
}
