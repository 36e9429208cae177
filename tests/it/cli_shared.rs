//! `blockflow shared`: what models have in common, as a user asks for it.

use std::path::Path;

use blockflow::graph::{Graph, WriteOptions};
use serde_json::Value;

use crate::cli::{blockflow, checkout, quietly, stderr};

fn shared(arguments: &[&str]) -> String {
    quietly(&[&["shared"], arguments].concat())
}

/// Writes the model of one head of the digits network.
fn head(folder: &Path, output: &str) -> String {
    let graph = Graph::read(Path::new(&checkout("tests/data/digits/digits.onnx"))).unwrap();
    let segment = graph.segment(None, Some(&[output.to_owned()])).unwrap();
    let path = folder.join(format!("{output}.onnx"));
    segment
        .write(&path, &WriteOptions::default(), &mut |_| ())
        .unwrap();
    path.display().to_string()
}

#[test]
fn the_backbone_of_several_models_is_found_with_its_ends() {
    let folder = tempfile::tempdir().unwrap();
    let outputs = ["digit_logits", "parity_logits", "legible_logits"];
    let models = outputs.map(|output| head(folder.path(), output));
    let models: Vec<&str> = models.iter().map(String::as_str).collect();
    let told: Value =
        serde_json::from_str(&shared(&[&models[..], &["--format", "json"]].concat())).unwrap();
    let prefix = &told["prefixes"][0];
    let places = prefix["places"].as_array().unwrap();
    assert_eq!(places.len(), 3, "{told}");
    for (place, model) in places.iter().zip(&models) {
        assert_eq!(place["model"], *model);
        assert_eq!(place["inputs"], Value::from(vec!["image"]));
        assert_eq!(place["outputs"], Value::from(vec!["features"]));
    }
    assert_eq!(told["segments"], Value::Array(Vec::new()));
    let all = told["weight_bytes"].as_u64().unwrap();
    let distinct = told["distinct_bytes"].as_u64().unwrap();
    assert_eq!(all - distinct, prefix["saved_bytes"].as_u64().unwrap());

    let text = shared(&models);
    assert!(text.contains("image -> features"), "{text}");
    assert!(text.contains("segments\n  none"), "{text}");
    let drawn = shared(&[&models[..], &["--format", "dot"]].concat());
    assert!(drawn.starts_with("graph shared {"), "{drawn}");
    assert!(drawn.contains("m2 -- prefix0"), "{drawn}");
}

#[test]
fn models_with_nothing_in_common_are_told_so() {
    let models = ["resnet18", "mobilenetv2"];
    let models = models.map(|name| checkout(&format!("target/test-models/{name}.onnx")));
    let text = shared(&[&models[0], &models[1]]);
    assert!(text.contains("prefixes\n  none"), "{text}");
    assert!(text.contains("segments\n  none"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let mlp = checkout("tests/data/tiny/mlp.onnx");
    let cases: &[(&[&str], i32, &str)] = &[
        (&[&mlp], 2, "2 values required"),
        (&[&mlp, &checkout("README.md")], 4, "is no ONNX model"),
        (&[&mlp, "nowhere.onnx"], 4, "cannot read nowhere.onnx"),
        (&[&mlp, "head.pt"], 2, "only an ONNX or .pt2 model can"),
    ];
    for (arguments, code, reason) in cases {
        let output = blockflow(&[&["shared"], *arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
