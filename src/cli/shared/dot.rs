//! What models have in common, as a Graphviz graph: models as boxes, joined to what they share.

use std::fmt::Write;

use crate::cli::dot::quoted;
use crate::cli::quantity::bytes;

use super::view::{CommonView, SharingView};

pub(super) fn render(view: &SharingView) -> String {
    let mut text = String::from("graph shared {\n  rankdir=LR;\n");
    // Writing to a String cannot fail.
    let _ = write_all(&mut text, view);
    text.push_str("}\n");
    text
}

fn write_all(text: &mut String, view: &SharingView) -> std::fmt::Result {
    for (place, model) in view.models.iter().enumerate() {
        let label = format!("{}\n{}", model.model, bytes(model.weight_bytes));
        writeln!(text, "  m{place} [shape=box, label={}];", quoted(&label))?;
    }
    for (kind, all) in [("prefix", &view.prefixes), ("segment", &view.segments)] {
        for (place, common) in all.iter().enumerate() {
            write_common(text, kind, place, common)?;
        }
    }
    Ok(())
}

fn write_common(
    text: &mut String,
    kind: &str,
    number: usize,
    common: &CommonView,
) -> std::fmt::Result {
    let saved = bytes(common.saved_bytes);
    let label = format!("{kind} of {} nodes\nsaves {saved}", common.nodes);
    let id = format!("{kind}{number}");
    writeln!(text, "  {id} [shape=ellipse, label={}];", quoted(&label))?;
    for place in &common.places {
        let label = format!(
            "{} -> {}",
            place.inputs.join(", "),
            place.outputs.join(", ")
        );
        writeln!(
            text,
            "  m{} -- {id} [label={}];",
            place.index,
            quoted(&label)
        )?;
    }
    Ok(())
}
