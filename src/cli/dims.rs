//! Sizes for the symbols of a model's shapes, as flags give them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{Bindings, Dim, nearest};

use super::error::CliError;

/// Reads `NAME=SIZE`.
pub(super) fn dim(text: &str) -> Result<(Arc<str>, usize), String> {
    let (name, size) = text.split_once('=').ok_or("expected NAME=SIZE")?;
    match size.parse() {
        Ok(0) | Err(_) => Err("expected a number from 1".to_owned()),
        Ok(size) => Ok((Arc::from(name), size)),
    }
}

/// Refuses a size for a symbol that no input of the model has.
pub(super) fn check(graph: &Graph, sizes: &Bindings) -> Result<(), CliError> {
    let known = symbols(graph);
    let Some(unknown) = sizes.keys().find(|name| !known.contains(*name)) else {
        return Ok(());
    };
    let names: Vec<&str> = known.iter().map(|name| &**name).collect();
    let meant = nearest(unknown, names.iter().copied());
    let meant = meant.map(|name| format!(", did you mean {name:?}?"));
    Err(CliError::Usage(format!(
        "no dimension of an input is called {unknown:?}{}; there are: [{}]",
        meant.unwrap_or_default(),
        names.join(", ")
    )))
}

/// Returns the symbols of the inputs of a model.
pub(super) fn symbols(graph: &Graph) -> BTreeSet<Arc<str>> {
    let shapes = graph
        .inputs
        .iter()
        .filter_map(|&id| graph.value(id).shape.as_ref());
    let dims = shapes.flat_map(|shape| &shape.0);
    dims.filter_map(|dim| match dim {
        Dim::Symbol(name) => Some(name.clone()),
        Dim::Fixed(_) | Dim::Any => None,
    })
    .collect()
}
