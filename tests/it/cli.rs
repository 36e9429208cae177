//! What the program says and returns, as a user meets it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) fn blockflow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on stdout")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr")
}

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/digits")
        .join(name)
        .display()
        .to_string()
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
            "explain",
            "infer",
            "bench",
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
    for command in ["run", "check", "explain", "infer", "bench"] {
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
            "only an ONNX model",
        ),
        (
            &["infer", "m.onnx", "--output", "o", "--output-name", "t"],
            "TorchScript",
        ),
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
