//! The configuration that runs the blocks.

use std::fmt::Write;

use super::blocks::{Edge, End, Flow, Split};

pub(super) fn render(split: &Split) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_config(&mut text, split);
    text
}

fn write_config(text: &mut String, split: &Split) -> std::fmt::Result {
    // A line break in a name would end the comment.
    let model = split.model.replace(char::is_control, "?");
    writeln!(text, "# {model} in {} blocks.\n", split.blocks.len())?;
    for block in &split.blocks {
        writeln!(text, "[blocks.{}]", block.name)?;
        writeln!(text, "model = {}\n", quoted(&block.file))?;
    }
    writeln!(text, "[pipelines.{}]", split.pipeline)?;
    match &split.flow {
        Flow::Chain => {
            let names: Vec<_> = split
                .blocks
                .iter()
                .map(|block| quoted(&block.name))
                .collect();
            writeln!(text, "flow = [{}]", names.join(", "))
        }
        Flow::Edges(edges) => {
            writeln!(text, "edges = [")?;
            for edge in edges {
                writeln!(text, "    {},", quoted(&edge.to_string()))?;
            }
            writeln!(text, "]")
        }
    }
}

/// Quotes a text as a TOML string, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl std::fmt::Display for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(block) = &self.block {
            write!(f, "{block}.")?;
        }
        f.write_str(&self.tensor)
    }
}
