//! What each block and the gateway send to whom, derived from a plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Encodings, PipelineId, StepId};

use super::{EdgeFrom, EdgeTo, Plan, PlannedBlock, PlannedPipeline};

/// Receiver of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Receiver {
    /// Index into [`Plan::blocks`].
    Block(usize),
    Gateway,
}

/// One envelope that a finished step (or an admitted request) causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub to: Receiver,
    /// Step addressed, [`StepId::GATEWAY`] for the gateway.
    pub step: StepId,
    /// Pairs of own output (or pipeline input) and the port it is for: input of the step, output of the pipeline.
    pub ports: Vec<(usize, u16)>,
    /// Whether the step gets envelopes of other producers too, so that all of a request must meet at one instance.
    pub joined: bool,
}

/// Deliveries of every producer of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wiring {
    /// By pipeline: what the gateway sends when a request is admitted.
    pub admitted: Vec<Vec<Delivery>>,
    /// By pipeline and step: what follows when that step is done.
    pub finished: BTreeMap<(PipelineId, StepId), Vec<Delivery>>,
    /// By block: envelopes that one producer may have waiting there. That is the block's `queue_max`, except where
    /// blocks feed each other in a circle (pipelines may use them in different orders): full queues there would wait for
    /// each other for ever, so the window covers all that can be in flight.
    pub windows: Vec<usize>,
    /// Of edges between hosts, those that are not sent as they are.
    pub encodings: Encodings,
}

impl Receiver {
    /// Returns the index of the block; 65535 is the gateway.
    pub fn index(self) -> u16 {
        self.block().map_or(u16::MAX, small)
    }

    fn block(self) -> Option<usize> {
        match self {
            Self::Block(block) => Some(block),
            Self::Gateway => None,
        }
    }
}

type Grouped = BTreeMap<Option<usize>, BTreeMap<Option<usize>, Vec<(usize, u16)>>>;

impl Wiring {
    pub fn of(plan: &Plan) -> Self {
        let mut wiring = Self::default();
        for (index, pipeline) in plan.pipelines.iter().enumerate() {
            let id = PipelineId(small(index));
            let grouped = group(pipeline);
            let mut admitted = Vec::new();
            for (producer, consumers) in &grouped {
                let deliveries = consumers.iter().map(|(&consumer, ports)| Delivery {
                    to: consumer.map_or(Receiver::Gateway, |step| {
                        Receiver::Block(pipeline.steps[step].block)
                    }),
                    step: consumer.map_or(StepId::GATEWAY, |step| StepId(small(step))),
                    ports: ports.clone(),
                    joined: grouped
                        .values()
                        .filter(|all| all.contains_key(&consumer))
                        .count()
                        > 1,
                });
                match producer {
                    None => admitted.extend(deliveries),
                    Some(step) => {
                        wiring
                            .finished
                            .insert((id, StepId(small(*step))), deliveries.collect());
                    }
                }
            }
            wiring.admitted.push(admitted);
            wiring.encodings.extend(encodings(id, pipeline));
        }
        wiring.windows = wiring.windows(plan);
        wiring
    }

    fn windows(&self, plan: &Plan) -> Vec<usize> {
        let count = plan.blocks.len();
        let mut reaches: Vec<BTreeSet<usize>> = (0..count)
            .map(|block| {
                let all = self.receivers_of(plan, block);
                all.into_iter().filter_map(Receiver::block).collect()
            })
            .collect();
        for via in 0..count {
            let beyond = reaches[via].clone();
            for set in &mut reaches {
                if set.contains(&via) {
                    set.extend(&beyond);
                }
            }
        }
        let window = |(block, planned): (usize, &PlannedBlock)| {
            let queue_max = planned.spec.queue_max;
            if !reaches[block].contains(&block) {
                return queue_max;
            }
            queue_max.max(plan.limits.in_flight_max.saturating_mul(plan.uses(block)))
        };
        plan.blocks.iter().enumerate().map(window).collect()
    }

    /// Returns the receivers of a block's deliveries, each once.
    pub fn receivers_of(&self, plan: &Plan, block: usize) -> BTreeSet<Receiver> {
        let uses = |(pipeline, step): &(PipelineId, StepId)| {
            plan.pipelines[usize::from(pipeline.0)].steps[usize::from(step.0)].block == block
        };
        let own = self.finished.iter().filter(|(key, _)| uses(key));
        own.flat_map(|(_, deliveries)| deliveries.iter().map(|delivery| delivery.to))
            .collect()
    }

    /// Returns the outputs of a block of which some delivery goes to a receiver that is asked for.
    pub fn outputs_to(
        &self,
        plan: &Plan,
        block: usize,
        wanted: impl Fn(Receiver) -> bool,
    ) -> BTreeSet<usize> {
        let uses = |(pipeline, step): &(PipelineId, StepId)| {
            plan.pipelines[usize::from(pipeline.0)].steps[usize::from(step.0)].block == block
        };
        let own = self.finished.iter().filter(|(key, _)| uses(key));
        let deliveries = own.flat_map(|(_, deliveries)| deliveries);
        deliveries
            .filter(|delivery| wanted(delivery.to))
            .flat_map(|delivery| delivery.ports.iter().map(|&(output, _)| output))
            .collect()
    }

    /// Returns the blocks whose deliveries go to a receiver, each once.
    pub fn producers_of(&self, plan: &Plan, receiver: Receiver) -> BTreeSet<Receiver> {
        let sends =
            |deliveries: &[Delivery]| deliveries.iter().any(|delivery| delivery.to == receiver);
        let senders = self
            .finished
            .iter()
            .filter(|(_, deliveries)| sends(deliveries));
        let block = |(pipeline, step): &(PipelineId, StepId)| {
            let pipeline = &plan.pipelines[usize::from(pipeline.0)];
            Receiver::Block(pipeline.steps[usize::from(step.0)].block)
        };
        senders.map(|(step, _)| block(step)).collect()
    }
}

/// Returns the encodings of a pipeline's edges, by consumer.
fn encodings(id: PipelineId, pipeline: &PlannedPipeline) -> Encodings {
    let edges = pipeline.edges.iter();
    let encoded = edges.filter(|edge| !edge.encoded().is_plain());
    encoded
        .map(|edge| {
            let (step, port) = match edge.to {
                EdgeTo::Step { step, input } => (StepId(small(step)), input),
                EdgeTo::Output(output) => (StepId::GATEWAY, output),
            };
            ((id, step, small(port)), edge.encoded())
        })
        .collect()
}

/// Groups edges by producer and consumer step; `None` is the gateway.
fn group(pipeline: &PlannedPipeline) -> Grouped {
    let mut grouped = Grouped::new();
    for edge in &pipeline.edges {
        let (producer, output) = match edge.from {
            EdgeFrom::Input(input) => (None, input),
            EdgeFrom::Step { step, output } => (Some(step), output),
        };
        let (consumer, port) = match edge.to {
            EdgeTo::Step { step, input } => (Some(step), input),
            EdgeTo::Output(output) => (None, output),
        };
        let ports = grouped
            .entry(producer)
            .or_default()
            .entry(consumer)
            .or_default();
        ports.push((output, small(port)));
    }
    grouped
}

/// Plans are refused when an index does not fit.
fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
