//! Processes as drawings frame them.

use crate::plan::{Placement, Plan, PlannedPipeline, Receiver};

/// What a pipeline has in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// `None`: the plan has no other process, and there is nothing to frame.
    pub(super) label: Option<String>,
    /// Inputs and outputs of the pipeline are here: it is the process of the gateway.
    pub(super) gateway: bool,
    /// Positions in the pipeline.
    pub(super) steps: Vec<usize>,
}

/// Tells whether anything of a plan leaves the gateway's process.
pub(super) fn several(plan: &Plan) -> bool {
    let blocks = (0..plan.blocks.len()).map(Receiver::Block);
    let mut placements = blocks.map(|block| plan.placement(block));
    placements.any(|placement| !same(placement, &plan.gateway))
}

/// Returns the processes of a pipeline: that of the gateway, then the others as its steps meet them.
pub(super) fn groups(plan: &Plan, pipeline: &PlannedPipeline) -> Vec<Group> {
    let framed = several(plan);
    let label = |placement| framed.then(|| process(placement));
    let mut groups = vec![(
        &plan.gateway,
        Group {
            label: label(&plan.gateway),
            gateway: true,
            steps: Vec::new(),
        },
    )];
    for (position, step) in pipeline.steps.iter().enumerate() {
        let placement = &plan.blocks[step.block].placement;
        let known = groups.iter_mut().find(|(other, _)| same(other, placement));
        match known {
            Some((_, group)) => group.steps.push(position),
            None => groups.push((
                placement,
                Group {
                    label: label(placement),
                    gateway: false,
                    steps: vec![position],
                },
            )),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn same(one: &Placement, other: &Placement) -> bool {
    (&one.host, &one.process) == (&other.host, &other.process)
}

/// Names the process of a placement.
pub(super) fn process(placement: &Placement) -> String {
    format!("{}/{}", placement.host, placement.process)
}
