//! `device = "auto"` around the real program: blocks are spread over what is declared, say why, and stay there over reloads.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::cli::{blockflow, quietly, stdout};
use crate::sim::{ask, held};
use crate::support::files::{Files, mock_text};
use crate::support::server::Server;
use crate::support::until;

/// Two chains of two blocks, `a0 a1` and `b0 b1`, each block with so many megabytes, on devices that are left open.
fn two_chains(weights: [u32; 4], devices: &str) -> String {
    let names = ["a0", "a1", "b0", "b1"];
    let ends = [["x", "u"], ["u", "y"], ["x", "v"], ["v", "y"]];
    let blocks = names.iter().zip(ends).zip(weights);
    let blocks = blocks.map(|((name, ends), weights)| {
        let more = format!("weights_mb = {weights}, latency_ms = 1");
        mock_text(name, ends, &more, "device = \"auto\"")
    });
    let pipelines = ["a", "b"].map(|name| {
        format!("[pipelines.{name}]\nflow = [\"{name}0\", \"{name}1\"]\ndeadline_ms = 20000\n")
    });
    let blocks: String = blocks.collect();
    format!("{blocks}{}{devices}\n", pipelines.concat())
}

fn sims(limits: &[u32]) -> String {
    let sections = limits.iter().enumerate();
    let sections = sections
        .map(|(ordinal, limit)| format!("[devices.\"sim:{ordinal}\"]\nmemory_mb = {limit}\n"));
    sections.collect()
}

/// Returns what is explained of each block: its device, and why.
fn explained(path: &Path) -> BTreeMap<String, (String, String)> {
    let path = path.display().to_string();
    let text = quietly(&["explain", "--format", "json", &path]);
    let plan: Value = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let blocks = plan["blocks"].as_array().unwrap().iter();
    blocks
        .map(|block| {
            let place = (text(&block["device"]), text(&block["device_reason"]));
            (text(&block["name"]), place)
        })
        .collect()
}

fn devices(path: &Path) -> Vec<String> {
    let blocks = explained(path).into_values();
    blocks.map(|(device, _)| device).collect()
}

fn weights(server: &Server, device: &str) -> i64 {
    held(server, device, "weights") / 1_000_000
}

#[test]
fn chains_go_to_devices_of_their_own_and_say_why() {
    let files = Files::new(&two_chains([10, 10, 10, 10], &sims(&[100, 100])));
    assert_eq!(devices(&files.path()), ["sim:0", "sim:0", "sim:1", "sim:1"]);
    let text = quietly(&["explain", &files.path().display().to_string()]);
    assert!(
        text.contains("devices chosen\n  a0  sim:0  together with"),
        "{text}"
    );
    let server = files.serve();
    assert_eq!(ask(&server, "a", "x"), Ok(2));
    assert_eq!(ask(&server, "b", "x"), Ok(2));
    assert_eq!(
        (weights(&server, "sim:0"), weights(&server, "sim:1")),
        (20, 20)
    );
    server.stop();
}

#[test]
fn a_chain_is_cut_only_where_no_device_has_room_for_it() {
    let files = Files::new(&two_chains([30, 30, 10, 10], &sims(&[45, 50])));
    let server = files.serve();
    for pipeline in ["a", "b"] {
        assert_eq!(ask(&server, pipeline, "x"), Ok(2));
    }
    let (first, second) = (weights(&server, "sim:0"), weights(&server, "sim:1"));
    assert_eq!(first + second, 80);
    assert!(first <= 45 && second <= 50, "{first} {second}");
    let blocks = explained(&files.path());
    assert!(blocks["a0"].1.contains("no device has room"), "{blocks:?}");
    server.stop();
}

#[test]
fn a_reload_leaves_blocks_where_they_are() {
    // The chain b alone would be placed on the first device.
    let sims = sims(&[100, 100]);
    let files = Files::new(&two_chains([20, 20, 10, 10], &sims));
    let server = files.serve();
    assert_eq!(
        (weights(&server, "sim:0"), weights(&server, "sim:1")),
        (40, 20)
    );
    let swapped = two_chains([10, 10, 30, 30], &sims);
    files.write(&swapped);
    assert_eq!(
        devices(&files.path()),
        ["sim:1", "sim:1", "sim:0", "sim:0"],
        "started anew they are the other way round"
    );
    let response = server.load("a");
    assert_eq!(response.status, 200, "{}", response.text());
    until("the old epoch is gone", || {
        (weights(&server, "sim:0"), weights(&server, "sim:1")) == (20, 60)
    });
    for pipeline in ["a", "b"] {
        assert_eq!(ask(&server, pipeline, "x"), Ok(2));
    }
    let log = server.stop();
    assert!(!log.contains("device: sim"), "a block has moved: {log}");
}

#[test]
fn a_block_that_does_not_fit_any_more_moves() {
    let sims = sims(&[30, 90]);
    let files = Files::new(&two_chains([10, 10, 1, 1], &sims));
    let server = files.serve();
    files.write(&two_chains([10, 35, 1, 1], &sims));
    let response = server.load("a");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(ask(&server, "a", "x"), Ok(2));
    until("the old epoch is gone", || weights(&server, "sim:1") >= 35);
    assert!(weights(&server, "sim:0") <= 30);
    server.stop();
}

#[test]
fn a_worker_has_its_blocks_on_the_device_that_was_chosen() {
    let text = two_chains([10, 10, 10, 10], &sims(&[100, 100]));
    let files =
        Files::new(&text.replace("device = \"auto\"", "device = \"auto\"\nprocess = \"w\""));
    let server = files.serve();
    for pipeline in ["a", "b"] {
        assert_eq!(ask(&server, pipeline, "x"), Ok(2));
    }
    server.stop();
}

#[test]
fn without_devices_to_choose_from_it_is_the_host() {
    let files = Files::new(&two_chains([1, 1, 1, 1], ""));
    for (device, reason) in explained(&files.path()).into_values() {
        // A machine with accelerators has mocks on the host all the same.
        assert_eq!(device, "cpu");
        assert!(!reason.is_empty());
    }
}

#[test]
fn what_fits_nowhere_is_refused_with_the_device_and_its_blocks() {
    let files = Files::new(&two_chains([60, 1, 1, 1], &sims(&[50, 40])));
    let told = files.refusal();
    assert!(told.contains("has room for 50000000 bytes"), "{told}");
    assert!(told.contains("\"a0\" 60"), "{told}");
}

#[test]
fn several_hosts_name_their_devices() {
    let hosts = ["here", "there"].map(|name| {
        let port = if name == "here" { 5600 } else { 5700 };
        format!("[hosts.{name}]\naddress = \"127.0.0.1\"\nport = {port}\n")
    });
    let files = Files::new(&two_chains([1, 1, 1, 1], &hosts.concat()));
    let output = blockflow(&["check", &files.path().display().to_string()]);
    assert_eq!(output.status.code(), Some(3));
    let text = stdout(&output);
    assert!(
        text.contains("blocks.a0.device: is \"auto\", which is chosen for one machine"),
        "{text}"
    );
}
