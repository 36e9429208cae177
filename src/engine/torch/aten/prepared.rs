//! A graph made ready: weights copied, kernels looked up, lifetimes known.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;

use crate::engine::{EngineError, Prepared, Session};
use crate::graph::{Graph, Initializer, Node, NodeId, ValueOrigin};
use crate::types::{Signature, Tensor};

use super::super::cause::Cause;
use super::super::ffi::set_threads;
use super::args::Kernel;
use super::context::NodeContext;
use super::datum::Weight;
use super::registry::kernel;
use super::session::AtenSession;

/// A block of the `aten` engine, shared by its instances.
pub struct AtenPrepared {
    plan: Arc<Plan>,
    threads: usize,
}

/// What the sessions share. Values are addressed by slot: the index of the value in the graph.
pub(super) struct Plan {
    pub(super) signature: Signature,
    pub(super) steps: Vec<Step>,
    pub(super) slots: usize,
    /// Slot of each input, and whether a step or output needs it.
    pub(super) inputs: Vec<(usize, bool)>,
    pub(super) outputs: Vec<usize>,
    /// Weights with their slots.
    pub(super) weights: Vec<(usize, Arc<Weight>)>,
    weight_bytes: usize,
}

/// One node.
pub(super) struct Step {
    pub(super) node: String,
    pub(super) op: &'static str,
    pub(super) kernel: Kernel,
    pub(super) inputs: Vec<Option<usize>>,
    /// Slot of each output; `None` where nobody needs it.
    pub(super) outputs: Vec<Option<usize>>,
    /// Of each input: whether it is used here for the last time, and only once.
    pub(super) last: Vec<bool>,
    /// Slots to empty after this step.
    pub(super) frees: Vec<usize>,
}

impl AtenPrepared {
    /// Makes a graph ready for the CPU. The weights are copied, so that the memory of the graph can go.
    ///
    /// `signature` describes the graph's inputs and outputs in their order; `threads` is the number each session's
    /// operators use.
    pub fn new(graph: &Graph, signature: Signature, threads: usize) -> Result<Self, EngineError> {
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
        let lifetimes = Lifetimes::of(graph);
        let steps = graph
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| step(graph, node, index, &lifetimes))
            .collect::<Result<_, _>>()?;
        let (weights, weight_bytes) = load_weights(graph, &lifetimes)?;
        let plan = Plan {
            signature,
            steps,
            slots: graph.values.len(),
            inputs: graph
                .inputs
                .iter()
                .map(|id| (id.0 as usize, lifetimes.is_used(id.0 as usize)))
                .collect(),
            outputs: graph.outputs.iter().map(|id| id.0 as usize).collect(),
            weights,
            weight_bytes,
        };
        Ok(Self {
            plan: Arc::new(plan),
            threads: threads.max(1),
        })
    }
}

impl Prepared for AtenPrepared {
    fn signature(&self) -> &Signature {
        &self.plan.signature
    }

    fn weight_bytes(&self) -> usize {
        self.plan.weight_bytes
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        set_threads(self.threads);
        Ok(Box::new(AtenSession::new(self.plan.clone())))
    }
}

/// When each value is needed for the last time.
struct Lifetimes {
    /// Index of the last node that uses the slot.
    last_use: Vec<Option<usize>>,
    /// Outputs of the graph, which outlive the nodes.
    is_output: Vec<bool>,
    /// Weights, which outlive the run.
    is_weight: Vec<bool>,
}

impl Lifetimes {
    fn of(graph: &Graph) -> Self {
        let mut last_use = vec![None; graph.values.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            for value in node.inputs.iter().flatten() {
                last_use[value.0 as usize] = Some(index);
            }
        }
        let mut is_output = vec![false; graph.values.len()];
        for value in &graph.outputs {
            is_output[value.0 as usize] = true;
        }
        let is_weight = graph
            .values
            .iter()
            .map(|value| matches!(value.origin, ValueOrigin::Initializer(_)))
            .collect();
        Self {
            last_use,
            is_output,
            is_weight,
        }
    }

