//! A plan as a Graphviz digraph: one cluster per pipeline. Blocks that pipelines share are drawn in each, with the
//! same label.

use std::fmt::Write;

use crate::plan::{Plan, PlannedPipeline};

use super::labels;
use crate::cli::dot::quoted;

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::from("digraph blockflow {\n  rankdir=LR;\n  node [shape=box];\n");
    for (index, pipeline) in plan.pipelines.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = render_pipeline(&mut text, plan, index, pipeline);
    }
    text.push_str("}\n");
    text
}

fn render_pipeline(
    text: &mut String,
    plan: &Plan,
    index: usize,
    pipeline: &PlannedPipeline,
) -> std::fmt::Result {
    writeln!(
        text,
        "  subgraph cluster_{index} {{\n    label={};",
        quoted(&pipeline.name)
    )?;
    for (position, input) in pipeline.signature.inputs.iter().enumerate() {
        writeln!(
            text,
            "    p{index}_in{position} [shape=ellipse, label={}];",
            quoted(&input.to_string())
        )?;
    }
    for (position, step) in pipeline.steps.iter().enumerate() {
        let label = labels::step(plan, step);
        writeln!(
            text,
            "    p{index}_step{position} [label={}];",
            quoted(&label)
        )?;
    }
    for (position, output) in pipeline.signature.outputs.iter().enumerate() {
        writeln!(
            text,
            "    p{index}_out{position} [shape=ellipse, label={}];",
            quoted(&output.to_string())
        )?;
    }
    for edge in &pipeline.edges {
        let (from, to) = labels::nodes(index, edge);
        let tensor = labels::tensor(plan, pipeline, edge);
        let label = format!("{tensor}\n{}", labels::route(&edge.route));
        writeln!(
            text,
            "    {from} -> {to} [label={}, tooltip={}];",
            quoted(&label),
            quoted(edge.route.reason)
        )?;
    }
    text.push_str("  }\n");
    Ok(())
}
