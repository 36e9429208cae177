//! A pipeline written as a chain of blocks.
//!
//! Outputs of a block go to the inputs of the next that have the same names; where no name fits and there is one of
//! each, they are connected. Inputs of the first block are the pipeline's inputs, outputs of the last its outputs.

use crate::types::{Problem, Signature};

use super::draft::{Blocks, Draft, DraftEdge, DraftStep, unknown};
use super::{EdgeFrom, EdgeTo};

/// Resolves a chain; `key` is the key of the pipeline.
pub(super) fn chain(
    key: &str,
    flow: &[String],
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) -> Draft {
    let mut draft = Draft::default();
    let key = format!("{key}.flow");
    if flow.is_empty() {
        problems.push(Problem::new(
            &key,
            "is an empty list",
            "expected at least one block",
        ));
        draft.partial = true;
    }
    let mut keys = Vec::new();
    for (index, name) in flow.iter().enumerate() {
        let key = format!("{key}[{index}]");
        let Some(block) = blocks.find(name) else {
            let seen = format!("is {name:?}, which is no block");
            problems.push(unknown(&key, seen, name, blocks.names()));
            draft.partial = true;
            continue;
        };
        if draft.steps.iter().any(|step| step.block == block) {
            let expected = format!(
                "write the pipeline with edges, and name each use: steps = {{ again = {name:?} }}"
            );
            problems.push(Problem::new(
                &key,
                format!("uses {name:?} a second time"),
                expected,
            ));
            draft.partial = true;
            continue;
        }
        draft.steps.push(DraftStep {
            name: name.clone(),
            block,
        });
        keys.push(key);
    }
    if draft.partial {
        return draft;
    }
    for (step, key) in keys.iter().enumerate() {
        let before = step.checked_sub(1);
        connect(&mut draft, before, step, key, blocks, problems);
    }
    finish(&mut draft, &key, blocks);
    draft
}

fn connect(
    draft: &mut Draft,
    before: Option<usize>,
    step: usize,
    key: &str,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(consumer) = blocks.signature(draft.steps[step].block) else {
        draft.partial = true;
        return;
    };
    let Some(before) = before else {
        for (input, spec) in consumer.inputs.iter().enumerate() {
            let place = Draft::place(&mut draft.inputs, &spec.name);
            let to = EdgeTo::Step { step, input };
            draft.edges.push(DraftEdge {
                from: EdgeFrom::Input(place),
                to,
                key: key.to_owned(),
            });
        }
        return;
    };
    let Some(producer) = blocks.signature(draft.steps[before].block) else {
        draft.partial = true;
        return;
    };
    for (input, spec) in consumer.inputs.iter().enumerate() {
        let Some(output) = matching(producer, consumer, &spec.name) else {
            let names: Vec<_> = producer
                .outputs
                .iter()
                .map(|spec| spec.name.as_str())
                .collect();
            let (from, to) = (&draft.steps[before].name, &draft.steps[step].name);
            problems.push(Problem::new(
                key,
                format!(
                    "input {to}.{} matches no output of {from} ({})",
                    spec.name,
                    names.join(", ")
                ),
                format!(
                    "write the pipeline with edges: \"{from}.… -> {to}.{}\"",
                    spec.name
                ),
            ));
            draft.partial = true;
            continue;
        };
        draft.edges.push(DraftEdge {
            from: EdgeFrom::Step {
                step: before,
                output,
            },
            to: EdgeTo::Step { step, input },
            key: key.to_owned(),
        });
    }
}

fn matching(producer: &Signature, consumer: &Signature, name: &str) -> Option<usize> {
    if let Some((output, _)) = producer.output(name) {
        return Some(output);
    }
    (producer.outputs.len() == 1 && consumer.inputs.len() == 1).then_some(0)
}

fn finish(draft: &mut Draft, key: &str, blocks: Blocks<'_>) {
    let Some(step) = draft.steps.len().checked_sub(1) else {
        return;
    };
    let Some(signature) = blocks.signature(draft.steps[step].block) else {
        return;
    };
    for (output, spec) in signature.outputs.iter().enumerate() {
        let to = EdgeTo::Output(Draft::place(&mut draft.outputs, &spec.name));
        let from = EdgeFrom::Step { step, output };
        draft.edges.push(DraftEdge {
            from,
            to,
            key: format!("{key}[{step}]"),
        });
    }
}
