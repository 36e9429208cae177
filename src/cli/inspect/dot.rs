//! A model as a Graphviz digraph: a box for each node, an edge for each tensor that is computed.

use std::fmt::Write;

use crate::cli::dot::quoted;
use crate::graph::{Graph, Value, ValueId, ValueOrigin};

pub(super) fn render(graph: &Graph) -> String {
    let mut text = String::from("digraph model {\n  node [shape=box];\n");
    // Writing to a String cannot fail.
    let _ = write_graph(&mut text, graph);
    text.push_str("}\n");
    text
}

fn write_graph(text: &mut String, graph: &Graph) -> std::fmt::Result {
    for (place, &id) in graph.inputs.iter().enumerate() {
        let label = quoted(&described(graph.value(id)));
        writeln!(text, "  in{place} [shape=ellipse, label={label}];")?;
    }
    for (place, node) in graph.nodes.iter().enumerate() {
        let (label, name) = (quoted(node.op.name()), quoted(&node.name));
        writeln!(text, "  n{place} [label={label}, tooltip={name}];")?;
        for &id in node.inputs.iter().flatten() {
            write_edge(text, graph, id, &format!("n{place}"))?;
        }
    }
    for (place, &id) in graph.outputs.iter().enumerate() {
        let label = quoted(&described(graph.value(id)));
        writeln!(text, "  out{place} [shape=ellipse, label={label}];")?;
        write_edge(text, graph, id, &format!("out{place}"))?;
    }
    Ok(())
}

/// Weights are part of the node that uses them.
fn write_edge(text: &mut String, graph: &Graph, id: ValueId, to: &str) -> std::fmt::Result {
    let value = graph.value(id);
    let from = match value.origin {
        ValueOrigin::Input(place) => format!("in{place}"),
        ValueOrigin::Node(node, _) => format!("n{}", node.0),
        ValueOrigin::Initializer(_) => return Ok(()),
    };
    writeln!(
        text,
        "  {from} -> {to} [label={}];",
        quoted(&described(value))
    )
}

fn described(value: &Value) -> String {
    let dtype = value.dtype.map_or("?", |dtype| dtype.name());
    let shape = value.shape.as_ref().map(ToString::to_string);
    format!("{} {dtype}{}", value.name, shape.unwrap_or_default())
}
