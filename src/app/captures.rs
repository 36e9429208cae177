//! What becomes of the runs of blocks on CUDA devices: captured and replayed, or launched kernel by kernel, and why.

use crate::engine::{BlockSource, torch};
use crate::types::{CudaGraphs, Device, Dim, TensorSpec};

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
            let known = |spec: &TensorSpec| {
                let mut dims = spec.shape.0.iter().skip(1);
                dims.all(|dim| matches!(dim, Dim::Fixed(_)))
            };
            let smallest = block.signature.inputs.iter().all(known);
            let shapes = usize::from(smallest) + proof.warm.len();
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
