//! Limits of what one plan may ask of the transport: tensors in an envelope, sockets of a process.

use std::collections::BTreeSet;

use crate::types::{Problem, TENSORS_MAX};

use super::{Plan, Receiver, Wiring};

/// Sockets of one process; a ZeroMQ context has 1023 of them, a few of which serve other ends.
const SOCKETS_MAX: usize = 1000;

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

/// An instance has a socket for what comes in, one for each instance that it sends to, and one to the gateway.
fn check_sockets(plan: &Plan, wiring: &Wiring) -> Option<Problem> {
    let instances = |receivers: &BTreeSet<Receiver>| -> usize {
        let blocks = receivers.iter().filter_map(|receiver| match receiver {
            Receiver::Block(block) => Some(plan.blocks[*block].spec.instances),
            Receiver::Gateway => None,
        });
        blocks.sum()
    };
    let admitted = wiring.admitted.iter().flatten();
    let gateway = 1 + instances(&admitted.map(|delivery| delivery.to).collect());
    let sockets: Vec<usize> = plan
        .blocks
        .iter()
        .enumerate()
        .map(|(index, block)| {
            let consumers = instances(&wiring.receivers_of(plan, index));
            block.spec.instances * (1 + consumers + 1)
        })
        .collect();
    let total = gateway + sockets.iter().sum::<usize>();
    if total <= SOCKETS_MAX {
        return None;
    }
    let (most, _) = sockets
        .iter()
        .enumerate()
        .max_by_key(|(_, count)| **count)?;
    let spec = &plan.blocks[most].spec;
    Some(Problem::new(
        format!("blocks.{}.instances", spec.name),
        format!(
            "is {}, and the instances of all blocks together need {total} sockets",
            spec.instances
        ),
        format!("lower it, expected at most {SOCKETS_MAX} sockets"),
    ))
}
