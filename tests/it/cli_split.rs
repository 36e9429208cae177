//! `blockflow split`: the blocks run as they are written and compute what the model does, and what cannot be cut is
//! refused before anything is written.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{blockflow, checkout, stderr, stdout};
use crate::graph_file::{floats, model, node, untyped};

fn succeed(arguments: &[&str]) -> String {
    let output = blockflow(arguments);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        stderr(&output)
    );
    assert!(
        output.stderr.is_empty(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

/// A model with its blocks in a folder, and whatever runs of it write.
struct Split {
    folder: TempDir,
    model: String,
}

impl Split {
    fn of(model: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            model: model.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn run(&self, flags: &[&str]) -> Value {
        let blocks = self.text("blocks");
        let fixed = ["split", &self.model, "-o", &blocks, "--format", "json"];
        serde_json::from_str(&succeed(&[&fixed[..], flags].concat())).unwrap()
    }

    /// Runs the model and its blocks on one input, and compares the files of all outputs.
    fn assert_computes_the_same(&self, pipeline: &str, input: &str) {
        let config = self.text("blocks/blocks.toml");
        let checked = succeed(&["check", &config]);
        assert!(checked.starts_with("ok: "), "{checked}");
        let (whole, split) = (self.text("whole"), self.text("split"));
        succeed(&["infer", &self.model, "--input", input, "-o", &whole]);
        succeed(&[
            "infer",
            "--pipeline",
            pipeline,
            "--config",
            &config,
            "--input",
            input,
            "-o",
            &split,
        ]);
        let mut outputs = 0;
        for entry in std::fs::read_dir(&whole).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let read = |folder: &str| std::fs::read(Path::new(folder).join(&name)).unwrap();
            assert!(
                read(&whole) == read(&split),
                "{name} differs: {}",
                self.model
            );
            outputs += 1;
        }
        assert_eq!(std::fs::read_dir(&split).unwrap().count(), outputs);
    }
}

#[test]
fn req_4_networks_split_into_equal_parts_compute_the_same_bytes() {
    for name in ["resnet18", "mobilenetv2", "mobilenetv3", "mlp"] {
        for parts in ["2", "4"] {
            let split = Split::of(&checkout(&format!("target/test-models/{name}.onnx")));
            let told = split.run(&["--parts", parts]);
            assert_eq!(told["blocks"].as_array().unwrap().len().to_string(), parts);
            assert_eq!(told["flow"], "chain");
            let file = checkout(&format!("target/test-models/{name}.input.npy"));
            split.assert_computes_the_same(name, &format!("input={file}"));
        }
    }
}

#[test]
fn req_4_heads_become_blocks_beside_each_other() {
    let split = Split::of(&checkout("tests/data/digits/digits.onnx"));
    let told = split.run(&["--at", "features", "--at", "stem_out"]);
    assert_eq!(told["blocks"].as_array().unwrap().len(), 5);
    let config = std::fs::read_to_string(split.path("blocks/blocks.toml")).unwrap();
    assert!(config.contains("\"image -> part_0.image\""), "{config}");
    assert!(config.contains("-> digit_logits\""), "{config}");
    let image = checkout("tests/data/digits/images.npy");
    split.assert_computes_the_same("digits", &format!("image={image}"));
}

#[test]
fn req_4_a_cut_beside_a_skip_connection_adds_an_edge() {
    let graph =
        blockflow::graph::Graph::read(Path::new(&checkout("target/test-models/resnet18.onnx")));
    let graph = graph.unwrap();
    let inside = graph
        .nodes
        .iter()
        .map(|node| node.outputs[0].unwrap())
        .find_map(|id| {
            let name = graph.value(id).name.clone();
            let parts = graph.parts(std::slice::from_ref(&name)).ok()?;
            parts
                .iter()
                .any(|part| !part.added.is_empty())
                .then_some(name)
        });
    let inside = inside.expect("a residual network");
    let split = Split::of(&checkout("target/test-models/resnet18.onnx"));
    let told = split.run(&["--at", &inside]);
    let blocks = told["blocks"].as_array().unwrap();
    assert!(
        blocks
            .iter()
            .any(|block| block["added"] != Value::Array(Vec::new())),
        "{told}"
    );
    let file = checkout("target/test-models/resnet18.input.npy");
    split.assert_computes_the_same("resnet18", &format!("input={file}"));
}

/// Names that an edge of a configuration could not say.
#[test]
fn tensors_with_odd_names_are_wired_all_the_same() {
    use prost::Message as _;
    let nodes = vec![
        node("MatMul", &["x.1", "w"], &["a -> b"]),
        node("Relu", &["a -> b"], &["left.out"]),
        node("Neg", &["a -> b"], &["right \"out\""]),
    ];
    let mut file = model(17, "2,4", nodes, vec![floats("w", &[4, 4])]);
    file.graph_mut().inputs[0].name = "x.1".to_owned();
    file.graph_mut().outputs = vec![untyped("right \"out\""), untyped("left.out")];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd names.onnx");
    std::fs::write(&path, file.encode_to_vec()).unwrap();
    let split = Split::of(&path.display().to_string());
    let told = split.run(&["--at", "a -> b"]);
    assert_eq!(told["pipeline"], "odd_names");
    let checked = succeed(&["check", &split.text("blocks/blocks.toml")]);
    assert_eq!(checked, "ok: 3 blocks, 1 pipeline\n");
    let drawn = succeed(&[
        "split",
        &split.model,
        "--at",
        "a -> b",
        "-o",
        &split.text("drawn"),
        "--format",
        "dot",
    ]);
    assert!(drawn.contains("part_0 -> part_2"), "{drawn}");
}

#[test]
fn what_is_written_is_told() {
    let split = Split::of(&checkout("tests/data/digits/digits.onnx"));
    let folder = split.text("blocks");
    let said = succeed(&["split", &split.model, "--parts", "2", "-o", &folder]);
    assert!(said.starts_with("pipeline digits\n"), "{said}");
    assert!(said.contains("image -> "), "{said}");
    assert!(said.ends_with("blocks.toml\n"), "{said}");
    let parts = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(parts, said.matches("  part_").count() + 1, "{said}");
}

#[test]
fn a_folder_that_is_not_empty_is_written_to_by_force_only() {
    let split = Split::of(&checkout("tests/data/tiny/mlp.onnx"));
    let blocks = split.text("blocks");
    std::fs::create_dir(&blocks).unwrap();
    std::fs::write(split.path("blocks/notes.txt"), "mine").unwrap();
    let flags = ["split", &split.model, "--parts", "2", "-o", &blocks];
    let output = blockflow(&flags);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("is not empty"),
        "{}",
        stderr(&output)
    );
    assert_eq!(std::fs::read_dir(&blocks).unwrap().count(), 1);
    succeed(&[&flags[..], &["--force"]].concat());
    succeed(&[&flags[..], &["--force"]].concat());
    succeed(&["check", &split.text("blocks/blocks.toml")]);
    assert_eq!(
        std::fs::read(split.path("blocks/notes.txt")).unwrap(),
        b"mine"
    );
}

#[test]
fn what_cannot_be_cut_is_refused_and_nothing_written() {
    let mlp = checkout("tests/data/tiny/mlp.onnx");
    let page = checkout("README.md");
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &[&mlp, "--at", "hiden_relu"],
            4,
            "has no tensor \"hiden_relu\", did you mean \"hidden_relu\"?",
        ),
        (&[&mlp, "--at", "hidden.weight"], 4, "is a weight, cut at"),
        (&[&mlp, "--at", "input"], 4, "is an input of the model"),
        (&[&mlp, "--at", "output"], 4, "nothing is computed after"),
        (&[&mlp, "--parts", "100"], 2, "cannot be cut into 100 parts"),
        (&[&mlp, "--parts", "2", "--dim", "n=1"], 2, "no dimension"),
        (&[&page, "--parts", "2"], 4, "is no ONNX model"),
    ];
    for (arguments, code, reason) in cases {
        let folder = tempfile::tempdir().unwrap();
        let blocks = folder.path().join("blocks");
        let target = ["split", "-o", &blocks.display().to_string()].map(str::to_owned);
        let target: Vec<&str> = target.iter().map(String::as_str).collect();
        let output = blockflow(&[&target[..], *arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(!blocks.exists(), "{arguments:?} made the folder");
    }
}
