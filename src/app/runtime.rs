//! A configuration, running.

use std::time::Duration;

use crate::actors::{Gateway, Node, NodeError, StopReport};
use crate::engine::{EngineError, prepare};

use super::Loaded;

/// Block actors and gateway, running.
#[derive(Debug)]
pub struct Runtime {
    node: Node,
}

/// Why a plan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("block {block:?} could not be prepared: {cause}")]
    Prepare { block: String, cause: EngineError },
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Runtime {
    /// Prepares and warms every block, then opens the gateway. Blocks the calling thread; not for async contexts.
    pub fn start(loaded: Loaded) -> Result<Self, StartError> {
        let blocks = &loaded.plan.blocks;
        let prepared = blocks.iter().enumerate().map(|(index, block)| {
            let spec = &block.spec;
            prepare(loaded.source(index), spec.threads, spec.device).map_err(|cause| {
                StartError::Prepare {
                    block: spec.name.clone(),
                    cause,
                }
            })
        });
        let prepared = prepared.collect::<Result<_, _>>()?;
        // The graphs, and with them the mapped model files, are not needed any more.
        let Loaded { plan, .. } = loaded;
        Ok(Self {
            node: Node::start(plan, prepared)?,
        })
    }

    pub fn gateway(&self) -> &Gateway {
        self.node.gateway()
    }

    /// Stops intake, waits for requests in flight up to `drain`, then stops every actor.
    pub fn stop(self, drain: Duration) -> StopReport {
        self.node.stop(drain)
    }
}
