//! A plan as a Mermaid flowchart: one subgraph per pipeline.

use std::fmt::Write;

use crate::plan::{Plan, PlannedPipeline};

use super::labels;

pub(super) fn render(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, pipeline) in plan.pipelines.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = render_pipeline(&mut text, plan, index, pipeline);
    }
    text
}

fn render_pipeline(
    text: &mut String,
    plan: &Plan,
    index: usize,
    pipeline: &PlannedPipeline,
) -> std::fmt::Result {
    writeln!(text, "  subgraph p{index}[{}]", quoted(&pipeline.name))?;
    for (position, input) in pipeline.signature.inputs.iter().enumerate() {
        writeln!(
            text,
            "    p{index}_in{position}([{}])",
            quoted(&input.to_string())
        )?;
    }
    for (position, step) in pipeline.steps.iter().enumerate() {
        let label = labels::step(plan, step);
        writeln!(text, "    p{index}_step{position}[{}]", quoted(&label))?;
    }
    for (position, output) in pipeline.signature.outputs.iter().enumerate() {
        writeln!(
            text,
            "    p{index}_out{position}([{}])",
            quoted(&output.to_string())
        )?;
    }
    for edge in &pipeline.edges {
        let (from, to) = labels::nodes(index, edge);
        let tensor = labels::tensor(plan, pipeline, edge);
        let (route, reason) = (labels::route(&edge.route), edge.route.reason);
        let label = format!("{tensor}\n{route}\n{reason}");
        writeln!(text, "    {from} -->|{}| {to}", quoted(&label))?;
    }
    text.push_str("  end\n");
    Ok(())
}

/// Quotes a text for Mermaid, whose entities are written `#name;`.
fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for letter in text.chars() {
        match letter {
            '#' => result.push_str("#35;"),
            '"' => result.push_str("#quot;"),
            '<' => result.push_str("#lt;"),
            '>' => result.push_str("#gt;"),
            '\n' => result.push_str("<br/>"),
            _ => result.push(letter),
        }
    }
    result.push('"');
    result
}
