//! One pipeline: a chain of blocks or a graph of steps, its deadline, and how its edges travel between hosts.

use crate::types::{EdgeSpec, FlowSpec, GraphSpec, PipelineSpec};

use super::defaults;
use super::edge::edge;
use super::reader::{Section, Unit};
use super::wire::wire;

const DEADLINE_MS_MAX: u32 = 3_600_000;

pub(super) fn pipeline(name: &str, section: Section<'_>) -> Option<PipelineSpec> {
    let mut section = section.with_defaults(defaults::table("pipeline"));
    let flow = flow(&mut section);
    let deadline = section.duration("deadline_ms", Unit::Milliseconds, 1..=DEADLINE_MS_MAX);
    let wire = wire(&mut section);
    section.finish("a pipeline");
    Some(PipelineSpec {
        name: name.to_owned(),
        flow: flow?,
        deadline: deadline?,
        wire: wire?,
    })
}

fn flow(section: &mut Section<'_>) -> Option<FlowSpec> {
    let (flow, edges) = (section.has("flow"), section.has("edges"));
    let steps = section.has("steps");
    match (flow, edges) {
        (true, false) => {
            if steps {
                section.wrong(
                    "steps",
                    "stands beside flow",
                    "expected it beside edges only",
                );
            }
            chain(section).filter(|_| !steps)
        }
        (false, true) => {
            let steps = if steps {
                self::steps(section)
            } else {
                Some(Vec::new())
            };
            let edges = self::edges(section);
            Some(FlowSpec::Graph(GraphSpec {
                steps: steps?,
                edges: edges?,
            }))
        }
        (true, true) => {
            section
                .problems()
                .add(section.path(), "has flow and edges", "expected one of them");
            None
        }
        (false, false) => {
            let seen = "says nothing of how its blocks are wired";
            let expected = "expected flow = [\"block\", \"block\"] or edges = [\"…\"]";
            section.problems().add(section.path(), seen, expected);
            None
        }
    }
}

fn chain(section: &mut Section<'_>) -> Option<FlowSpec> {
    let texts = section.texts("flow", "expected a list of block names, at least one")?;
    let total = texts.len();
    let blocks: Vec<_> = texts
        .into_iter()
        .filter(|(path, name)| section.check_name(name, path))
        .map(|(_, name)| name)
        .collect();
    (blocks.len() == total).then_some(FlowSpec::Chain(blocks))
}

fn steps(section: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    let mut section = section.section("steps")?;
    let names = section.names();
    let total = names.len();
    let mut steps = Vec::new();
    for name in names {
        let path = section.path_of(&name);
        let sound = section.check_name(&name, &path);
        let block = section.text(&name, "expected the name of a block");
        if let (true, Some(block)) = (sound, block) {
            steps.push((name, block));
        }
    }
    (steps.len() == total).then_some(steps)
}

fn edges(section: &mut Section<'_>) -> Option<Vec<EdgeSpec>> {
    let expected = "expected a list of texts such as \"backbone.features -> head.features\"";
    let texts = section.texts("edges", expected)?;
    let total = texts.len();
    let mut edges = Vec::new();
    for (path, text) in texts {
        match edge(&text) {
            Ok(edge) => edges.push(edge),
            Err((seen, expected)) => section.problems().add(&path, seen, expected),
        }
    }
    (edges.len() == total).then_some(edges)
}
