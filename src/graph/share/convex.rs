//! Sets of nodes that no way leaves and enters again.

use std::collections::HashSet;

use crate::graph::{Graph, ValueOrigin};

/// Returns of each node of a set how often the ways that lead to it leave the set before; `None` for other nodes.
///
/// Nodes of one level are convex: a way that leaves the set and enters it again comes to a higher level.
pub(super) fn levels(graph: &Graph, set: &HashSet<usize>) -> Vec<Option<usize>> {
    // Of nodes outside the set: the level of the highest node inside that leads to them.
    let mut reached: Vec<Option<usize>> = Vec::with_capacity(graph.nodes.len());
    for (place, node) in graph.nodes.iter().enumerate() {
        let inside = set.contains(&place);
        let sources = node.inputs.iter().flatten().filter_map(|&id| {
            let ValueOrigin::Node(source, _) = graph.value(id).origin else {
                return None;
            };
            let source = source.0 as usize;
            let enters = inside && !set.contains(&source);
            reached[source].map(|level: usize| level + usize::from(enters))
        });
        let level = sources.max();
        reached.push(if inside {
            Some(level.unwrap_or(0))
        } else {
            level
        });
    }
    let inside = |(place, level): (usize, Option<usize>)| level.filter(|_| set.contains(&place));
    reached.into_iter().enumerate().map(inside).collect()
}
