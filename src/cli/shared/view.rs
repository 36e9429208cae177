//! What models have in common, with their files in place of numbers. JSON fields are added, never renamed.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::progress::weight_bytes;
use crate::graph::{Graph, Segment, Sharing};

#[derive(Debug, Serialize)]
pub(super) struct SharingView {
    pub(super) models: Vec<ModelView>,
    /// Bytes of the weights of all models, and what is left when equal tensors are kept once.
    pub(super) weight_bytes: u64,
    pub(super) distinct_bytes: u64,
    /// What groups of models compute alike from their inputs on.
    pub(super) prefixes: Vec<CommonView>,
    /// Sub-networks with equal weights that two models have elsewhere.
    pub(super) segments: Vec<CommonView>,
}

#[derive(Debug, Serialize)]
pub(super) struct ModelView {
    pub(super) model: String,
    pub(super) nodes: usize,
    pub(super) weight_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct CommonView {
    pub(super) nodes: usize,
    pub(super) saved_bytes: u64,
    pub(super) places: Vec<PlaceView>,
}

#[derive(Debug, Serialize)]
pub(super) struct PlaceView {
    pub(super) model: String,
    #[serde(skip)]
    pub(super) index: usize,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
}

impl SharingView {
    pub(super) fn of(paths: &[PathBuf], graphs: &[Graph], sharing: &Sharing) -> Self {
        let models = paths.iter().zip(graphs).map(|(path, graph)| ModelView {
            model: path.display().to_string(),
            nodes: graph.nodes.len(),
            weight_bytes: weight_bytes(graph),
        });
        let models: Vec<_> = models.collect();
        let common = |nodes: usize, saved_bytes: u64, places: &[Segment]| {
            let place = |segment: &Segment| PlaceView {
                model: models[segment.graph].model.clone(),
                index: segment.graph,
                inputs: segment.inputs.clone(),
                outputs: segment.outputs.clone(),
            };
            CommonView {
                nodes,
                saved_bytes,
                places: places.iter().map(place).collect(),
            }
        };
        let prefixes = sharing.prefixes.iter();
        let segments = sharing.segments.iter();
        Self {
            weight_bytes: sharing.weight_bytes,
            distinct_bytes: sharing.distinct_bytes,
            prefixes: prefixes
                .map(|one| common(one.nodes, one.saved_bytes, &one.places))
                .collect(),
            segments: segments
                .map(|one| common(one.nodes, one.saved_bytes, &one.places))
                .collect(),
            models,
        }
    }
}
