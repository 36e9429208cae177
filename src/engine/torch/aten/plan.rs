//! What is known of a graph before it runs: the kernel of each node, weights, lifetimes.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::engine::EngineError;
use crate::graph::{Graph, Node, NodeId, ValueOrigin};

use super::super::cause::Cause;
use super::args::Kernel;
use super::context::NodeContext;
use super::datum::Weight;
use super::layout::Layout;
use super::packed::{self, Packed};
use super::registry;
use super::sites::Sites;
use super::weights::{Sited, Weights};

/// A graph made ready, which all that run it share. Values are addressed by slot: the index of the value in the graph.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) slots: usize,
    /// Slot of each input, and whether a step or output needs it.
    pub(super) inputs: Vec<(usize, bool)>,
    pub(super) outputs: Vec<usize>,
    /// Weights with their slots, in the order of those.
    pub(super) weights: Vec<(usize, Weight)>,
}

/// One node.
pub(super) struct Step {
    pub(super) node: String,
    pub(super) op: &'static str,
    pub(super) kernel: Kernel,
    pub(super) layout: Layout,
    pub(super) inputs: Vec<Option<usize>>,
    /// Places of inputs that belong on a device, where one of them is on it.
    pub(super) data: Vec<usize>,
    /// Slot of each output; `None` where nobody needs it.
    pub(super) outputs: Vec<Option<usize>>,
    /// Of each input: whether it is used here for the last time, and only once.
    pub(super) last: Vec<bool>,
    /// Slots to empty after this step.
    pub(super) frees: Vec<usize>,
}

impl Plan {
    /// Makes a graph ready, with the bodies of its nodes.
    pub(super) fn of(graph: &Graph, weights: &Weights) -> Result<Self, EngineError> {
        let steps = steps(graph, weights, packed::kernel)?;
        // A weight that is packed needs no copy as it was.
        let read = steps.iter().flat_map(|step| step.inputs.iter().flatten());
        let returned = graph.outputs.iter().map(|id| id.0 as usize);
        let used: HashSet<usize> = read.copied().chain(returned).collect();
        let weights = weights.load(graph, |slot| used.contains(&slot))?;
        Ok(Self::new(graph, steps, graph.values.len(), weights))
    }

    /// Makes a graph ready to run on a device. Returns the weights that belong there with their slots, which are none of the
    /// plan's.
    pub(super) fn on_device(
        graph: &Graph,
        weights: &Weights,
        sites: &Sites,
    ) -> Result<(Self, Vec<(usize, Sited)>), EngineError> {
        // Packed for the processor is of no use there.
        let mut steps = steps(graph, weights, |_, _| Ok(None))?;
        let mut slots = graph.values.len();
        // Slots of weights that are on both sides, as the host's steps know them.
        let mut on_host = HashMap::new();
        for (node, step) in steps.iter_mut().enumerate() {
            step.data = sites.data(node).to_vec();
            step.layout = Layout::on_device(&graph.nodes[node].op);
            for (place, slot) in step.inputs.iter_mut().enumerate() {
                if let Some(slot) = slot
                    && sites.uses(*slot) == (true, true)
                    && is_weight(graph, *slot)
                    && !step.data.contains(&place)
                {
                    *slot = *on_host.entry(*slot).or_insert_with(|| {
                        slots += 1;
                        slots - 1
                    });
                }
            }
        }
        let read: HashSet<usize> = steps
            .iter()
            .flat_map(|step| step.inputs.iter().flatten().copied())
            .chain(graph.outputs.iter().map(|id| id.0 as usize))
            .collect();
        let of_host = |slot: usize| on_host.get(&slot).copied().unwrap_or(slot);
        let host = weights.load(graph, |slot| {
            read.contains(&of_host(slot)) && sites.uses(slot) != (true, false)
        })?;
        let host = host.into_iter();
        let host = host.map(|(slot, weight)| (of_host(slot), weight)).collect();
        let device = weights.sited(graph, |slot| read.contains(&slot) && sites.uses(slot).0)?;
        Ok((Self::new(graph, steps, slots, host), device))
    }

    fn new(graph: &Graph, steps: Vec<Step>, slots: usize, weights: Vec<(usize, Weight)>) -> Self {
        let lifetimes = Lifetimes::of(graph);
        let inputs = graph.inputs.iter().map(|id| id.0 as usize);
        Self {
            steps,
            slots,
            inputs: inputs.map(|slot| (slot, lifetimes.is_used(slot))).collect(),
            outputs: graph.outputs.iter().map(|id| id.0 as usize).collect(),
            weights,
        }
    }
}

fn is_weight(graph: &Graph, slot: usize) -> bool {
    matches!(graph.values[slot].origin, ValueOrigin::Initializer(_))
}

/// Makes every node of a graph ready, by what `packs` knows of it or by its plain kernel.
fn steps(graph: &Graph, weights: &Weights, packs: Packs) -> Result<Vec<Step>, EngineError> {
    let lifetimes = Lifetimes::of(graph);
    let nodes = graph.nodes.iter().enumerate();
    let steps = nodes.map(|(index, node)| step((graph, node, index), &lifetimes, weights, packs));
    steps.collect()
}

/// Finds the packed kernel of a node, if it has one.
type Packs = fn(&NodeContext<'_>, usize) -> Result<Option<Packed>, Cause>;

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
    (graph, node, index): (&Graph, &Node, usize),
    lifetimes: &Lifetimes,
    weights: &Weights,
    packs: Packs,
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
    let context = NodeContext::new(graph, node, weights);
    let failed = |cause| operator_error(&label, op, &cause);
    let threads = weights.threads();
    let Packed {
        kernel,
        layout,
        absorbed,
    } = match packs(&context, threads).map_err(failed)? {
        Some(packed) => packed,
        None => Packed::plain(
            registry::kernel(&context).map_err(failed)?,
            Layout::of(&node.op, threads),
        ),
    };
    let inputs: Vec<Option<usize>> = node
        .inputs
        .iter()
        .enumerate()
        .map(|(input, value)| {
            value
                .filter(|_| !absorbed.contains(&input))
                .map(|id| id.0 as usize)
        })
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
        layout,
        inputs,
        outputs,
        last,
        frees,
        data: Vec::new(),
    })
}

pub(super) fn operator_error(node: &str, op: &str, cause: &Cause) -> EngineError {
    EngineError::Operator {
        node: node.to_owned(),
        op: op.to_owned(),
        cause: cause.to_string(),
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
            .finish_non_exhaustive()
    }
}
