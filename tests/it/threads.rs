//! Operators of several threads: they must not spin while they wait, which on a busy machine makes them many times
//! slower.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::support::server::Server;

const SPIN_COUNT: &str = "GOMP_SPINCOUNT=0";

fn digits(threads: usize) -> String {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits/digits.onnx");
    format!(
        "[blocks.digits]\nmodel = {model:?}\noutputs = [\"digit_logits\"]\nthreads = {threads}\n\
         [pipelines.digits]\nflow = [\"digits\"]\n"
    )
}

/// The settings of OpenMP in the environment that a running server was started with.
fn settings(server: &Server) -> Vec<String> {
    let environment = fs::read(format!("/proc/{}/environ", server.id())).unwrap();
    let entries = environment.split(|&byte| byte == 0);
    entries
        .map(|entry| String::from_utf8_lossy(entry).into_owned())
        .filter(|entry| entry.starts_with("GOMP_") || entry.starts_with("OMP_"))
        .collect()
}

fn serve(threads: usize) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("blocks.toml");
    fs::write(&config, digits(threads)).unwrap();
    let server = Server::start(&config);
    (folder, server)
}

#[test]
fn threads_of_operators_sleep_while_they_wait() {
    let (_folder, server) = serve(2);
    assert_eq!(settings(&server), [SPIN_COUNT]);
}

#[test]
fn a_server_is_ready_for_a_reload_that_asks_for_threads() {
    let (_folder, server) = serve(1);
    assert_eq!(settings(&server), [SPIN_COUNT]);
}

#[test]
fn a_setting_of_the_user_stays() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("blocks.toml");
    fs::write(&config, digits(2)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args(["infer", "--pipeline", "digits", "--config"])
        .arg(&config)
        .arg("--output")
        .arg(folder.path())
        .arg("--input")
        .arg(format!(
            "image={}",
            folder.path().join("none.npy").display()
        ))
        .env("OMP_WAIT_POLICY", "ACTIVE")
        .env_remove("GOMP_SPINCOUNT")
        .env("OMP_DISPLAY_ENV", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let shown = log.matches("OPENMP DISPLAY ENVIRONMENT BEGIN").count();
    assert_eq!(shown, 1, "started once: {log}");
}
