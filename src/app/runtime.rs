//! A configuration, running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::actors::{Gateway, Node, NodeError, StopReport};
use crate::engine::{EngineError, Prepared, Store, Usage, prepare};
use crate::plan::{Plan, PlannedBlock};
use crate::telemetry::{Event, WeightsLoaded, metrics};
use crate::types::Device;

use super::Loaded;

/// Block actors and gateway, running.
#[derive(Debug)]
pub struct Runtime {
    node: Node,
    weights: BTreeMap<Device, Usage>,
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
        let prepared: Vec<Arc<dyn Prepared>> = prepared.collect::<Result<_, _>>()?;
        // The graphs, and with them the mapped model files, are not needed any more.
        let Loaded { plan, .. } = loaded;
        let devices = count_weights(&plan, &prepared);
        let node = Node::start(plan, prepared)?;
        // Now that every session is there: some hold weights of their own.
        let usage = |device| (device, Store::of(device).usage());
        let weights: BTreeMap<_, _> = devices.into_iter().map(usage).collect();
        for (&device, usage) in &weights {
            WeightsLoaded {
                device,
                bytes: usage.bytes,
                shared_bytes: usage.shared_bytes,
            }
            .emit();
        }
        Ok(Self { node, weights })
    }

    /// Returns what the devices of the plan hold of weights, all blocks together, as it was after the start.
    pub fn weights(&self) -> &BTreeMap<Device, Usage> {
        &self.weights
    }

    pub fn gateway(&self) -> &Gateway {
        self.node.gateway()
    }

    /// Stops intake, waits for requests in flight up to `drain`, then stops every actor.
    pub fn stop(self, drain: Duration) -> StopReport {
        self.node.stop(drain)
    }
}

/// Tells metrics what each block uses. Returns the devices.
fn count_weights(plan: &Plan, prepared: &[Arc<dyn Prepared>]) -> Vec<Device> {
    let blocks = plan.blocks.iter().zip(prepared);
    let count = |(block, prepared): (&PlannedBlock, &Arc<dyn Prepared>)| {
        let bytes = i64::try_from(prepared.weight_bytes()).unwrap_or(i64::MAX);
        metrics::block(&block.spec.name).weight_bytes.set(bytes);
        block.spec.device
    };
    blocks.map(count).collect()
}
