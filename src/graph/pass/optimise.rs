//! Runs the passes that are on.

use super::draft::Draft;
use super::{activations, attention, bias, constants, equal, formulas, layout, linear, scales};
use crate::graph::{Graph, GraphError, Node};
use crate::types::{Pass, Passes, Tensor};

/// Runs a node of a graph whose inputs are all weights. `None`: it cannot; else a tensor for each output it could tell.
pub type Evaluate<'a> = dyn Fn(&Graph, &Node) -> Option<Vec<Option<Tensor>>> + 'a;

impl Graph {
    /// Returns a graph that computes the same in fewer or cheaper steps, and in the numbers that are asked for.
    ///
    /// Its inputs and outputs are those of this one; other tensors may be gone. `evaluate` is how weights are computed
    /// with; it has to do what a run would.
    ///
    /// # Errors
    /// In debug builds, if a pass breaks an invariant of graphs.
    pub fn optimise(&self, passes: Passes, evaluate: &Evaluate<'_>) -> Result<Self, GraphError> {
        let mut graph = self.clone();
        for pass in Pass::ALL.into_iter().filter(|&pass| passes.has(pass)) {
            graph = run(pass, &graph, evaluate);
            if cfg!(debug_assertions) {
                graph.verify()?;
            }
        }
        if let Some(dtype) = passes.precision().narrowed() {
            graph = graph.in_precision(dtype);
            if cfg!(debug_assertions) {
                graph.verify()?;
            }
        }
        Ok(graph)
    }
}

fn run(pass: Pass, graph: &Graph, evaluate: &Evaluate<'_>) -> Graph {
    match pass {
        Pass::FoldConstants => constants::fold(graph, evaluate),
        Pass::TidyLayout => layout::tidy(graph),
        Pass::MergeEqual => equal::merge(graph),
        Pass::FoldScales => scales::fold(graph),
        Pass::FuseFormulas => formulas::fuse(graph),
        Pass::FuseAttention => attention::fuse(graph),
        Pass::FuseLinear => linear::fuse(graph),
        Pass::FuseBias => bias::fuse(graph),
        Pass::FuseActivations => activations::fuse(graph),
        Pass::DropDead => Draft::of(graph).finish(),
    }
}
