//! Which values depend on a request, and which are the same in every one.

use crate::graph::{Graph, Node, ValueId, ValueOrigin};

/// Operators that compute something else each time, from whatever inputs.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// Returns of each value whether it is computed anew for every request. The others are weights, and what nodes compute
/// of weights alone: any part of the graph can have them for itself.
pub(in crate::graph) fn is_computed(graph: &Graph) -> Vec<bool> {
    let mut computed: Vec<bool> = graph
        .values
        .iter()
        .map(|value| matches!(value.origin, ValueOrigin::Input(_)))
        .collect();
    for node in &graph.nodes {
        let from_request = |id: &ValueId| computed[id.0 as usize];
        if is_random(node) || node.inputs.iter().flatten().any(from_request) {
            for id in node.outputs.iter().flatten() {
                computed[id.0 as usize] = true;
            }
        }
    }
    computed
}

fn is_random(node: &Node) -> bool {
    RANDOM.contains(&node.op.name())
}
