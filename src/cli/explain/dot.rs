//! A plan as a Graphviz digraph: one cluster per pipeline, and in it one per process if there are several. Blocks that
//! pipelines share are drawn in each, with the same label.

use std::fmt::Write;

use crate::plan::{Plan, PlannedPipeline};
use crate::types::TensorSpec;

use super::groups::{Group, groups};
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
    for (place, group) in groups(plan, pipeline).iter().enumerate() {
        if let Some(label) = &group.label {
            writeln!(
                text,
                "    subgraph cluster_{index}_{place} {{\n    label={};",
                quoted(label)
            )?;
        }
        render_group(text, plan, index, pipeline, group)?;
        if group.label.is_some() {
            text.push_str("    }\n");
        }
    }
    for edge in &pipeline.edges {
        let (from, to) = labels::nodes(index, edge);
        let tensor = labels::tensor(plan, pipeline, edge);
        let label = format!("{tensor}\n{}", labels::route(edge));
        writeln!(
            text,
            "    {from} -> {to} [label={}, tooltip={}];",
            quoted(&label),
            quoted(&labels::reason(edge))
        )?;
    }
    text.push_str("  }\n");
    Ok(())
}

fn render_group(
    text: &mut String,
    plan: &Plan,
    index: usize,
    pipeline: &PlannedPipeline,
    group: &Group,
) -> std::fmt::Result {
    let signature = group.gateway.then_some(&pipeline.signature);
    let end = |text: &mut String, kind: &str, position: usize, spec: &TensorSpec| {
        let label = quoted(&spec.to_string());
        writeln!(
            text,
            "    p{index}_{kind}{position} [shape=ellipse, label={label}];"
        )
    };
    for (position, input) in signature
        .iter()
        .flat_map(|ends| ends.inputs.iter().enumerate())
    {
        end(text, "in", position, input)?;
    }
    for &position in &group.steps {
        let label = quoted(&labels::step(plan, &pipeline.steps[position]));
        writeln!(text, "    p{index}_step{position} [label={label}];")?;
    }
    for (position, output) in signature
        .iter()
        .flat_map(|ends| ends.outputs.iter().enumerate())
    {
        end(text, "out", position, output)?;
    }
    Ok(())
}
