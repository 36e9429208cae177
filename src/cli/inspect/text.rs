//! A model as aligned text.

use std::fmt;

use crate::cli::output::columns;
use crate::cli::quantity::{bytes, count};

use super::view::{CutView, DimView, EngineView, ModelView, TensorView};

pub(super) fn render(model: &ModelView) -> String {
    let mut text = format!("model {}\n", model.model);
    text.push_str(&columns(2, &facts(model)));
    let operators: Vec<_> = model
        .operators
        .iter()
        .map(|one| {
            let flops = match (one.flops, model.uncounted.get(one.operator)) {
                (0, None) => String::new(),
                (flops, None) => format!("{}FLOP", spaced(flops)),
                (flops, Some(open)) => format!("{}FLOP, {open} not counted", spaced(flops)),
            };
            vec![one.operator.to_owned(), one.count.to_string(), flops]
        })
        .collect();
    text.push_str("operators\n");
    text.push_str(&columns(2, &operators));
    text.push_str("engines\n");
    for engine in &model.engines {
        text.push_str(&render_engine(engine));
    }
    if let Some(cuts) = &model.cuts {
        text.push_str("cuts\n");
        text.push_str(&render_cuts(cuts));
    }
    text
}

fn facts(model: &ModelView) -> Vec<Vec<String>> {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let list = |tensors: &[TensorView]| {
        let tensors: Vec<_> = tensors.iter().map(ToString::to_string).collect();
        tensors.join(", ")
    };
    let sizes = model
        .sizes
        .iter()
        .map(|(name, size)| format!("{name} = {size}"));
    let sizes = sizes.collect::<Vec<_>>().join(", ");
    let cost = &model.cost;
    let open: usize = model.uncounted.values().sum();
    let at_least = if open > 0 { "at least " } else { "" };
    let at = if sizes.is_empty() {
        String::new()
    } else {
        format!(" at {sizes}")
    };
    vec![
        row("inputs", list(&model.inputs)),
        row("outputs", list(&model.outputs)),
        row("nodes", cost.nodes.to_string()),
        row(
            "parameters",
            format!("{} in {}", count(cost.parameters), bytes(cost.weight_bytes)),
        ),
        row("work", format!("{at_least}{}FLOP{at}", spaced(cost.flops))),
        row("structure", model.hashes.structure.clone()),
        row("weights", model.hashes.weights.clone()),
        row("content", model.hashes.content.clone()),
    ]
}

fn render_engine(engine: &EngineView) -> String {
    if engine.lacks.is_empty() {
        let can = if engine.is_all {
            "runs"
        } else {
            "can be given"
        };
        return format!("  {} {can} every node\n", engine.engine);
    }
    let rows: Vec<_> = engine
        .lacks
        .iter()
        .map(|lack| {
            vec![
                lack.operator.to_owned(),
                lack.node.clone(),
                lack.cause.clone(),
            ]
        })
        .collect();
    format!("  {} cannot run\n{}", engine.engine, columns(4, &rows))
}

fn render_cuts(cuts: &[CutView]) -> String {
    let heading = [
        "TENSOR",
        "BYTES",
        "FLOP BEFORE",
        "AFTER",
        "WEIGHTS BEFORE",
        "AFTER",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(cuts.iter().map(|cut| {
        vec![
            cut.tensor.to_string(),
            cut.bytes_by_symbol
                .clone()
                .unwrap_or_else(|| "?".to_owned()),
            count(cut.before.flops),
            count(cut.after.flops),
            bytes(cut.before.weight_bytes),
            bytes(cut.after.weight_bytes),
        ]
    }));
    columns(2, &rows)
}

/// A number before a unit: `1.82 G`, or `7 ` where there is no letter.
fn spaced(number: u64) -> String {
    let text = count(number);
    if text.contains(' ') { text } else { text + " " }
}

impl fmt::Display for TensorView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.datatype.unwrap_or("?"))?;
        let Some(shape) = &self.shape else {
            return Ok(());
        };
        let dim = |dim: &DimView| match dim {
            DimView::Size(size) => size.to_string(),
            DimView::Symbol(symbol) => symbol.clone(),
        };
        let dims: Vec<_> = shape.iter().map(dim).collect();
        write!(f, "[{}]", dims.join(", "))
    }
}
