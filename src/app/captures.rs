//! What becomes of the runs of blocks on CUDA devices: captured and replayed, or launched kernel by kernel, and why.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{BlockSource, torch};
use crate::types::{CudaGraphs, Device, Dim, Shape, Signature};

use super::Loaded;

impl Loaded {
    /// Says of every block that is on a CUDA device what of its runs is captured there, as far as that is known before it is
    /// loaded.
    pub fn captures(&self) -> Vec<(&str, String)> {
        let blocks = self.plan.blocks.iter().enumerate();
        let on_cuda = blocks.filter(|(_, block)| matches!(block.placement.device, Device::Cuda(_)));
        let said = on_cuda.map(|(place, block)| {
            let source = self.source(place);
            let obstacle = match source {
                BlockSource::Graph { graph, .. } => torch::uncaptured(graph),
                _ => None,
            };
            let proof = &block.spec.proof;
            let warm = proof.warm.iter().cloned();
            let shapes: BTreeSet<_> = smallest(&block.signature).into_iter().chain(warm).collect();
            let shapes = shapes.len();
            let said = match (proof.cuda_graphs, torch::carries_graphs(), obstacle) {
                (CudaGraphs::Off, ..) => "none: cuda_graphs is false".to_owned(),
                (_, Err(error), _) => format!("none: {error}"),
                (_, _, Some(cause)) => format!("none: {cause}"),
                _ if shapes == 0 => "none: its sizes are open, and warm declares none".to_owned(),
                _ if shapes == 1 => "runs on 1 declared shape".to_owned(),
                _ => format!("runs on {shapes} declared shapes"),
            };
            (block.spec.name.as_str(), said)
        });
        said.collect()
    }
}

/// Returns the shapes of all inputs by name, with one row where they count rows; `None` where other sizes are open.
fn smallest(signature: &Signature) -> Option<BTreeMap<String, Shape>> {
    let inputs = signature.inputs.iter().map(|spec| {
        let dims = spec.shape.0.iter().enumerate();
        let sizes = dims.map(|(place, dim)| match dim {
            Dim::Fixed(size) => Some(*size),
            Dim::Symbol(_) | Dim::Any => (place == 0).then_some(1),
        });
        Some((spec.name.clone(), sizes.collect::<Option<Shape>>()?))
    });
    inputs.collect()
}
