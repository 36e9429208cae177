//! `blockflow inspect`: what it tells of a model, and what it refuses.

use serde_json::Value;

use crate::cli::{blockflow, checkout, quietly, stderr};

fn inspect(arguments: &[&str]) -> String {
    quietly(&[&["inspect"], arguments].concat())
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&inspect(&[arguments, &["--format", "json"]].concat())).unwrap()
}

#[test]
fn a_model_is_told_with_signature_operators_costs_and_hashes() {
    let model = checkout("tests/data/tiny/mlp.onnx");
    let text = inspect(&[&model]);
    for part in [
        "input FP32[batch, 4]",
        "output FP32[batch, ",
        "Gemm",
        "Relu",
        "aten runs every node",
        "onnxruntime can be given every node",
        "FLOP at batch = 1",
        "structure",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let told = json(&[&model]);
    assert_eq!(told["inputs"][0]["shape"][0], "batch");
    assert_eq!(told["sizes"]["batch"], 1);
    assert_eq!(told["engines"][0]["engine"], "aten");
    assert_eq!(told["engines"][1]["engine"], "onnxruntime");
    for (engine, is_all) in [(0, true), (1, false)] {
        assert_eq!(told["engines"][engine]["lacks"], Value::Array(Vec::new()));
        assert_eq!(told["engines"][engine]["is_all"], is_all);
    }
    for hash in ["structure", "weights", "content"] {
        assert_eq!(told["hashes"][hash].as_str().unwrap().len(), 64, "{hash}");
    }
    assert!(told.get("cuts").is_none(), "nobody asked for cuts");
    let operators = told["operators"].as_array().unwrap();
    let nodes: u64 = operators
        .iter()
        .map(|one| one["count"].as_u64().unwrap())
        .sum();
    assert_eq!(told["cost"]["nodes"], nodes);
}

#[test]
fn work_grows_with_the_size_that_a_symbol_is_given() {
    let model = checkout("target/test-models/resnet18.onnx");
    let flops = |arguments: &[&str]| {
        let told = json(&[&[model.as_str()], arguments].concat());
        told["cost"]["flops"].as_u64().unwrap()
    };
    assert_eq!(flops(&["--dim", "N=4"]), 4 * flops(&[]));
}

#[test]
fn cuts_are_listed_with_the_bytes_that_would_cross() {
    let model = checkout("tests/data/digits/digits.onnx");
    let text = inspect(&[&model, "--cuts"]);
    assert!(text.contains("features FP32[batch, 64]"), "{text}");
    assert!(text.contains("256 × batch"), "{text}");
    let told = json(&[&model, "--cuts", "--dim", "batch=3"]);
    let cuts = told["cuts"].as_array().unwrap();
    let cut = cuts
        .iter()
        .find(|cut| cut["tensor"]["name"] == "features")
        .unwrap();
    assert_eq!(cut["bytes"], 3 * 256);
    assert_eq!(cut["bytes_by_symbol"], "256 × batch");
    let side = |side: &str| cut[side]["flops"].as_u64().unwrap();
    assert_eq!(told["cost"]["flops"], side("before") + side("after"));
}

#[test]
fn a_model_is_drawn_with_every_node() {
    let drawn = inspect(&[&checkout("tests/data/tiny/mlp.onnx"), "--format", "dot"]);
    assert!(drawn.starts_with("digraph model {"), "{drawn}");
    assert!(drawn.contains("label=\"Relu\""), "{drawn}");
    assert!(drawn.contains("in0 -> n0"), "{drawn}");
    assert!(drawn.trim_end().ends_with('}'), "{drawn}");
}

#[test]
fn what_cannot_be_inspected_is_refused_with_the_reason() {
    let mlp = checkout("tests/data/tiny/mlp.onnx");
    let page = checkout("README.md");
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&page], 4, "is no ONNX model"),
        (&["nowhere.onnx"], 4, "cannot read nowhere.onnx"),
        (
            &[&checkout("tests/data/digits/parity_head.pt")],
            2,
            "only an ONNX or .pt2 model can",
        ),
        (
            &[&mlp, "--dim", "bach=2"],
            2,
            "no dimension of an input is called \"bach\", did you mean \"batch\"?",
        ),
        (&[&mlp, "--dim", "batch=0"], 2, "from 1"),
        (&[&mlp, "--format", "mermaid"], 2, "possible values"),
    ];
    for (arguments, code, reason) in cases {
        let output = blockflow(&[&["inspect"], *arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
