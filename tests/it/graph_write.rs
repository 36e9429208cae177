//! Graphs written as ONNX files: read back they are the same, onnxruntime computes the same, and a file is whole or not
//! there.

use std::path::{Path, PathBuf};
use std::process::Command;

use blockflow::engine::{read_npy, write_npy};
use blockflow::graph::{Graph, WriteOptions};
use blockflow::types::{DType, Tensor};

use crate::engine_support::{f32s, noise, prepare_graph, values_f32};
use crate::graph_file::{data, floats, model, node, weight};

pub(crate) const INLINE: WriteOptions = WriteOptions {
    inline_bytes_max: u64::MAX,
};
const BESIDE: WriteOptions = WriteOptions {
    inline_bytes_max: 0,
};

/// Symbolic sizes of made-up inputs: odd, so that it is not mistaken for another, and large enough for any window.
const SIZE: usize = 9;

/// Every model of the repository that can be read, and those of the test environment.
fn models() -> Vec<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["tests/data/digits", "tests/data/tiny", "target/test-models"];
    let mut models: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(checkout.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "onnx"))
        .filter(|path| Graph::read(path).is_ok())
        .collect();
    models.sort();
    assert!(models.len() > 12, "{models:?}");
    models
}

pub(crate) fn written(graph: &Graph, folder: &Path, options: &WriteOptions) -> Graph {
    let path = folder.join("model.onnx");
    graph
        .write(&path, options, &mut |_| ())
        .unwrap_or_else(|error| panic!("{error}"));
    Graph::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Inputs of a graph, the same for the same graph.
fn inputs(graph: &Graph) -> Vec<Tensor> {
    let signature = graph.signature().unwrap();
    let inputs = signature.inputs.iter().map(|spec| {
        let dims = spec.shape.0.iter();
        let shape: Vec<usize> = dims.map(|dim| dim.fixed().unwrap_or(SIZE)).collect();
        let count = shape.iter().product();
        match spec.dtype {
            DType::F32 => f32s(&shape, &noise(count, 7)),
            dtype => {
                let bytes = vec![0; count * dtype.size().unwrap()];
                Tensor::copy_of(dtype, shape, &bytes).unwrap()
            }
        }
    });
    inputs.collect()
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let prepared = prepare_graph(graph, graph.signature().unwrap()).unwrap();
    prepared.session().unwrap().run(inputs).unwrap()
}

fn assert_same(one: &[Tensor], other: &[Tensor], what: &str) {
    assert_eq!(one.len(), other.len(), "{what}");
    for (one, other) in one.iter().zip(other) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "{what}");
        assert!(one.bytes() == other.bytes(), "{what}: other elements");
    }
}

/// Runs the models in some folders with onnxruntime on the inputs that are written there.
pub(crate) fn onnxruntime(folders: &[PathBuf]) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(checkout.join(".venv-test/bin/python"))
        .arg(checkout.join("tests/client/run_onnx.py"))
        .args(folders)
        .output()
        .expect("scripts/setup --tests makes the environment");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_graph_that_is_written_reads_back_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    for path in models() {
        let graph = Graph::read(&path).unwrap();
        let inputs = inputs(&graph);
        let expected = run(&graph, &inputs);
        for options in [INLINE, BESIDE] {
            let label = format!("{} with {options:?}", path.display());
            let again = written(&graph, folder.path(), &options);
            assert_eq!(
                graph.hashes(&mut |_| ()),
                again.hashes(&mut |_| ()),
                "{label}"
            );
            assert_eq!(
                graph.signature().unwrap(),
                again.signature().unwrap(),
                "{label}"
            );
            assert_same(&run(&again, &inputs), &expected, &label);
        }
    }
}

