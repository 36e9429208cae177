//! What the front end needs from the pipelines behind it; tests put a double here.

use crate::actors::{InferReply, InferRequest, PipelineInfo, PipelineState};
use crate::types::Failure;

/// Where the front end finds the pipelines of now. What it has begun with one backend it ends with it.
pub trait Front: Clone + Send + Sync + 'static {
    type Backend: Backend;

    fn current(&self) -> Self::Backend;

    /// Has whatever is configured now be served, a pipeline that was unloaded with it: `Ok` if it is. The error says why not,
    /// and what was served before still is.
    fn load(&self, pipeline: String) -> impl Future<Output = Result<(), Failure>> + 'static;

    /// Has a pipeline not be served any more, whatever is configured: `Ok` if it is not, else why it still is.
    fn unload(&self, pipeline: String) -> impl Future<Output = Result<(), Failure>> + 'static;

    /// Returns the pipelines that are configured and were unloaded.
    fn unloaded(&self) -> Vec<String>;
}

/// Pipelines that answer requests.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A request in flight. Dropping it cancels the request.
    type Reply: Future<Output = Result<InferReply, Failure>> + 'static;

    fn pipelines(&self) -> &[PipelineInfo];

    fn state(&self, pipeline: usize) -> PipelineState;

    /// Admits the request, or says why not.
    fn submit(&self, request: InferRequest) -> Result<Self::Reply, Failure>;
}
