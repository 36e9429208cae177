//! The engine of a graph: chosen by name, absent ones told, results alike, `auto` one of them.

use std::process::Command;

use blockflow::engine::graph_engine;
use blockflow::graph::Graph;
use blockflow::types::{GraphEngine, Passes, Tensor};

use super::engine_support::{data, f32s, noise, values_f32};

fn run(engine: GraphEngine, graph: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let signature = graph.signature().unwrap();
    let prepared = graph_engine(engine)
        .prepare(graph, signature, 1, Passes::default())
        .unwrap();
    prepared.session().unwrap().run(inputs).unwrap()
}

#[test]
fn every_engine_computes_the_same_whole_or_in_parts() {
    let whole = Graph::read(&data("digits/digits.onnx")).unwrap();
    let image = f32s(&[2, 1, 8, 8], &noise(128, 3));
    let expected = run(GraphEngine::Aten, &whole, std::slice::from_ref(&image));
    let parts = whole.chain(&["features".to_owned()]).unwrap();
    for (_, engine) in GraphEngine::ALL {
        let seen = run(engine, &whole, std::slice::from_ref(&image));
        let mut split = vec![image.clone()];
        for part in &parts {
            split = run(engine, part, &split);
        }
        for ((expected, seen), split) in expected.iter().zip(&seen).zip(&split) {
            assert_eq!(seen.shape(), expected.shape());
            for other in [seen, split] {
                let pairs = values_f32(expected).into_iter().zip(values_f32(other));
                for (expected, other) in pairs {
                    assert!(
                        (expected - other).abs() <= 1e-4 * expected.abs().max(1.0),
                        "{engine:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn outputs_of_onnxruntime_outlive_their_session_and_inputs_are_not_copied() {
    let whole = Graph::read(&data("digits/digits.onnx")).unwrap();
    let image = f32s(&[1, 1, 8, 8], &noise(64, 4));
    let first = run(
        GraphEngine::OnnxRuntime,
        &whole,
        std::slice::from_ref(&image),
    );
    let kept: Vec<_> = first.iter().map(values_f32).collect();
    for seed in 0..4 {
        let other = f32s(&[1, 1, 8, 8], &noise(64, seed + 10));
        run(GraphEngine::OnnxRuntime, &whole, &[other]);
    }
    assert_eq!(kept, first.iter().map(values_f32).collect::<Vec<_>>());
}

#[test]
fn a_machine_without_the_library_says_so() {
    let model = data("digits/digits.onnx");
    let infer = |engine: &str| {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image.npy");
        blockflow::cli::write_npy(&image, &f32s(&[1, 1, 8, 8], &noise(64, 1))).unwrap();
        Command::new(env!("CARGO_BIN_EXE_blockflow"))
            .args(["infer", "--engine", engine, "--input"])
            .arg(format!("image={}", image.display()))
            .arg("--output")
            .arg(folder.path())
            .arg(&model)
            .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
            .output()
            .unwrap()
    };
    let absent = infer("onnxruntime");
    let told = String::from_utf8_lossy(&absent.stderr);
    assert_eq!(absent.status.code(), Some(4), "{told}");
    assert!(
        told.contains("engine onnxruntime is not available: ")
            && told.contains("/nowhere/libonnxruntime.so")
            && told.contains("set ORT_DYLIB_PATH"),
        "{told}"
    );
    // The choice is left to `auto`, which takes what there is.
    let auto = infer("auto");
    assert!(
        auto.status.success(),
        "{}",
        String::from_utf8_lossy(&auto.stderr)
    );
}