#[test]
fn onnxruntime_computes_of_written_blocks_what_they_compute_here() {
    let top = tempfile::tempdir().unwrap();
    let mut blocks = Vec::new();
    for path in models() {
        let graph = Graph::read(&path).unwrap();
        let costs = graph.costs(&blockflow::types::Bindings::new());
        let points = graph.cut_points(&costs).len();
        let parts = (points + 1).min(3);
        let cuts = graph.balanced_cuts(&costs, parts).unwrap();
        let cuts: Vec<_> = cuts
            .iter()
            .map(|&id| graph.value(id).name.clone())
            .collect();
        for part in graph.parts(&cuts).unwrap() {
            let folder = top.path().join(blocks.len().to_string());
            std::fs::create_dir(&folder).unwrap();
            let options = if blocks.len() % 2 == 0 {
                INLINE
            } else {
                BESIDE
            };
            let block = written(&part.graph, &folder, &options);
            let inputs = inputs(&block);
            for (index, input) in inputs.iter().enumerate() {
                write_npy(&folder.join(format!("input_{index}.npy")), input).unwrap();
            }
            let label = format!("{} from {:?}", path.display(), cuts);
            blocks.push((folder, label, run(&block, &inputs)));
        }
    }
    assert!(blocks.len() > 20);
    let folders: Vec<_> = blocks.iter().map(|(folder, ..)| folder.clone()).collect();
    onnxruntime(&folders);
    for (folder, label, outputs) in blocks {
        for (index, seen) in outputs.iter().enumerate() {
            let expected = read_npy(&folder.join(format!("expected_{index}.npy"))).unwrap();
            assert_eq!(format!("{seen:?}"), format!("{expected:?}"), "{label}");
            if seen.dtype() != DType::F32 {
                continue;
            }
            let pairs = values_f32(seen).into_iter().zip(values_f32(&expected));
            for (seen, expected) in pairs {
                let allowed = 1e-5 * expected.abs().max(1.0);
                assert!(
                    (seen - expected).abs() <= allowed,
                    "{label}: {seen} and {expected}"
                );
            }
        }
    }
}

#[test]
fn an_operator_without_a_single_onnx_form_is_written_as_several() {
    let nodes = vec![node("Softmax", &["x"], &["y"]).int("axis", 1)];
    for shape in ["2,3,4", "batch,3,4", "0,3,4"] {
        let graph = model(11, shape, nodes.clone(), Vec::new()).read().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let again = written(&graph, folder.path(), &INLINE);
        assert!(again.nodes.len() > 1, "{again:?}");
        let inputs = inputs(&graph);
        assert_same(&run(&again, &inputs), &run(&graph, &inputs), shape);
        let twice = written(&again, folder.path(), &INLINE);
        assert_eq!(
            again.hashes(&mut |_| ()),
            twice.hashes(&mut |_| ()),
            "{shape}"
        );
    }
}

#[test]
fn large_weights_go_beside_the_model_at_offsets_that_can_be_mapped() {
    let weights = vec![floats("small", &[1, 4]), floats("large", &[4, 1000])];
    let nodes = vec![
        node("MatMul", &["x", "large"], &["h"]),
        node("Add", &["h", "one"], &["y"]),
    ];
    let mut file = model(17, "batch,4", nodes, weights);
    file.graph_mut().weights.push(floats("one", &[1]));
    let graph = file.read().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let again = written(&graph, folder.path(), &BESIDE);
    let beside = folder.path().join("model.onnx.data");
    assert_eq!(std::fs::metadata(&beside).unwrap().len(), 16_000);
    assert!(
        std::fs::metadata(folder.path().join("model.onnx"))
            .unwrap()
            .len()
            < 2000
    );
    assert_eq!(
        weight(&again, "large").bytes(),
        weight(&graph, "large").bytes()
    );
    assert_eq!(weight(&again, "one").bytes(), weight(&graph, "one").bytes());
}

#[test]
fn progress_counts_the_bytes_of_the_files() {
    let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let mut seen = 0;
    graph
        .write(&path, &INLINE, &mut |bytes| seen += bytes)
        .unwrap();
    assert_eq!(seen, std::fs::metadata(&path).unwrap().len());
}

#[test]
fn a_file_that_cannot_be_written_leaves_nothing_behind() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/model.onnx");
    let error = graph.write(&nowhere, &INLINE, &mut |_| ()).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
    let taken = folder.path().join("folder");
    std::fs::create_dir(&taken).unwrap();
    graph.write(&taken, &INLINE, &mut |_| ()).unwrap_err();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_model_is_replaced_while_a_graph_of_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let read = written(&graph, folder.path(), &INLINE);
    let inputs = inputs(&graph);
    let expected = run(&graph, &inputs);
    // Over the file that `read` has mapped.
    let again = written(&read, folder.path(), &INLINE);
    assert_same(&run(&read, &inputs), &expected, "the old graph");
    assert_same(&run(&again, &inputs), &expected, "the new graph");
}
