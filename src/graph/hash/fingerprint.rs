//! Digests of what each value is computed by: from the inputs of the graph on, as a Merkle tree.

use crate::graph::{Graph, Node, ValueId, ValueOrigin};

use super::Digest;
use super::digest::Mixer;
use super::weights::{WeightDigests, structure};

/// Digests of every node and value of one graph. Two values with one digest, in whichever graphs, are computed alike
/// from inputs of the same position and dtype.
pub(in crate::graph) struct Fingerprints {
    pub(in crate::graph) nodes: Vec<Digest>,
    pub(in crate::graph) values: Vec<Digest>,
}

impl Fingerprints {
    /// Returns digests that leave the elements of weights out.
    pub(in crate::graph) fn of_structure(graph: &Graph) -> Self {
        Self::of(graph, |id| match &graph.value(id).origin {
            ValueOrigin::Initializer(initializer) => Some(structure(initializer)),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        })
    }

    /// Returns digests of structure and weights.
    pub(in crate::graph) fn of_content(graph: &Graph, weights: &WeightDigests) -> Self {
        Self::of(graph, |id| weights.get(id))
    }

    fn of(graph: &Graph, weight: impl Fn(ValueId) -> Option<Digest>) -> Self {
        let nothing = Mixer::new("nothing").finish();
        let mut values = vec![nothing; graph.values.len()];
        for (id, slot) in (0..).map(ValueId).zip(&mut values) {
            if let Some(digest) = weight(id) {
                *slot = digest;
            } else if let ValueOrigin::Input(place) = graph.value(id).origin {
                *slot = input(graph, id, place);
            }
        }
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            let mut mixer = operator(node);
            for value in &node.inputs {
                mixer.digest(value.map_or(nothing, |id| values[id.0 as usize]));
            }
            let digest = mixer.finish();
            for (place, id) in node.outputs.iter().enumerate() {
                if let Some(id) = id {
                    values[id.0 as usize] = output(digest, place);
                }
            }
            nodes.push(digest);
        }
        Self { nodes, values }
    }
}

/// Begins the digest of a node: its operator with all parameters, and how many inputs and outputs it has.
pub(in crate::graph) fn operator(node: &Node) -> Mixer {
    let mut mixer = Mixer::new("node");
    // The derived form has every parameter, so that none can be forgotten here when it is added there.
    mixer.text(&format!("{:?}", node.op));
    mixer.number(node.inputs.len());
    mixer.number(node.outputs.len());
    mixer
}

fn input(graph: &Graph, id: ValueId, place: usize) -> Digest {
    let value = graph.value(id);
    let mut mixer = Mixer::new("input");
    mixer.number(place);
    mixer.text(value.dtype.map_or("?", |dtype| dtype.name()));
    mixer.finish()
}

fn output(node: Digest, place: usize) -> Digest {
    let mut mixer = Mixer::new("output");
    mixer.digest(node);
    mixer.number(place);
    mixer.finish()
}
