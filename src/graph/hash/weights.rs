//! Digests of tensors that models carry, each computed once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::{Graph, Initializer, ValueId, ValueOrigin};
use crate::types::Tensor;

use super::Digest;
use super::digest::Mixer;

/// Bytes hashed between two reports of progress.
const STRIDE: usize = 1 << 24;

/// Digests of the weights of one graph, by value.
pub(in crate::graph) struct WeightDigests(HashMap<ValueId, Digest>);

impl WeightDigests {
    /// Hashes every weight once, also where several values share it. `progress` is told of bytes as they are read.
    pub(in crate::graph) fn of(graph: &Graph, progress: &mut dyn FnMut(u64)) -> Self {
        let mut known: HashMap<*const Initializer, Digest> = HashMap::new();
        let mut digests = HashMap::new();
        for (value, id) in graph.values.iter().zip((0..).map(ValueId)) {
            let ValueOrigin::Initializer(initializer) = &value.origin else {
                continue;
            };
            let digest = *known
                .entry(Arc::as_ptr(initializer))
                .or_insert_with(|| content(&initializer.tensor, progress));
            digests.insert(id, digest);
        }
        Self(digests)
    }

    pub(in crate::graph) fn get(&self, id: ValueId) -> Option<Digest> {
        self.0.get(&id).copied()
    }
}

impl Initializer {
    /// Returns the digest of dtype, shape and elements, all of which are read.
    pub fn digest(&self) -> Digest {
        content(&self.tensor, &mut |_| {})
    }
}

fn content(tensor: &Tensor, progress: &mut dyn FnMut(u64)) -> Digest {
    let mut mixer = described("weight", tensor);
    let bytes = tensor.bytes();
    mixer.number(bytes.len());
    for chunk in bytes.chunks(STRIDE) {
        mixer.chunk(chunk);
        progress(chunk.len() as u64);
    }
    mixer.finish()
}

/// Returns the part that a tensor has in the structure of a model: a setting of an operator with its elements, a weight
/// with dtype and shape alone.
pub(super) fn structure(initializer: &Initializer) -> Digest {
    let tensor = &initializer.tensor;
    let setting = initializer.is_setting();
    let mut mixer = described(if setting { "setting" } else { "shape" }, tensor);
    if setting {
        mixer.bytes(tensor.bytes());
    }
    mixer.finish()
}

fn described(kind: &str, tensor: &Tensor) -> Mixer {
    let mut mixer = Mixer::new(kind);
    mixer.text(tensor.dtype().name());
    mixer.sizes(tensor.shape());
    mixer
}
