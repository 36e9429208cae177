//! TorchScript is code: nothing of it runs unless somebody said that it may.

use std::fs;
use std::process::Command;

use super::engine_support::data;

#[test]
fn a_script_runs_only_where_the_configuration_trusts_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("blocks.toml");
    let model = data("digits/parity_head.pt");
    for (trust, code, seen) in [
        ("", 3, "is missing"),
        ("trust = false\n", 3, "is false"),
        ("trust = true\n", 0, ""),
        ("isolation = \"thread\"\n", 3, "is missing"),
        ("isolation = \"process\"\n", 0, ""),
        ("isolation = \"process\"\ntrust = false\n", 0, ""),
        ("process = \"scripts\"\n", 0, ""),
    ] {
        let text = format!(
            "[blocks.a]\nmodel = {model:?}\n{trust}\
             inputs = [{{ name = \"features\", datatype = \"FP32\", shape = [\"batch\", 64] }}]\n\
             outputs = [{{ name = \"logits\", datatype = \"FP32\", shape = [\"batch\", 2] }}]\n\
             [pipelines.p]\nflow = [\"a\"]\n"
        );
        fs::write(&config, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
            .arg("check")
            .arg(&config)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{trust:?}: {told}");
        if code != 0 {
            assert!(
                told.contains(&format!(
                    "blocks.a.trust: {seen}; a TorchScript file is code"
                )),
                "{told}"
            );
        }
    }
}

#[test]
fn the_command_line_runs_no_script_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .arg("infer")
        .arg(data("digits/parity_head.pt"))
        .arg("--output")
        .arg(folder.path().join("out"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("parity_head.pt is TorchScript, which is code: pass --trust"),
        "{told}"
    );
    assert!(!folder.path().join("out").exists());
}
