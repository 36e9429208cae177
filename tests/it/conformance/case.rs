//! One case: a model, its inputs, its expected outputs.

use std::fs;
use std::path::{Path, PathBuf};

use blockflow::graph::{Graph, read_tensor};
use blockflow::types::{GraphEngine, Passes, Tensor};

use crate::engine_support::run_graph;

use super::compare::compare;

/// The kinds of cases that come with data.
const KINDS: [&str; 4] = ["node", "pytorch-converted", "pytorch-operator", "simple"];

pub(super) struct Case {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) folder: PathBuf,
}

impl Case {
    /// Finds all cases below the suite's folder, in the order of their names.
    pub(super) fn all(suite: &Path) -> Vec<Self> {
        let mut cases = Vec::new();
        for kind in KINDS {
            for entry in fs::read_dir(suite.join(kind)).unwrap() {
                let folder = entry.unwrap().path();
                if folder.join("model.onnx").is_file() {
                    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
                    cases.push(Self { kind, name, folder });
                }
            }
        }
        cases.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        cases
    }

    /// Reads `{role}_0.pb`, `{role}_1.pb`, … of the only data set.
    pub(super) fn tensors(&self, role: &str) -> Result<Vec<Tensor>, String> {
        let data = self.folder.join("test_data_set_0");
        (0..)
            .map(|index| data.join(format!("{role}_{index}.pb")))
            .take_while(|path| path.is_file())
            .map(|path| read_tensor(&path).map_err(|error| error.to_string()))
            .collect()
    }
}

/// Runs a case on an engine; the error says how it failed.
pub(super) fn run(case: &Case, engine: GraphEngine) -> Result<(), String> {
    let graph = Graph::read(&case.folder.join("model.onnx")).map_err(|error| error.to_string())?;
    let inputs = case.tensors("input")?;
    let outputs = run_graph(&graph, engine, Passes::default(), &inputs)?;
    compare(&outputs, &case.tensors("output")?)
}
