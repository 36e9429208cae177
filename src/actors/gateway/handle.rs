//! What front ends hold of the gateway.
//!
//! A handle is cheap to clone and may be used from any thread. Admission is decided here, before anything is queued.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::types::{Failure, Signature, Tensor};

/// A pipeline as clients see it.
#[derive(Debug, Clone)]
pub struct PipelineInfo {
    pub name: String,
    pub signature: Signature,
    pub deadline: Duration,
}

/// Whether a pipeline takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineState {
    Ready,
    /// Not ready, with the reason: still loading, or a block was given up.
    NotReady { reason: String },
}

/// One request: tensors in the order of the pipeline's inputs.
#[derive(Debug)]
pub struct InferRequest {
    /// Index into [`Gateway::pipelines`].
    pub pipeline: usize,
    pub inputs: Vec<Tensor>,
    /// Asked for by the client; the pipeline's own deadline holds where it is shorter.
    pub deadline: Option<Duration>,
}

/// Tensors in the order of the pipeline's outputs.
#[derive(Debug)]
pub struct InferReply {
    pub outputs: Vec<Tensor>,
}

/// Handle to the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    _inner: Arc<()>,
}

/// A request in flight: a future of its reply. Dropping it cancels the request.
#[derive(Debug)]
pub struct Ticket {
    _inner: (),
}

impl Gateway {
    /// Returns the pipelines in the order of the configuration.
    pub fn pipelines(&self) -> &[PipelineInfo] {
        &[]
    }

    pub fn state(&self, _pipeline: usize) -> PipelineState {
        PipelineState::Ready
    }

    /// Checks the request against the signature and admits it, or says why not.
    pub fn submit(&self, _request: InferRequest) -> Result<Ticket, Failure> {
        Err(Failure::new(crate::types::FailureKind::Unavailable, "not built yet"))
    }
}

impl Future for Ticket {
    type Output = Result<InferReply, Failure>;

    fn poll(self: Pin<&mut Self>, _ctx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Pending
    }
}
