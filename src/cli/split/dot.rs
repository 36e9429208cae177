//! The blocks as a Graphviz digraph.

use std::fmt::Write;

use crate::cli::dot::quoted;
use crate::cli::quantity::{bytes, count};

use super::blocks::Split;

pub(super) fn render(split: &Split) -> String {
    let mut text = String::from("digraph split {\n  rankdir=LR;\n  node [shape=box];\n");
    // Writing to a String cannot fail.
    let _ = write_blocks(&mut text, split);
    text.push_str("}\n");
    text
}

fn write_blocks(text: &mut String, split: &Split) -> std::fmt::Result {
    for block in &split.blocks {
        let (flops, weights) = (count(block.flops), bytes(block.weight_bytes));
        let label = quoted(&format!("{}\n{flops} FLOP, {weights}", block.name));
        writeln!(text, "  {} [label={label}];", block.name)?;
    }
    for block in &split.blocks {
        for tensor in &block.inputs {
            let label = quoted(tensor);
            let mut makers = split.blocks.iter();
            let maker =
                makers.find(|one| one.outputs.contains(tensor) && !one.inputs.contains(tensor));
            if let Some(maker) = maker {
                writeln!(text, "  {} -> {} [label={label}];", maker.name, block.name)?;
            }
        }
    }
    Ok(())
}
