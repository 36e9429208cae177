//! Files that change while they are served: however they are replaced, what is complete is served and what is not is waited
//! for.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use blockflow::graph::Graph;

use crate::reloads::{Chain, steps, text};
use crate::support::server::Server;
use crate::support::until;

fn tiny(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny");
    data.join(name)
}

/// Returns the bytes of a model, and of one that was trained further.
pub(crate) fn versions(name: &str) -> [Vec<u8>; 2] {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.onnx");
    let hashes = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Some(Graph::read(&path).ok()?.hashes(&mut |_| ()))
    };
    let first = fs::read(tiny(name)).unwrap();
    let known = hashes(&first).unwrap();
    let other = (0..first.len()).rev().find_map(|place| {
        let mut bytes = first.clone();
        // A bit of a mantissa, if there is an element.
        bytes[place] ^= 0x20;
        let hashes = hashes(&bytes)?;
        let trained = hashes.structure == known.structure && hashes.weights != known.weights;
        trained.then_some(bytes)
    });
    [first, other.expect("an element that can be changed")]
}

/// Asks the pipeline for what it makes of ones.
pub(crate) fn answer(server: &Server) -> Vec<u8> {
    let metadata: serde_json::Value =
        serde_json::from_str(&server.get("/v2/models/p").text()).unwrap();
    let input = &metadata["inputs"][0];
    let shape: Vec<usize> = input["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|size| usize::try_from(size.as_i64().unwrap()).unwrap_or(1))
        .collect();
    let ones = 1_f32.to_le_bytes().repeat(shape.iter().product());
    let response = server.infer("p", input["name"].as_str().unwrap(), "FP32", &shape, &ones);
    assert_eq!(response.status, 200, "{}", response.text());
    response.binary().to_vec()
}

#[test]
fn a_configuration_that_is_replaced_is_served() {
    let chain = Chain::new(1);
    let server = Server::start(&chain.path());
    assert_eq!(steps(&server, 1), Ok(1));
    // As editors do it.
    let next = chain.path().with_extension("swp");
    fs::write(&next, text(2, "")).unwrap();
    fs::rename(&next, chain.path()).unwrap();
    until("the renamed file is served", || steps(&server, 1) == Ok(2));
    // Written in pieces, the first of which means something by itself.
    let whole = text(3, "");
    let (head, tail) = whole.split_at(whole.len() / 2);
    let mut file = fs::File::create(chain.path()).unwrap();
    file.write_all(head.as_bytes()).unwrap();
    thread::sleep(Duration::from_millis(50));
    file.write_all(tail.as_bytes()).unwrap();
    drop(file);
    until("the whole file is served", || steps(&server, 1) == Ok(3));
    assert_eq!(server.epoch(), 3);
}

#[test]
fn a_file_that_goes_away_or_makes_no_sense_is_waited_for() {
    let chain = Chain::new(1);
    let server = Server::start(&chain.path());
    let rejected = |count: usize| {
        let line = format!("blockflow_reloads_total{{outcome=\"rejected\"}} {count}\n");
        until("it is rejected", || {
            server.get("/metrics").text().contains(&line)
        });
        assert_eq!(steps(&server, 1), Ok(1));
    };
    fs::remove_file(chain.path()).unwrap();
    rejected(1);
    fs::write(chain.path(), "[blocks.b0").unwrap();
    rejected(2);
    chain.write(2, "");
    until("the right file is served", || steps(&server, 1) == Ok(2));
}

#[test]
fn a_link_that_is_flipped_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    // As configurations are mounted: file → current folder → folder of a version.
    for (version, length) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(path(version)).unwrap();
        fs::write(path(version).join("blocks.toml"), text(length, "")).unwrap();
    }
    symlink("v1", path("current")).unwrap();
    symlink("current/blocks.toml", path("blocks.toml")).unwrap();
    let server = Server::start(&path("blocks.toml"));
    assert_eq!(steps(&server, 1), Ok(1));
    symlink("v2", path("next")).unwrap();
    fs::rename(path("next"), path("current")).unwrap();
    until("the other version is served", || steps(&server, 1) == Ok(2));
}

#[test]
fn a_model_that_is_replaced_is_served_and_one_that_is_touched_is_not_loaded_again() {
    let [first, second] = versions("mlp.onnx");
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("model.onnx"), &first).unwrap();
    fs::write(
        path("blocks.toml"),
        "[blocks.b]\nmodel = \"model.onnx\"\n[pipelines.p]\nflow = [\"b\"]\n",
    )
    .unwrap();
    let server = Server::start(&path("blocks.toml"));
    let before = answer(&server);
    fs::write(path("next"), &first).unwrap();
    fs::rename(path("next"), path("model.onnx")).unwrap();
    // Looked at, and found to be the same: the request for a reload comes after that of the watch.
    thread::sleep(Duration::from_millis(1500));
    assert_eq!(server.load("p").status, 200);
    assert_eq!((answer(&server) == before, server.epoch()), (true, 1));
    fs::write(path("next"), &second).unwrap();
    fs::rename(path("next"), path("model.onnx")).unwrap();
    until("the other model is served", || server.epoch() == 2);
    let after = answer(&server);
    assert_ne!(after, before);
    // A broken copy is not served; the right one is, as soon as it is whole.
    fs::write(path("model.onnx"), &first[..first.len() / 2]).unwrap();
    until("it is rejected", || {
        let page = server.get("/metrics").text();
        page.contains("blockflow_reloads_total{outcome=\"rejected\"} 1\n")
    });
    assert_eq!(answer(&server), after);
    fs::write(path("model.onnx"), &first).unwrap();
    until("the first model is served again", || server.epoch() == 3);
    assert_eq!(answer(&server), before);
}
