//! A plan as a Mermaid flowchart: one subgraph per pipeline, and in it one per process if there are several.

use std::fmt::Write;

use crate::plan::{Plan, PlannedPipeline};

use super::groups::{Group, groups};
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
    for (place, group) in groups(plan, pipeline).iter().enumerate() {
        if let Some(label) = &group.label {
            writeln!(
                text,
                "    subgraph p{index}_process{place}[{}]",
                quoted(label)
            )?;
        }
        render_group(text, plan, index, pipeline, group)?;
        if group.label.is_some() {
            text.push_str("    end\n");
        }
    }
    for edge in &pipeline.edges {
        let (from, to) = labels::nodes(index, edge);
        let tensor = labels::tensor(plan, pipeline, edge);
        let (route, reason) = (labels::route(edge), labels::reason(edge));
        let label = format!("{tensor}\n{route}\n{reason}");
        writeln!(text, "    {from} -->|{}| {to}", quoted(&label))?;
    }
    text.push_str("  end\n");
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
    for (position, input) in signature
        .iter()
        .flat_map(|ends| ends.inputs.iter().enumerate())
    {
        let label = quoted(&input.to_string());
        writeln!(text, "    p{index}_in{position}([{label}])")?;
    }
    for &position in &group.steps {
        let label = quoted(&labels::step(plan, &pipeline.steps[position]));
        writeln!(text, "    p{index}_step{position}[{label}]")?;
    }
    for (position, output) in signature
        .iter()
        .flat_map(|ends| ends.outputs.iter().enumerate())
    {
        let label = quoted(&output.to_string());
        writeln!(text, "    p{index}_out{position}([{label}])")?;
    }
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
