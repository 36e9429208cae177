//! A cut model as a configuration: one block per segment, wired by the names of tensors.

use std::path::Path;
use std::time::Duration;

use crate::cli::solo;
use crate::graph::{Graph, ValueId};
use crate::types::{
    BlockSpec, Device, EdgeSpec, FlowSpec, GraphEngine, GraphSpec, Passes, PipelineSpec, Signature,
    SourceSpec, Spec,
};

use super::command::Isolation;

/// Name of the block or the pipeline that a model file becomes.
pub(super) const MODEL: &str = "model";

/// Long enough for any model on any machine: a person waits at the other end.
const DEADLINE: Duration = Duration::from_secs(3600);

/// How and where parts run.
#[derive(Debug)]
pub(super) struct How {
    pub(super) engine: GraphEngine,
    pub(super) passes: Passes,
    pub(super) device: Device,
    pub(super) threads: usize,
    pub(super) isolation: Isolation,
}

/// Returns a pipeline of `segments`, which follow one another and together are the model at `path`.
pub(super) fn spec(path: &Path, signature: &Signature, segments: &[Graph], how: &How) -> Spec {
    let How {
        engine,
        passes,
        device,
        threads,
        isolation,
    } = *how;
    let parts: Vec<Part> = segments
        .iter()
        .enumerate()
        .map(|(index, graph)| Part::of(index, graph))
        .collect();
    let blocks = parts
        .iter()
        .map(|part| {
            let source = SourceSpec::Graph {
                path: path.to_owned(),
                inputs: Some(part.inputs.clone()),
                outputs: Some(part.outputs.clone()),
                engine,
                passes,
            };
            let process = (isolation == Isolation::Process).then(|| part.name.clone());
            BlockSpec {
                process,
                ..solo::block(&part.name, source, device, threads)
            }
        })
        .collect();
    let outputs = signature
        .outputs
        .iter()
        .map(|spec| spec.name.clone())
        .collect::<Vec<_>>();
    let flow = FlowSpec::Graph(GraphSpec {
        steps: Vec::new(),
        edges: wire(&parts, &outputs),
    });
    solo::spec(
        blocks,
        PipelineSpec {
            name: MODEL.to_owned(),
            flow,
            deadline: DEADLINE,
            wire: Vec::new(),
        },
    )
}

/// Names of one segment.
#[derive(Debug)]
struct Part {
    name: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Part {
    fn of(index: usize, graph: &Graph) -> Self {
        let names = |ids: &[ValueId]| ids.iter().map(|&id| graph.value(id).name.clone()).collect();
        Self {
            name: format!("part_{index}"),
            inputs: names(&graph.inputs),
            outputs: names(&graph.outputs),
        }
    }
}

/// Takes each tensor from the nearest earlier part that gives it, or else from the pipeline's input of that name.
fn wire(parts: &[Part], outputs: &[String]) -> Vec<EdgeSpec> {
    let producer = |before: usize, tensor: &String| {
        let part = parts[..before]
            .iter()
            .rev()
            .find(|part| part.outputs.contains(tensor));
        (part.map(|part| part.name.clone()), tensor.clone())
    };
    let mut edges = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        edges.extend(part.inputs.iter().map(|tensor| EdgeSpec {
            from: producer(index, tensor),
            to: (Some(part.name.clone()), tensor.clone()),
        }));
    }
    edges.extend(outputs.iter().map(|tensor| EdgeSpec {
        from: producer(parts.len(), tensor),
        to: (None, tensor.clone()),
    }));
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, inputs: &[&str], outputs: &[&str]) -> Part {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Part {
            name: name.to_owned(),
            inputs: own(inputs),
            outputs: own(outputs),
        }
    }

    fn edge(from: (Option<&str>, &str), to: (Option<&str>, &str)) -> EdgeSpec {
        let own = |(step, name): (Option<&str>, &str)| (step.map(str::to_owned), name.to_owned());
        EdgeSpec {
            from: own(from),
            to: own(to),
        }
    }

    #[test]
    fn tensors_come_from_the_nearest_earlier_part() {
        let parts = [
            part("a", &["x"], &["h"]),
            part("b", &["h", "x"], &["y", "h"]),
            part("c", &["h"], &["z"]),
        ];
        let edges = wire(&parts, &["y".to_owned(), "z".to_owned()]);
        let expected = [
            edge((None, "x"), (Some("a"), "x")),
            edge((Some("a"), "h"), (Some("b"), "h")),
            edge((None, "x"), (Some("b"), "x")),
            edge((Some("b"), "h"), (Some("c"), "h")),
            edge((Some("b"), "y"), (None, "y")),
            edge((Some("c"), "z"), (None, "z")),
        ];
        assert_eq!(edges, expected);
    }
}
