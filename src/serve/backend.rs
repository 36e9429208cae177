//! What the front end needs from the pipelines behind it; tests put a double here.

use crate::actors::{Gateway, InferReply, InferRequest, PipelineInfo, PipelineState, Ticket};
use crate::types::Failure;

/// Pipelines that answer requests.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A request in flight. Dropping it cancels the request.
    type Reply: Future<Output = Result<InferReply, Failure>> + 'static;

    fn pipelines(&self) -> &[PipelineInfo];

    fn state(&self, pipeline: usize) -> PipelineState;

    /// Admits the request, or says why not.
    fn submit(&self, request: InferRequest) -> Result<Self::Reply, Failure>;
}

impl Backend for Gateway {
    type Reply = Ticket;

    fn pipelines(&self) -> &[PipelineInfo] {
        self.pipelines()
    }

    fn state(&self, pipeline: usize) -> PipelineState {
        self.state(pipeline)
    }

    fn submit(&self, request: InferRequest) -> Result<Ticket, Failure> {
        self.submit(request)
    }
}
