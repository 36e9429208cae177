//! What models have in common, as aligned text.

use crate::cli::output::columns;
use crate::cli::quantity::bytes;

use super::view::{CommonView, SharingView};

pub(super) fn render(view: &SharingView) -> String {
    let models = view.models.iter().map(|one| {
        let nodes = format!("{} nodes", one.nodes);
        vec![one.model.clone(), nodes, bytes(one.weight_bytes)]
    });
    let mut text = format!("models\n{}", columns(2, &models.collect::<Vec<_>>()));
    text.push_str(&format!(
        "weights\n  {} in all, {} when equal tensors are kept once\n",
        bytes(view.weight_bytes),
        bytes(view.distinct_bytes)
    ));
    text.push_str(&render_all("prefixes", &view.prefixes));
    text.push_str(&render_all("segments", &view.segments));
    text
}

fn render_all(heading: &str, all: &[CommonView]) -> String {
    if all.is_empty() {
        return format!("{heading}\n  none\n");
    }
    let mut text = format!("{heading}\n");
    for common in all {
        let noun = if common.nodes == 1 { "node" } else { "nodes" };
        let saved = bytes(common.saved_bytes);
        text.push_str(&format!("  {} {noun}, saves {saved}\n", common.nodes));
        let places = common.places.iter().map(|place| {
            let ends = format!(
                "{} -> {}",
                place.inputs.join(", "),
                place.outputs.join(", ")
            );
            vec![place.model.clone(), ends]
        });
        text.push_str(&columns(4, &places.collect::<Vec<_>>()));
    }
    text
}
