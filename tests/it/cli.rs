//! What the program says and returns, as a user meets it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::server::STATES;

pub(crate) fn blockflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args(arguments)
        .env(STATES, env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the program runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on stdout")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr")
}

/// Runs a command that succeeds and says nothing beside its result.
pub(crate) fn quietly(arguments: &[&str]) -> String {
    let output = blockflow(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    assert!(output.stderr.is_empty(), "{said}");
    stdout(&output)
}

/// Returns the path of a file of this checkout.
pub(crate) fn checkout(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    path.display().to_string()
}

fn data(name: &str) -> String {
    checkout(&format!("tests/data/digits/{name}"))
}

#[test]
fn help_names_every_subcommand_and_exit_code() {
    for arguments in [&[][..], &["--help"], &["help"]] {
        let output = blockflow(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let text = stdout(&output);
        for word in [
            "run",
            "check",
            "doctor",
            "explain",
            "infer",
            "inspect",
            "split",
            "shared",
            "bench",
            "reload",
            "plan",
            "history",
            "rollback",
            "swap",
            "Exit codes",
            "--log <FILTER>",
        ] {
            assert!(
                text.contains(word),
                "{arguments:?} does not mention {word:?}:\n{text}"
            );
        }
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn every_subcommand_has_help() {
    for command in [
        "run", "check", "doctor", "explain", "infer", "inspect", "split", "shared", "bench",
        "reload", "plan", "history", "rollback", "swap",
    ] {
        let output = blockflow(&[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(stdout(&output).contains("Usage: blockflow "), "{command}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    let output = blockflow(&["--version"]);
    assert_eq!(
        stdout(&output),
        format!("blockflow {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&["serve"], "unrecognized subcommand"),
        (&["run", "--http", "nowhere"], "--http"),
        (&["check", "--format", "yaml"], "possible values"),
        (&["explain", "--format", "svg"], "mermaid"),
        (&["infer", "--output", "out"], "MODEL"),
        (&["infer", "m.onnx"], "--output"),
        (
            &["infer", "m.onnx", "--pipeline", "p", "--output", "o"],
            "cannot be used with",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--input", "x"],
            "NAME=FILE",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--device", "tpu"],
            "cuda:N",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--threads", "0"],
            "from 1",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--repeat", "0"],
            "--repeat",
        ),
        (
            &["infer", "m.pt", "--output", "o", "--cut", "t"],
            "only an ONNX or .pt2 model",
        ),
        (
            &["infer", "m.pt", "--output", "o", "--isolation", "process"],
            "in a configuration",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--output-name", "t"],
            "TorchScript",
        ),
        (&["inspect"], "MODEL"),
        (&["inspect", "m.onnx", "--dim", "n"], "NAME=SIZE"),
        (&["inspect", "m.pt"], "only an ONNX or .pt2 model"),
        (&["split", "m.onnx", "-o", "o"], "--at"),
        (
            &["split", "m.onnx", "-o", "o", "--parts", "1"],
            "a number from 2",
        ),
        (
            &["split", "m.onnx", "-o", "o", "--parts", "2", "--at", "t"],
            "cannot be used with",
        ),
        (
            &["split", "m.pt", "-o", "o", "--parts", "2"],
            "only an ONNX or .pt2 model",
        ),
        (&["shared", "m.onnx"], "2 values required"),
        (&["bench"], "--config"),
        (
            &["bench", "--config", "a", "--url", "b"],
            "cannot be used with",
        ),
        (&["bench", "--config", "a", "--rate", "0"], "above 0"),
        (
            &[
                "bench",
                "--config",
                "a",
                "--rate",
                "5",
                "--concurrency",
                "2",
            ],
            "cannot be used with",
        ),
        (&["bench", "--config", "a", "--duration", "10"], "10s"),
        (&["bench", "--config", "a", "--rate", "1e-300"], "above 0"),
        (
            &["bench", "--config", "a", "--duration", "100000000h"],
            "at most 1000h",
        ),
        (
            &["bench", "--config", "a", "--warmup", "5000000000000000h"],
            "at most 1000h",
        ),
        (
            &["bench", "--config", "a", "--concurrency", "1000000000000"],
            "from 1 to 65536",
        ),
        (&["bench", "--config", "a", "--dim", "n=0"], "from 1"),
        (&["check", "--log", "blockflow=loud"], "log filter"),
    ];
    for (arguments, reason) in cases {
        let output = blockflow(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(reason),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_missing_configuration_is_a_problem_with_a_place() {
    let output = blockflow(&["check", "nowhere/blocks.toml"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stdout(&output).starts_with("nowhere/blocks.toml: "),
        "{}",
        stdout(&output)
    );
    assert!(output.stderr.is_empty(), "{}", stderr(&output));

    let output = blockflow(&["check", "nowhere/blocks.toml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let problems: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problem = problems[0].as_object().expect("an object");
    assert_eq!(problem["file"], "nowhere/blocks.toml");
    for field in ["line", "key", "seen", "expected"] {
        assert!(
            problem.contains_key(field),
            "{field} is missing: {problem:?}"
        );
    }
}

#[test]
fn problems_of_form_names_and_models_stand_in_one_report() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/everything_wrong.toml");
    let text = std::fs::read_to_string(&path).expect("the test's data");
    let path = path.display().to_string();
    let output = blockflow(&["check", &path]);
    assert_eq!(output.status.code(), Some(3));
    let told = stdout(&output);
    let numbers: Vec<usize> = told
        .lines()
        .map(|line| {
            let rest = line.strip_prefix(&format!("{path}:")).expect("the file");
            let (number, _) = rest.split_once(':').expect("a line number");
            number.parse().expect("a number")
        })
        .collect();
    let marked = text.lines().enumerate();
    let expected: Vec<usize> = marked
        .filter(|(_, line)| line.ends_with("# wrong") || line.ends_with("# wrong later"))
        .map(|(index, _)| index + 1)
        .collect();
    assert_eq!(numbers, expected, "{told}");
    for part in [
        "log.filter",
        "NVIDIA driver",
        "\"nowhere\", which is no block",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_file_that_cannot_be_torchscript_is_told_for_what_it_is() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    std::fs::create_dir(directory.path().join("folder.pt")).expect("a folder");
    for (name, content) in [("empty.pt", ""), ("page.pt", "<html>")] {
        std::fs::write(directory.path().join(name), content).expect("a file");
    }
    for (name, expected) in [
        ("folder.pt", "is a directory; expected a TorchScript file"),
        ("empty.pt", "is empty; expected"),
        ("page.pt", "begins with \"<htm\", not like a ZIP archive"),
        ("none.pt", "cannot be read: "),
    ] {
        let config = directory.path().join("blocks.toml");
        let tensor = "[{ name = \"x\", datatype = \"FP32\", shape = [1] }]";
        let text = format!(
            "[blocks.a]\nmodel = \"{name}\"\ntrust = true\ninputs = {tensor}\noutputs = {tensor}\n\
             [pipelines.p]\nflow = [\"a\"]\n"
        );
        std::fs::write(&config, text).expect("a configuration");
        let config = config.display().to_string();
        let output = blockflow(&["check", &config]);
        assert_eq!(output.status.code(), Some(3), "{name}");
        let told = stdout(&output);
        assert!(
            told.starts_with(&format!("{config}:2: blocks.a.model: ")),
            "{told}"
        );
        assert!(
            told.contains(expected) && told.lines().count() == 1,
            "{told}"
        );
    }
}

#[test]
fn a_wrong_cut_is_told_at_the_name_that_is_to_blame() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let config = directory.path().join("blocks.toml");
    for (cut, key) in [
        (
            "outputs = [\n\"features\",\n\"featres\"]",
            "5: blocks.a.outputs[1]",
        ),
        (
            "inputs = [\"featres\"]\noutputs = [\"digit_logits\"]",
            "3: blocks.a.inputs[0]",
        ),
    ] {
        let text = format!(
            "[blocks.a]\nmodel = {:?}\n{cut}\n[pipelines.p]\nflow = [\"a\"]\n",
            data("digits.onnx")
        );
        std::fs::write(&config, text).expect("a configuration");
        let config = config.display().to_string();
        let output = blockflow(&["check", &config]);
        let told = stdout(&output);
        assert!(told.starts_with(&format!("{config}:{key}")), "{told}");
    }
}

#[test]
fn commands_that_need_a_configuration_report_its_problems_on_stderr() {
    let missing = "nowhere/blocks.toml";
    for arguments in [
        &["run", missing][..],
        &["explain", missing],
        &[
            "infer",
            "--pipeline",
            "p",
            "--config",
            missing,
            "--output",
            "o",
        ],
        &["bench", "--config", missing],
    ] {
        let output = blockflow(arguments);
        assert_eq!(
            output.status.code(),
            Some(3),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).starts_with("nowhere/blocks.toml: "),
            "{}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_missing_model_cannot_start() {
    let output = blockflow(&["infer", "nowhere.onnx", "--output", "o"]);
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: "));
}

#[test]
fn an_unreadable_input_of_a_torchscript_model_is_named() {
    let output = blockflow(&[
        "infer",
        &data("parity_head.pt"),
        "--trust",
        "--output",
        "o",
        "--input",
        "x=nowhere.npy",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nowhere.npy"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}
