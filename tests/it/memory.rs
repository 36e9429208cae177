//! Memory over many requests.

use std::path::Path;
use std::process::Command;

use crate::support::server::Server;

fn load(server: &Server, requests: u32) {
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args([
            "bench",
            "--url",
            &format!("http://{}", server.address),
            "--pipeline",
            "digit",
        ])
        .args(["--requests", &requests.to_string(), "--concurrency", "4"])
        // No requests beyond those that are counted.
        .args(["--warmup", "0s"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_resident_set_after_10_000_requests_is_that_after_1_000() {
    let server = Server::start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("blocks.toml"));
    load(&server, 1_000);
    let early = server.resident_kib();
    load(&server, 9_000);
    let late = server.resident_kib();
    assert!(
        late as f64 <= early as f64 * 1.02,
        "{early} KiB after 1,000 requests, {late} KiB after 10,000"
    );
}
