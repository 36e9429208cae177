//! The three digests of a graph.

use std::collections::{BTreeMap, HashSet};

use crate::graph::{Graph, NodeId, ValueId, ValueOrigin};

use super::digest::Mixer;
use super::{Digest, Fingerprints, WeightDigests};

/// What identifies a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hashes {
    /// Of the architecture: equal for one network trained twice.
    pub structure: Digest,
    /// Of the elements of the weights, in the order in which the outputs lead to them.
    pub weights: Digest,
    /// Of both: graphs with equal ones compute the same.
    pub content: Digest,
}

impl Graph {
    /// Returns the digests of structure, of weights, and of both. `progress` is told of bytes of weights as they are
    /// read.
    pub fn hashes(&self, progress: &mut dyn FnMut(u64)) -> Hashes {
        let weights = WeightDigests::of(self, progress);
        Hashes {
            structure: self.structure_hash(),
            weights: self.weights_in_order(&weights),
            content: self.content_of(&weights),
        }
    }

    /// Returns the last of [`Graph::hashes`]. A body is known by it alone: one that asked for all of them would ask twice
    /// for those of each body in it, and so on.
    pub(in crate::graph) fn content_hash(&self) -> Digest {
        self.content_of(&WeightDigests::of(self, &mut |_| ()))
    }

    /// Returns the last of [`Graph::hashes`], and of each of its weights, once, a digest and the number of its bytes.
    pub fn content_and_weights(&self) -> (Digest, BTreeMap<Digest, u64>) {
        let digests = WeightDigests::of(self, &mut |_| ());
        let mut weights = BTreeMap::new();
        for (value, id) in self.values.iter().zip((0..).map(ValueId)) {
            if let ValueOrigin::Initializer(initializer) = &value.origin
                && let Some(digest) = digests.get(id)
            {
                weights.insert(digest, initializer.tensor.bytes().len() as u64);
            }
        }
        (self.content_of(&digests), weights)
    }

    fn content_of(&self, weights: &WeightDigests) -> Digest {
        self.digest("content", &Fingerprints::of_content(self, weights))
    }

    /// Returns the first of [`Graph::hashes`], for which no weight is read.
    pub fn structure_hash(&self) -> Digest {
        self.digest("structure", &Fingerprints::of_structure(self))
    }

    fn digest(&self, kind: &str, prints: &Fingerprints) -> Digest {
        let mut mixer = Mixer::new(kind);
        for ids in [&self.inputs, &self.outputs] {
            mixer.number(ids.len());
            for id in ids {
                mixer.digest(prints.values[id.0 as usize]);
            }
        }
        mixer.finish()
    }

    fn weights_in_order(&self, weights: &WeightDigests) -> Digest {
        let mut mixer = Mixer::new("weights");
        let mut seen: HashSet<NodeId> = HashSet::new();
        let mut met: HashSet<Digest> = HashSet::new();
        let mut open: Vec<ValueId> = self.outputs.iter().rev().copied().collect();
        while let Some(id) = open.pop() {
            match self.value(id).origin {
                ValueOrigin::Input(_) => {}
                ValueOrigin::Initializer(_) => {
                    if let Some(digest) = weights.get(id).filter(|digest| met.insert(*digest)) {
                        mixer.digest(digest);
                    }
                }
                ValueOrigin::Node(node, _) => {
                    if seen.insert(node) {
                        open.extend(self.node(node).inputs.iter().rev().flatten());
                    }
                }
            }
        }
        mixer.finish()
    }
}
