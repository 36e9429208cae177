//! A graph made ready, with its signature.

use std::sync::Arc;

use crate::engine::store::Holding;
use crate::engine::{EngineError, Held, Prepared, Session};
use crate::graph::Graph;
use crate::types::{Device, Passes, Signature};

use super::super::ffi::set_threads;
use super::evaluate::evaluate;
use super::plan::Plan;
use super::session::AtenSession;
use super::weights::Weights;

/// A block of the `aten` engine, shared by its instances.
#[derive(Debug)]
pub struct AtenPrepared {
    signature: Arc<Signature>,
    plan: Arc<Plan>,
    /// The weights that the plan uses.
    holding: Arc<Holding>,
    threads: usize,
}

/// Returns a graph as passes leave it, if it has the inputs and outputs of a signature.
pub(super) fn ready(
    graph: &Graph,
    signature: &Signature,
    threads: usize,
    passes: Passes,
) -> Result<Graph, EngineError> {
    let declared = (signature.inputs.len(), signature.outputs.len());
    let actual = (graph.inputs.len(), graph.outputs.len());
    if declared != actual {
        return Err(EngineError::Load {
            path: graph.path.clone(),
            cause: format!(
                "the graph has {} inputs and {} outputs, its signature {} and {}",
                actual.0, actual.1, declared.0, declared.1
            ),
        });
    }
    // Weights are computed with as in a run: the number of threads decides how sums are rounded.
    set_threads(threads.max(1));
    graph
        .optimise(passes, &evaluate)
        .map_err(|error| EngineError::Fault(error.to_string()))
}

impl AtenPrepared {
    /// Makes a graph ready for the CPU. Weights that the device does not hold yet are copied, so that the memory of the
    /// graph can go.
    ///
    /// `signature` describes the graph's inputs and outputs in their order; `threads` is the number each session's
    /// operators use; `passes` are the rewritings that the graph goes through.
    pub fn new(
        graph: &Graph,
        signature: Signature,
        threads: usize,
        passes: Passes,
    ) -> Result<Self, EngineError> {
        let graph = &ready(graph, &signature, threads, passes)?;
        let weights = Weights::new(threads.max(1));
        let plan = Plan::of(graph, &weights)?;
        Ok(Self {
            signature: Arc::new(signature),
            plan: Arc::new(plan),
            holding: Arc::new(weights.into_holding()),
            threads: threads.max(1),
        })
    }
}

impl Prepared for AtenPrepared {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn weight_bytes(&self) -> usize {
        self.holding.bytes()
    }

    fn held(&self) -> Held {
        self.holding.held()
    }

    fn move_to(&self, device: Device) -> Result<(), EngineError> {
        Ok(self.holding.move_to(device)?)
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        set_threads(self.threads);
        let (signature, plan) = (self.signature.clone(), self.plan.clone());
        Ok(Box::new(AtenSession::new(
            signature,
            plan,
            self.holding.clone(),
        )))
    }
}
