//! The engine of a graph: chosen by name, absent ones told, results alike, `auto` one of them.

use std::path::Path;
use std::process::{Command, Output};

use blockflow::engine::{graph_engine, read_npy, write_npy};
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
    // `auto` would remember its choice where the user keeps things; it has tests of its own below.
    for engine in [GraphEngine::Aten, GraphEngine::OnnxRuntime] {
        let seen = run(engine, &whole, std::slice::from_ref(&image));
        let mut split = vec![image.clone()];
        for part in &parts {
            split = run(engine, part, &split);
        }
        for ((expected, seen), split) in expected.iter().zip(&seen).zip(&split) {
            close(seen, expected);
            close(split, expected);
        }
    }
}

fn close(seen: &Tensor, expected: &Tensor) {
    assert_eq!(seen.shape(), expected.shape());
    for (seen, expected) in values_f32(seen).into_iter().zip(values_f32(expected)) {
        assert!((expected - seen).abs() <= 1e-4 * expected.abs().max(1.0));
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
    let nowhere = |command: &mut Command| {
        command.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so");
    };
    let folder = tempfile::tempdir().unwrap();
    let infer = |engine: &str| infer(folder.path(), &["--engine", engine], nowhere);
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
    succeeds(&auto);
    assert!(!choices(folder.path()).exists(), "nothing was chosen from");
}

/// Runs the digits in a process of its own whose cache is a folder.
fn infer(folder: &Path, arguments: &[&str], change: impl Fn(&mut Command)) -> Output {
    let image = folder.join("image.npy");
    write_npy(&image, &f32s(&[1, 1, 8, 8], &noise(64, 1))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_blockflow"));
    command
        .args(["infer", "--input"])
        .arg(format!("image={}", image.display()))
        .arg("--output")
        .arg(folder)
        .arg(data("digits/digits.onnx"))
        .args(arguments)
        .env("XDG_CACHE_HOME", folder);
    change(&mut command);
    command.output().unwrap()
}

fn succeeds(output: &Output) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

fn choices(cache: &Path) -> std::path::PathBuf {
    cache.join("blockflow/choices.jsonl")
}

/// Returns the engines that a cache remembers.
fn remembered(cache: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(choices(cache)).unwrap();
    let engine = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["engine"].as_str().unwrap().to_owned()
    };
    text.lines().map(engine).collect()
}

#[test]
fn auto_computes_the_same_whole_or_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let logits = |arguments: &[&str]| {
        succeeds(&infer(folder.path(), arguments, |_| {}));
        read_npy(&folder.path().join("digit_logits.npy")).unwrap()
    };
    let expected = logits(&["--engine", "aten"]);
    close(&logits(&["--engine", "auto"]), &expected);
    close(
        &logits(&["--engine", "auto", "--cut", "features"]),
        &expected,
    );
    // The whole and its two parts.
    assert_eq!(remembered(folder.path()).len(), 3);
}

#[test]
fn a_choice_holds_for_the_next_process_and_for_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let auto = |arguments: &[&str]| {
        let arguments = [&["--engine", "auto"][..], arguments].concat();
        succeeds(&infer(folder.path(), &arguments, |_| {}));
        remembered(folder.path())
    };
    let first = auto(&[]);
    assert_eq!(first.len(), 1);
    // What the file says is taken for true: an engine that lost is not tried again.
    for engine in ["aten", "onnxruntime"] {
        let file = choices(folder.path());
        let text = std::fs::read_to_string(&file).unwrap();
        let found = format!("\"engine\":\"{}\"", remembered(folder.path())[0]);
        assert!(text.contains(&found), "{text}");
        let wanted = format!("\"engine\":\"{engine}\"");
        std::fs::write(&file, text.replace(&found, &wanted)).unwrap();
        assert_eq!(auto(&[]), [engine]);
    }
    for (arguments, expected) in [
        (&["--threads", "2"][..], 2),
        (&["--optimize", "fast"], 3),
        (&["--no-pass", "fuse-linear"], 4),
        (&["--threads", "2"], 4),
    ] {
        assert_eq!(auto(arguments).len(), expected, "{arguments:?}");
    }
}

#[test]
fn a_damaged_file_of_choices_is_told_of_and_written_anew() {
    for damage in ["{\"structure\":", "\u{0}\u{1}\u{2}", "[]\n\n{}\n", "aten"] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("blockflow")).unwrap();
        std::fs::write(choices(folder.path()), damage).unwrap();
        let auto = infer(folder.path(), &["--engine", "auto"], |_| {});
        succeeds(&auto);
        let told = String::from_utf8_lossy(&auto.stderr).into_owned();
        assert!(told.contains("choices.jsonl"), "{told}");
        assert_eq!(remembered(folder.path()).len(), 1);
    }
}

#[test]
fn a_cache_that_cannot_be_written_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for place in [
        file.as_path(),
        Path::new("/proc"),
        Path::new("relative"),
        Path::new(""),
    ] {
        let auto = infer(folder.path(), &["--engine", "auto"], |command| {
            command.env("XDG_CACHE_HOME", place).env("HOME", &file);
        });
        succeeds(&auto);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "in the way");
    assert!(!Path::new("relative").exists());
    // Nor one that the environment does not name.
    succeeds(&infer(folder.path(), &["--engine", "auto"], |command| {
        command.env_remove("XDG_CACHE_HOME").env_remove("HOME");
    }));
}

#[test]
fn processes_that_choose_at_once_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for threads in ["1", "2", "3"] {
            let folder = folder.path();
            scope.spawn(move || {
                let own = folder.join(threads);
                std::fs::create_dir(&own).unwrap();
                let arguments = ["--engine", "auto", "--threads", threads];
                succeeds(&infer(&own, &arguments, |command| {
                    command.env("XDG_CACHE_HOME", folder);
                }));
            });
        }
    });
    assert!((1..=3).contains(&remembered(folder.path()).len()));
}
