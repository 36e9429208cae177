//! What an operator has set over the configuration of a running server.
//!
//! A rollback takes the place of what the files say, a swap gives a block another model, an unloaded pipeline is left out with the
//! blocks that only it uses. A rollback and a swap that is not pinned hold until the files say something else than when they were
//! asked for. All of it is served as any configuration is: checked, prepared, switched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::types::{FlowSpec, ModelFormat, Problem, SourceSpec, Spec};

/// What an operator has set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Epoch whose configuration is served in place of that of the files.
    pub rollback: Option<u32>,
    /// By block.
    pub swaps: BTreeMap<String, Swap>,
    /// Pipelines that are configured and not served.
    pub unloaded: BTreeSet<String>,
    /// What the files said when this was asked for, as far as that matters: a digest.
    pub configured: Option<String>,
}

/// A model in place of the configured one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    pub file: PathBuf,
    /// It stays when the configuration changes, and when the server starts again.
    pub pinned: bool,
}

impl Overrides {
    /// Returns what is left of it once the files say something else.
    #[must_use]
    pub fn after_change(mut self) -> Self {
        self.swaps.retain(|_, swap| swap.pinned);
        Self {
            rollback: None,
            configured: None,
            ..self
        }
    }

    /// Returns what is left of it when the server starts again; a rollback has to be looked at.
    #[must_use]
    pub fn after_start(mut self) -> Self {
        self.swaps
            .retain(|_, swap| swap.pinned || self.rollback.is_some());
        self.unloaded.clear();
        self
    }

    /// Tells whether anything of it ends with the next change of the files.
    pub fn awaits_change(&self) -> bool {
        self.rollback.is_some() || self.swaps.values().any(|swap| !swap.pinned)
    }

    /// Changes what a configuration says. Returns what it cannot change.
    pub fn apply(&self, spec: &mut Spec) -> Vec<Problem> {
        let problems = self.swap(spec);
        self.unload(spec);
        problems
    }

    /// Gives blocks their other models. A pin for a block that is not there any more means nothing.
    pub fn swap(&self, spec: &mut Spec) -> Vec<Problem> {
        let blocks = spec.blocks.iter_mut();
        let swapped = blocks.filter_map(|block| {
            let swap = self.swaps.get(&block.name)?;
            let cause = replace(&mut block.source, &swap.file).err()?;
            let command = format!("`blockflow swap {}` asks for", block.name);
            Some(Problem::new(
                format!("blocks.{}.model", block.name),
                format!("{command} {}: {cause}", swap.file.display()),
                "expected a model in the form of the one that is configured; --unpin takes the swap back",
            ))
        });
        swapped.collect()
    }

    /// Leaves out pipelines, and the blocks that no other pipeline uses.
    fn unload(&self, spec: &mut Spec) {
        let (out, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut spec.pipelines)
            .into_iter()
            .partition(|pipeline| self.unloaded.contains(&pipeline.name));
        let used = |flow: &FlowSpec| blocks_of(flow);
        let mut unused: BTreeSet<String> = out.iter().flat_map(|one| used(&one.flow)).collect();
        for block in kept.iter().flat_map(|pipeline| used(&pipeline.flow)) {
            unused.remove(&block);
        }
        spec.blocks.retain(|block| !unused.contains(&block.name));
        spec.pipelines = kept;
    }
}

/// Returns the blocks that a pipeline uses.
fn blocks_of(flow: &FlowSpec) -> BTreeSet<String> {
    match flow {
        FlowSpec::Chain(blocks) => blocks.iter().cloned().collect(),
        FlowSpec::Graph(graph) => {
            let ends = graph.edges.iter().flat_map(|edge| [&edge.from, &edge.to]);
            let steps: BTreeSet<&String> = ends.filter_map(|(step, _)| step.as_ref()).collect();
            let block = |step: &String| {
                let named = graph.steps.iter().find(|(name, _)| name == step);
                named.map_or(step, |(_, block)| block).clone()
            };
            steps.into_iter().map(block).collect()
        }
    }
}

fn replace(source: &mut SourceSpec, file: &Path) -> Result<(), &'static str> {
    let format = ModelFormat::of(file);
    match (source, format) {
        (SourceSpec::Graph { .. }, Some(ModelFormat::TorchScript)) => {
            Err("the block runs a graph, which a TorchScript file does not show")
        }
        (SourceSpec::TorchScript { .. }, Some(ModelFormat::Graph)) => {
            Err("the block runs a TorchScript file")
        }
        (SourceSpec::Graph { path, .. } | SourceSpec::TorchScript { path, .. }, _) => {
            file.clone_into(path);
            Ok(())
        }
        (SourceSpec::DecodeImage(_) | SourceSpec::Mock(_), _) => Err("the block has no model"),
    }
}
