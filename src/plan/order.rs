//! Checks that a draft is a whole, acyclic graph, and puts its steps in topological order.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Problem;

use super::draft::{Blocks, Draft};
use super::{EdgeFrom, EdgeTo};

/// Reports inputs with several producers or none, steps whose results go nowhere, and a pipeline without outputs.
pub(super) fn check_ends(
    key: &str,
    draft: &Draft,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut producers: BTreeMap<EdgeTo, &str> = BTreeMap::new();
    for edge in &draft.edges {
        if let Some(first) = producers.get(&edge.to) {
            let name = draft.name_of(edge.to, blocks);
            let seen = format!("gives {name} a second producer");
            problems.push(Problem::new(
                &edge.key,
                seen,
                format!("keep this one or {first}"),
            ));
        } else {
            producers.insert(edge.to, &edge.key);
        }
    }
    if draft.partial {
        return;
    }
    let leads_on: BTreeSet<usize> = draft
        .edges
        .iter()
        .filter_map(|edge| match edge.from {
            EdgeFrom::Step { step, .. } => Some(step),
            EdgeFrom::Input(_) => None,
        })
        .collect();
    for (step, used) in draft.steps.iter().enumerate() {
        let Some(signature) = blocks.signature(used.block) else {
            continue;
        };
        if signature.inputs.is_empty() {
            let seen = format!(
                "step {:?} has no inputs, so nothing would ever start it",
                used.name
            );
            problems.push(Problem::new(key, seen, "leave it out"));
        }
        for (input, spec) in signature.inputs.iter().enumerate() {
            if !producers.contains_key(&EdgeTo::Step { step, input }) {
                let name = format!("{}.{}", used.name, spec.name);
                let seen = format!("{name} has no producer");
                problems.push(Problem::new(
                    key,
                    seen,
                    format!("add an edge \"… -> {name}\""),
                ));
            }
        }
        if !leads_on.contains(&step) {
            let names: Vec<_> = signature
                .outputs
                .iter()
                .map(|spec| spec.name.as_str())
                .collect();
            let seen = format!("nothing that step {:?} makes is used", used.name);
            let expected = format!(
                "connect one of its outputs ({}) or leave it out",
                names.join(", ")
            );
            problems.push(Problem::new(key, seen, expected));
        }
    }
    if draft.outputs.is_empty() {
        let expected = "add an edge such as \"step.output -> answer\"";
        problems.push(Problem::new(key, "has no output", expected));
    }
}

/// Reorders the steps so that each comes after those it gets tensors from, otherwise as they were. Reports a cycle.
pub(super) fn sort(key: &str, draft: &mut Draft, problems: &mut Vec<Problem>) {
    let count = draft.steps.len();
    let mut before = vec![BTreeSet::new(); count];
    let mut after = vec![BTreeSet::new(); count];
    for edge in &draft.edges {
        if let (EdgeFrom::Step { step: from, .. }, EdgeTo::Step { step: to, .. }) =
            (edge.from, edge.to)
        {
            before[to].insert(from);
            after[from].insert(to);
        }
    }
    let mut missing: Vec<usize> = before.iter().map(BTreeSet::len).collect();
    let mut ready: BTreeSet<usize> = (0..count).filter(|step| missing[*step] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for step in &after[next] {
            missing[*step] -= 1;
            if missing[*step] == 0 {
                ready.insert(*step);
            }
        }
    }
    if order.len() < count {
        let cycle = cycle(&before, &missing);
        let names: Vec<_> = cycle
            .iter()
            .map(|step| draft.steps[*step].name.as_str())
            .collect();
        let seen = format!("has a cycle: {}", names.join(" -> "));
        problems.push(Problem::new(key, seen, "remove one of these edges"));
        return;
    }
    apply(draft, &order);
}

/// Walks backwards among steps that could not be placed until one repeats; each of them has such a step before it.
fn cycle(before: &[BTreeSet<usize>], missing: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut next = missing.iter().position(|missing| *missing > 0);
    while let Some(step) = next {
        if let Some(start) = path.iter().position(|seen| *seen == step) {
            path.drain(..start);
            path.push(step);
            break;
        }
        path.push(step);
        next = before[step].iter().copied().find(|from| missing[*from] > 0);
    }
    path.reverse();
    path
}

fn apply(draft: &mut Draft, order: &[usize]) {
    let mut position = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        position[*old] = new;
    }
    draft.steps = order.iter().map(|old| draft.steps[*old].clone()).collect();
    for edge in &mut draft.edges {
        if let EdgeFrom::Step { step, .. } = &mut edge.from {
            *step = position[*step];
        }
        if let EdgeTo::Step { step, .. } = &mut edge.to {
            *step = position[*step];
        }
    }
}
