//! A pipeline written as a graph of edges over steps.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{GraphSpec, Problem, TensorSpec};

use super::draft::{Blocks, Draft, DraftEdge, DraftStep, unknown};
use super::{EdgeFrom, EdgeTo};

/// Resolves a graph; `key` is the key of the pipeline.
pub(super) fn graph(
    key: &str,
    spec: &GraphSpec,
    blocks: Blocks<'_>,
    problems: &mut Vec<Problem>,
) -> Draft {
    let mut resolver = Resolver {
        key,
        spec,
        blocks,
        problems,
        declared: spec
            .steps
            .iter()
            .map(|(step, block)| (step.as_str(), block.as_str()))
            .collect(),
        placed: BTreeMap::new(),
        reported: BTreeSet::new(),
        draft: Draft::default(),
    };
    resolver.check_steps();
    resolver.resolve_edges();
    resolver.check_used();
    resolver.draft
}

struct Resolver<'a> {
    key: &'a str,
    spec: &'a GraphSpec,
    blocks: Blocks<'a>,
    problems: &'a mut Vec<Problem>,
    /// Step name → block name.
    declared: BTreeMap<&'a str, &'a str>,
    /// Step name → step of the draft.
    placed: BTreeMap<&'a str, usize>,
    /// Step names that were reported as unknown already.
    reported: BTreeSet<&'a str>,
    draft: Draft,
}

impl<'a> Resolver<'a> {
    fn check_steps(&mut self) {
        let mut seen = BTreeSet::new();
        for (step, block) in &self.spec.steps {
            let key = format!("{}.steps.{step}", self.key);
            if self.blocks.find(block).is_none() {
                let seen = format!("is {block:?}, which is no block");
                self.problems
                    .push(unknown(&key, seen, block, self.blocks.names()));
                self.reported.insert(step);
                self.draft.partial = true;
            }
            if step != block && self.blocks.find(step).is_some() {
                let seen = format!("gives block {block:?} the name of another block");
                self.problems
                    .push(Problem::new(&key, seen, "choose a name that no block has"));
            }
            if !seen.insert(step) {
                self.problems.push(Problem::new(
                    &key,
                    "is named twice",
                    "expected each name once",
                ));
            }
        }
    }

    fn resolve_edges(&mut self) {
        if self.spec.edges.is_empty() {
            let key = format!("{}.edges", self.key);
            let expected =
                "expected at least \"input -> step.input\" and \"step.output -> output\"";
            self.problems
                .push(Problem::new(key, "is an empty list", expected));
            self.draft.partial = true;
        }
        for (index, edge) in self.spec.edges.iter().enumerate() {
            let key = format!("{}.edges[{index}]", self.key);
            if edge.from.0.is_none() && edge.to.0.is_none() {
                let seen = format!(
                    "leads from {:?} to {:?} through no step",
                    edge.from.1, edge.to.1
                );
                self.problems.push(Problem::new(
                    key,
                    seen,
                    "expected a step on one side at least",
                ));
                self.draft.partial = true;
                continue;
            }
            // Both ends are looked at even when the first is wrong, so that both are reported.
            let from = self.producer(&key, &edge.from);
            let to = self.consumer(&key, &edge.to);
            match from.zip(to) {
                Some((from, to)) => self.draft.edges.push(DraftEdge { from, to, key }),
                None => self.draft.partial = true,
            }
        }
    }

    fn producer(&mut self, key: &str, end: &'a (Option<String>, String)) -> Option<EdgeFrom> {
        let (Some(name), tensor) = end else {
            return Some(EdgeFrom::Input(Draft::place(
                &mut self.draft.inputs,
                &end.1,
            )));
        };
        let step = self.step(key, name)?;
        let specs = &self.blocks.signature(self.draft.steps[step].block)?.outputs;
        let output = self.port(key, name, tensor, specs, "output")?;
        Some(EdgeFrom::Step { step, output })
    }

    fn consumer(&mut self, key: &str, end: &'a (Option<String>, String)) -> Option<EdgeTo> {
        let (Some(name), tensor) = end else {
            return Some(EdgeTo::Output(Draft::place(
                &mut self.draft.outputs,
                &end.1,
            )));
        };
        let step = self.step(key, name)?;
        let specs = &self.blocks.signature(self.draft.steps[step].block)?.inputs;
        let input = self.port(key, name, tensor, specs, "input")?;
        Some(EdgeTo::Step { step, input })
    }

    /// Finds a step by name; one that is used for the first time joins the draft.
    fn step(&mut self, key: &str, name: &'a str) -> Option<usize> {
        if let Some(step) = self.placed.get(name) {
            return Some(*step);
        }
        let block = self.declared.get(name).copied().unwrap_or(name);
        let Some(block) = self.blocks.find(block) else {
            if self.reported.insert(name) {
                let known = self.declared.keys().copied().chain(self.blocks.names());
                let seen = format!("{name:?} is no step and no block");
                self.problems.push(unknown(key, seen, name, known));
            }
            return None;
        };
        let step = self.draft.steps.len();
        self.draft.steps.push(DraftStep {
            name: name.to_owned(),
            block,
        });
        self.placed.insert(name, step);
        Some(step)
    }

    fn port(
        &mut self,
        key: &str,
        step: &str,
        tensor: &str,
        specs: &[TensorSpec],
        kind: &str,
    ) -> Option<usize> {
        let found = specs.iter().position(|spec| spec.name == tensor);
        if found.is_none() {
            let seen = format!("{step:?} has no {kind} {tensor:?}");
            let known = specs.iter().map(|spec| spec.name.as_str());
            self.problems.push(unknown(key, seen, tensor, known));
        }
        found
    }

    fn check_used(&mut self) {
        let ends = self
            .spec
            .edges
            .iter()
            .flat_map(|edge| [&edge.from.0, &edge.to.0]);
        let used: BTreeSet<_> = ends.flatten().map(String::as_str).collect();
        for step in self.declared.keys().filter(|step| !used.contains(**step)) {
            let key = format!("{}.steps.{step}", self.key);
            let expected = "connect it with an edge or leave it out";
            self.problems
                .push(Problem::new(key, "is used by no edge", expected));
        }
    }
}