    fn is_used(&self, slot: usize) -> bool {
        self.last_use[slot].is_some() || self.is_output[slot]
    }

    fn ends_at(&self, slot: usize, node: usize) -> bool {
        self.last_use[slot] == Some(node) && !self.is_output[slot] && !self.is_weight[slot]
    }
}

fn step(
    graph: &Graph,
    node: &Node,
    index: usize,
    lifetimes: &Lifetimes,
) -> Result<Step, EngineError> {
    let op = node.op.name();
    let label = if node.name.is_empty() {
        let output = node.outputs.iter().flatten().next();
        output.map_or_else(
            || format!("{:?}", NodeId(index as u32)),
            |id| graph.value(*id).name.clone(),
        )
    } else {
        node.name.clone()
    };
    let context = NodeContext::new(graph, node);
    let kernel = kernel(&context).map_err(|cause| operator_error(&label, op, &cause))?;
    let inputs: Vec<Option<usize>> = node
        .inputs
        .iter()
        .map(|value| value.map(|id| id.0 as usize))
        .collect();
    let last = inputs
        .iter()
        .map(|slot| {
            slot.is_some_and(|slot| {
                let uses = inputs.iter().filter(|&&other| other == Some(slot)).count();
                uses == 1 && lifetimes.ends_at(slot, index)
            })
        })
        .collect();
    let mut frees: Vec<usize> = inputs
        .iter()
        .flatten()
        .copied()
        .filter(|&slot| lifetimes.ends_at(slot, index))
        .collect();
    frees.sort_unstable();
    frees.dedup();
    let outputs = node
        .outputs
        .iter()
        .map(|value| {
            value
                .map(|id| id.0 as usize)
                .filter(|&slot| lifetimes.is_used(slot))
        })
        .collect();
    Ok(Step {
        node: label,
        op,
        kernel,
        inputs,
        outputs,
        last,
        frees,
    })
}

/// Copies every initialiser that is used into aligned memory; once where values share it.
fn load_weights(
    graph: &Graph,
    lifetimes: &Lifetimes,
) -> Result<(Vec<(usize, Arc<Weight>)>, usize), EngineError> {
    let mut copies: HashMap<*const Initializer, Arc<Weight>> = HashMap::new();
    let mut weights = Vec::new();
    let mut bytes = 0;
    for (slot, value) in graph.values.iter().enumerate() {
        let ValueOrigin::Initializer(initializer) = &value.origin else {
            continue;
        };
        if !lifetimes.is_used(slot) {
            continue;
        }
        let weight = match copies.entry(Arc::as_ptr(initializer)) {
            Entry::Occupied(copy) => copy.get().clone(),
            Entry::Vacant(place) => {
                let copy = copy_of(initializer).map_err(|cause| EngineError::Load {
                    path: graph.path.clone(),
                    cause: format!("initializer {:?}: {cause}", value.name),
                })?;
                bytes += initializer.tensor.bytes().len();
                place.insert(Arc::new(copy)).clone()
            }
        };
        weights.push((slot, weight));
    }
    Ok((weights, bytes))
}

/// Copies elements once, also from a file's memory, which is aligned to nothing.
fn copy_of(initializer: &Initializer) -> Result<Weight, Cause> {
    let source = &initializer.tensor;
    let copy = Tensor::copy_of(source.dtype(), source.shape().to_vec(), source.bytes());
    Weight::import(&copy.map_err(|error| Cause::new(error.to_string()))?)
}

pub(super) fn operator_error(node: &str, op: &str, cause: &Cause) -> EngineError {
    EngineError::Operator {
        node: node.to_owned(),
        op: op.to_owned(),
        cause: cause.to_string(),
    }
}

impl fmt::Debug for AtenPrepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtenPrepared")
            .field("plan", &self.plan)
            .field("threads", &self.threads)
            .finish()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field(
                "steps",
                &self.steps.iter().map(|step| step.op).collect::<Vec<_>>(),
            )
            .field("weights", &self.weights.len())
            .field("weight_bytes", &self.weight_bytes)
            .finish_non_exhaustive()
    }
}
