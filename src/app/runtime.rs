//! A configuration, loaded and running.

use std::path::Path;
use std::time::Duration;

use crate::actors::Gateway;
use crate::plan::Plan;
use crate::types::Spec;

/// A configuration that passed every static check, with the models it names read and cut.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
}

/// Block actors and gateway, running.
#[derive(Debug)]
pub struct Runtime {
    gateway: Gateway,
}

/// Why a plan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("block {block:?} could not be started: {cause}")]
    Block { block: String, cause: String },
}

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopReport {
    /// Requests that were still unanswered when the drain time was over.
    pub stragglers: Vec<String>,
}

impl Loaded {
    /// Reads and checks the models of `spec` and compiles it. `spec_path` resolves relative model paths; every problem is returned.
    pub fn from_spec(_spec: Spec, _spec_path: Option<&Path>) -> Result<Self, Vec<crate::types::Problem>> {
        todo!()
    }
}

impl Runtime {
    /// Prepares and warms every block, then opens the gateway. Blocks the calling thread; must not be called from an async context.
    pub fn start(_loaded: Loaded) -> Result<Self, StartError> {
        todo!()
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Stops intake, waits for requests in flight up to `drain`, then stops every actor.
    pub fn stop(self, _drain: Duration) -> StopReport {
        todo!()
    }
}
