//! What was written, as aligned text.

use std::path::Path;

use crate::cli::output::columns;
use crate::cli::quantity::{bytes, count};

use super::blocks::Split;

pub(super) fn render(split: &Split, config: &Path) -> String {
    let heading = ["BLOCK", "NODES", "FLOP", "WEIGHTS", "TENSORS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(split.blocks.iter().map(|block| {
        vec![
            block.name.clone(),
            block.nodes.to_string(),
            count(block.flops),
            bytes(block.weight_bytes),
            format!(
                "{} -> {}",
                block.inputs.join(", "),
                block.outputs.join(", ")
            ),
        ]
    }));
    let mut text = format!("pipeline {}\n{}", split.pipeline, columns(2, &rows));
    let added = split.blocks.iter().filter(|block| !block.added.is_empty());
    for block in added {
        let tensors = block.added.join(", ");
        text.push_str(&format!("also crossing, into {}: {tensors}\n", block.name));
    }
    text.push_str(&format!("written to {}\n", config.display()));
    text
}
