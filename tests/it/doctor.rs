//! `blockflow doctor`: it fails for what a configuration needs and lacks, and for nothing else.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::cli::{stderr, stdout};

const MOCK: &str = r#"
[server]
http = "127.0.0.1:0"

[blocks.one]
mock.inputs = [{ name = "x", datatype = "UINT8", shape = [1] }]
mock.outputs = [{ name = "y", datatype = "UINT8", shape = [1] }]

[pipelines.all]
flow = ["one"]
"#;

fn doctor(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .arg("doctor")
        .args(arguments)
        .current_dir(directory)
        .env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so")
        .env("XDG_CONFIG_HOME", directory)
        .output()
        .expect("the program runs")
}

fn written(directory: &Path, text: &str) -> PathBuf {
    let path = directory.join("blocks.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// Runs it on a configuration and returns the exit code and the findings.
fn examined(text: &str) -> (i32, Vec<Value>) {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path(), text);
    let output = doctor(directory.path(), &["--json", "blocks.toml"]);
    let report: Value = serde_json::from_str(&stdout(&output))
        .unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    let findings = report["findings"].as_array().unwrap().clone();
    (output.status.code().unwrap(), findings)
}

fn finding<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found = findings.iter().find(|one| one["check"] == check);
    found.unwrap_or_else(|| panic!("no finding of {check}: {findings:#?}"))
}

#[test]
fn without_a_configuration_nothing_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let output = doctor(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for word in [
        "NVIDIA driver",
        "libtorch",
        "libtorch for CUDA",
        "cpu",
        "ONNX Runtime",
        "libzmq",
        "CURVE",
        "memory files",
        "/dev/shm",
        "open files",
        "locked memory",
    ] {
        assert!(text.contains(word), "{word} is not looked at:\n{text}");
    }
    assert!(text.contains("missing  ONNX Runtime"), "{text}");
    assert!(text.contains("→ pip install onnxruntime"), "{text}");
    assert!(output.stderr.is_empty());
    let left: Vec<_> = directory.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "it wrote {left:?}");
}

#[test]
fn a_configuration_that_can_run_here_passes() {
    let (code, findings) = examined(MOCK);
    assert_eq!(code, 0, "{findings:#?}");
    let configuration = finding(&findings, "configuration");
    assert_eq!(configuration["status"], "ok");
    assert_eq!(configuration["found"], "blocks.toml: 1 block, 1 pipeline");
}

#[test]
fn a_device_that_is_not_there_is_missing_to_its_blocks() {
    let device = "[blocks.one]\ndevice = \"cuda:97\"";
    let (code, findings) = examined(&MOCK.replace("[blocks.one]", device));
    assert_eq!(code, 4, "{findings:#?}");
    let device = finding(&findings, "cuda:97");
    assert_eq!(device["status"], "missing");
    assert_eq!(device["needed_by"][0], "blocks.one.device");
    assert_eq!(finding(&findings, "configuration")["status"], "ok");
}

#[test]
fn an_engine_that_is_not_there_is_missing_to_its_blocks() {
    let model = crate::cli::checkout("tests/data/digits/digits.onnx");
    let block = format!("[blocks.one]\nmodel = {model:?}\nengine = \"onnxruntime\"");
    let text: String = MOCK.replace("[blocks.one]", &block);
    let text: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("mock."))
        .collect();
    let text = text.join("\n");
    let (code, findings) = examined(&text);
    assert_eq!(code, 4, "{findings:#?}");
    let engine = finding(&findings, "ONNX Runtime");
    assert_eq!(engine["needed_by"][0], "blocks.one.engine");
    assert_eq!(finding(&findings, "configuration")["status"], "ok");
}

#[test]
fn a_port_that_is_in_use_is_a_warning() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (code, findings) = examined(&MOCK.replace("127.0.0.1:0", &address));
    assert_eq!(code, 0, "{findings:#?}");
    assert_eq!(finding(&findings, "server.http")["status"], "warning");
}

#[test]
fn a_host_without_its_secret_key_cannot_link() {
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args(["keys", "new", "--key-file"])
        .arg(tempfile::tempdir().unwrap().path().join("key"))
        .output()
        .unwrap();
    let key = stdout(&output).trim().to_owned();
    let host = |name: &str, port: u16, key: &str| {
        format!("[hosts.{name}]\naddress = \"127.0.0.1\"\nport = {port}\nkey = {key:?}\n")
    };
    let other = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    let text = format!(
        "{MOCK}{}{}",
        host("here", 45_600, &key),
        host("there", 45_700, other)
    );
    let (code, findings) = examined(&text);
    assert_eq!(code, 4, "{findings:#?}");
    let secret = finding(&findings, "secret key");
    assert_eq!(secret["status"], "missing");
    assert_eq!(
        secret["needed_by"],
        serde_json::json!(["hosts.here.key", "hosts.there.key"])
    );
}

#[test]
fn what_is_wrong_with_a_configuration_is_told_with_the_machine() {
    for text in ["[blocks", "[blocks.one]\nmodel = \"nowhere.onnx\"\n"] {
        let (code, findings) = examined(text);
        assert_eq!(code, 4, "{findings:#?}");
        let configuration = finding(&findings, "configuration");
        assert_eq!(configuration["remedy"], "blockflow check blocks.toml");
        assert_eq!(configuration["needed_by"][0], "blocks.toml");
        finding(&findings, "libzmq");
    }
}
