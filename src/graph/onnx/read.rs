//! From a file to a graph.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::builder::Builder;
use super::external::Files;
use super::function::Functions;
use super::graph::{Setting, inputs, read_nodes, read_weights};
use super::map::map;
use super::opset::default_opset;
use super::proto::ModelProto;
use super::scope::{all_names, check_operators, check_size};
use super::value_info;
use crate::graph::{Defect, Graph, GraphError};

impl Graph {
    /// Reads a model from an ONNX file and the data files it names.
    ///
    /// Files are mapped, not copied, and must not be overwritten in place while the graph or a part of it is in use;
    /// replacing them by renaming is safe. Operators are normalised, functions of the model replaced by their nodes,
    /// dtypes and shapes inferred, and what no output needs is left out; inputs are all kept.
    ///
    /// # Errors
    /// If a file cannot be read, is no ONNX model, contradicts itself, or uses what is not supported. Unsupported
    /// operators are reported all at once.
    pub fn read(path: &Path) -> Result<Self, GraphError> {
        let path = path.to_path_buf();
        let bytes = map(&path).map_err(|source| GraphError::Read {
            path: path.clone(),
            source,
        })?;
        let model = ModelProto::decode(bytes).map_err(|source| GraphError::Decode {
            path: path.clone(),
            source,
        })?;
        let graph = build(&model, &path).map_err(|defect| GraphError::Model {
            path,
            source: Box::new(defect),
        })?;
        if cfg!(debug_assertions) {
            graph.verify()?;
        }
        Ok(graph)
    }
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
    Ok(builder.finish(graph.name.clone(), path.to_path_buf(), outputs))
}
