//! From the bytes of a file to a graph.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::external::Files;
use super::function::Functions;
use super::graph::{Setting, inputs, read_nodes, read_weights};
use super::opset::default_opset;
use super::proto::ModelProto;
use super::scope::{all_names, check_operators, check_size};
use super::value_info;
use crate::graph::build::Builder;
use crate::graph::{Defect, Graph, GraphError};

/// Reads a model and the data files it names, which lie beside it.
pub(in crate::graph) fn read(path: &Path, bytes: Bytes) -> Result<Graph, GraphError> {
    let model = ModelProto::decode(bytes).map_err(|source| GraphError::Decode {
        path: path.to_path_buf(),
        source,
    })?;
    build(&model, path).map_err(|defect| GraphError::Model {
        path: path.to_path_buf(),
        source: Box::new(defect),
    })
}

fn build(model: &ModelProto, path: &Path) -> Result<Graph, Defect> {
    let graph = model.graph.as_ref().ok_or(Defect::NoGraph)?;
    let opset = default_opset(&model.opset_import)?.unwrap_or(1);
    check_size(graph)?;
    let functions = Functions::of(model)?;
    check_operators(graph, &functions)?;
    if graph.output.is_empty() {
        return Err(Defect::NoOutputs);
    }
    let mut declared = HashMap::new();
    for info in graph.value_info.iter().chain(&graph.output) {
        declared.insert(info.name.clone(), value_info::computed(info)?);
    }
    let outputs = graph.output.iter().map(|output| output.name.as_str());
    let reserved = Arc::new(all_names(graph, &functions));
    let mut builder = Builder::new(
        declared,
        reserved,
        outputs.clone().map(str::to_owned).collect(),
    );
    let mut files = Files::beside(path);
    for input in inputs(graph)? {
        builder.add_input(&input.name, value_info::input(input)?)?;
    }
    read_weights(graph, &mut builder, &mut files)?;
    let setting = Setting {
        path,
        functions: &functions,
        opset,
        caller: None,
        depth: 0,
        expanded: &Cell::new(0),
    };
    read_nodes(
        setting,
        &graph.node,
        outputs.clone(),
        &mut builder,
        &mut files,
    )?;
    let find = |name: &str| {
        let value = builder.resolve(name).flatten();
        value.ok_or_else(|| Defect::UndefinedOutput {
            tensor: name.to_owned(),
        })
    };
    let outputs: Vec<_> = outputs.map(find).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    if let Some(place) = outputs.iter().position(|output| !seen.insert(*output)) {
        return Err(Defect::DefinedTwice {
            tensor: graph.output[place].name.clone(),
        });
    }
    let mut read = builder.finish(graph.name.clone(), path.to_path_buf(), outputs);
    read.data_files = files.paths();
    Ok(read)
}
