//! Limits of what one plan may ask of the transport: tensors in an envelope, sockets of a process.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{Problem, TENSORS_MAX};

use super::{Carrier, Plan, Receiver, Wiring};

/// Sockets of one process; a ZeroMQ context has 1023 of them, a few of which serve other ends.
const SOCKETS_MAX: usize = 1000;

/// Sockets of a link that leaves its process: its own, and two that tell what becomes of its connection.
const WATCHED_LINK: usize = 3;

/// Returns the plan, or what is too much of it.
pub(super) fn check(plan: Plan) -> Result<Plan, Vec<Problem>> {
    let wiring = Wiring::of(&plan);
    let mut problems = check_tensors(&plan, &wiring);
    problems.extend(check_sockets(&plan, &wiring));
    if problems.is_empty() {
        Ok(plan)
    } else {
        Err(problems)
    }
}

fn check_tensors(plan: &Plan, wiring: &Wiring) -> Vec<Problem> {
    let admitted = wiring.admitted.iter().enumerate();
    let finished = wiring.finished.iter();
    let deliveries = admitted
        .chain(finished.map(|((pipeline, _), deliveries)| (usize::from(pipeline.0), deliveries)));
    let mut problems = Vec::new();
    for (pipeline, deliveries) in deliveries {
        let pipeline = &plan.pipelines[pipeline];
        for delivery in deliveries {
            let count = delivery.ports.len();
            if count <= TENSORS_MAX {
                continue;
            }
            let consumer = pipeline.steps.get(usize::from(delivery.step.0));
            let consumer = consumer.map_or("the outputs", |step| step.name.as_str());
            problems.push(Problem::new(
                format!("pipelines.{}", pipeline.name),
                format!("gives {consumer} {count} tensors from one place"),
                format!("expected at most {TENSORS_MAX}"),
            ));
        }
    }
    problems
}

/// Sockets that an instance listens on and sends through, for the process that it lives in.
fn sockets_of(plan: &Plan, wiring: &Wiring, receiver: Receiver) -> usize {
    let consumers: BTreeSet<Receiver> = match receiver {
        Receiver::Gateway => (0..plan.blocks.len()).map(Receiver::Block).collect(),
        Receiver::Block(block) => {
            let mut consumers = wiring.receivers_of(plan, block);
            consumers.insert(Receiver::Gateway);
            consumers
        }
    };
    let links = consumers.into_iter().map(|consumer| {
        let each = match plan.carrier(receiver, consumer) {
            Carrier::Inproc => 1,
            Carrier::Ipc | Carrier::Tcp => WATCHED_LINK,
        };
        plan.instances(consumer) * each
    });
    plan.carriers_into(wiring, receiver).len() + links.sum::<usize>()
}

/// Sockets of one process.
#[derive(Debug, Default)]
struct Sockets {
    total: usize,
    /// Sockets of all instances of a block there, and the block.
    blocks: Vec<(usize, usize)>,
}

/// Reports each process that would need more sockets than it has, by the block that needs the most.
fn check_sockets(plan: &Plan, wiring: &Wiring) -> Vec<Problem> {
    let mut processes: BTreeMap<(&str, &str), Sockets> = BTreeMap::new();
    for (receiver, instances) in plan.receivers() {
        let placement = plan.placement(receiver);
        let needed = instances * sockets_of(plan, wiring, receiver);
        let process = (placement.host.as_str(), placement.process.as_str());
        let sockets = processes.entry(process).or_default();
        sockets.total += needed;
        if let Receiver::Block(block) = receiver {
            sockets.blocks.push((needed, block));
        }
    }
    let several = processes.len() > 1;
    let mut problems = Vec::new();
    for ((host, process), Sockets { total, blocks }) in &processes {
        if *total <= SOCKETS_MAX {
            continue;
        }
        // The gateway alone can need too many: then the block with the most instances is to blame.
        let all = || {
            plan.blocks
                .iter()
                .map(|block| block.spec.instances)
                .zip(0..)
        };
        let Some((_, most)) = blocks.iter().copied().max().or_else(|| all().max()) else {
            continue;
        };
        let spec = &plan.blocks[most].spec;
        let whose = if several {
            format!("process {process:?} of host {host:?} needs")
        } else {
            "the instances of all blocks together need".to_owned()
        };
        problems.push(Problem::new(
            format!("blocks.{}.instances", spec.name),
            format!("is {}, and {whose} {total} sockets", spec.instances),
            format!("lower it, expected at most {SOCKETS_MAX} sockets"),
        ));
    }
    problems
}
