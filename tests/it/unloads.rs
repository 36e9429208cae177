//! Unloading pipelines and loading them again: what is unloaded is refused and freed, and comes back whole.

use std::process::Command;
use std::time::Duration;

use blockflow::app::Overrides;
use blockflow::types::{Dim, FlowSpec, ShapeSpec};
use serde_json::{Value, json};

use crate::history::Site;
use crate::reloads::steps;
use crate::support::files::apart;
use crate::support::server::Server;
use crate::support::{chain, graph, mock, spec, until};

fn post(server: &Server, pipeline: &str, what: &str) -> u16 {
    server
        .post(&format!("/v2/repository/models/{pipeline}/{what}"), "")
        .status
}

fn index(server: &Server) -> Vec<(String, String, String)> {
    let index: Value =
        serde_json::from_str(&server.post("/v2/repository/index", "").text()).unwrap();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let entries = index.as_array().unwrap().iter();
    entries
        .map(|entry| {
            (
                text(entry, "name"),
                text(entry, "state"),
                text(entry, "reason"),
            )
        })
        .collect()
}

fn entry(name: &str, state: &str, reason: &str) -> (String, String, String) {
    (name.into(), state.into(), reason.into())
}

#[test]
fn what_is_unloaded_is_refused_and_freed_until_it_is_loaded() {
    let site = Site::new(3);
    site.chain.write(3, "[pipelines.q]\nflow = [\"b0\"]\n");
    let server = site.start();
    assert_eq!(post(&server, "none", "unload"), 404);
    assert_eq!(post(&server, "p", "unload"), 200);
    assert_eq!(steps(&server, 1), Err(404));
    let told = server.get("/v2/models/p/ready");
    assert_eq!(told.status, 404);
    assert!(told.text().contains("was unloaded"), "{}", told.text());
    assert_eq!(
        index(&server),
        [
            entry("q", "READY", ""),
            entry("p", "UNAVAILABLE", "unloaded")
        ]
    );
    let ready: Value = serde_json::from_str(
        &server
            .post("/v2/repository/index", "{\"ready\": true}")
            .text(),
    )
    .unwrap();
    assert_eq!(ready.as_array().unwrap().len(), 1);
    assert_eq!(server.get("/v2/health/ready").status, 200);
    assert_eq!(server.get("/v2/models/q/ready").status, 200);
    until("blocks that only it used are gone", || {
        let page = server.get("/metrics").text();
        page.contains("block=\"b0\"") && !page.contains("block=\"b1\"")
    });
    assert_eq!(post(&server, "p", "unload"), 200, "it is unloaded already");
    // It stays so whatever else changes.
    site.chain
        .write(2, "[pipelines.q]\nflow = [\"b0\", \"b1\"]\n");
    assert_eq!(post(&server, "q", "load"), 200);
    assert_eq!((steps(&server, 1), server.epoch()), (Err(404), 3));
    assert_eq!(post(&server, "p", "load"), 200);
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 4));
    assert_eq!(index(&server).len(), 2);
    let (epochs, _) = site.epochs();
    let triggers: Vec<_> = epochs.iter().map(|(_, trigger)| trigger.as_str()).collect();
    assert_eq!(triggers, ["start", "unload", "load", "load"]);
}

#[test]
fn blocks_that_another_pipeline_uses_under_any_name_stay() {
    let shape = ShapeSpec(vec![Dim::Fixed(1)]);
    let blocks = ["a", "b", "c", "d", "idle"].map(|name| mock(name, 1, shape.clone()));
    let deadline = Duration::from_secs(1);
    let mut graph = graph(
        "g",
        &["x -> first.in0", "first.out -> b.in0", "b.out -> y"],
        deadline,
    );
    if let FlowSpec::Graph(flow) = &mut graph.flow {
        flow.steps = vec![("first".into(), "a".into())];
    }
    let pipelines = vec![
        graph,
        chain("p", &["a", "c"], deadline),
        chain("q", &["d"], deadline),
    ];
    let whole = spec(blocks.into(), pipelines);
    for (unloaded, left) in [
        (&[][..], &["a", "b", "c", "d", "idle"][..]),
        (&["nobody"], &["a", "b", "c", "d", "idle"]),
        (&["g"], &["a", "c", "d", "idle"]),
        (&["p"], &["a", "b", "d", "idle"]),
        (&["g", "p"], &["d", "idle"]),
        (&["g", "p", "q"], &["idle"]),
    ] {
        let overrides = Overrides {
            unloaded: unloaded.iter().map(|name| (*name).to_owned()).collect(),
            ..Overrides::default()
        };
        let mut spec = whole.clone();
        assert_eq!(overrides.apply(&mut spec), []);
        let names: Vec<_> = spec
            .blocks
            .iter()
            .map(|block| block.name.as_str())
            .collect();
        assert_eq!(names, left, "{unloaded:?}");
    }
}

#[test]
fn the_last_pipeline_can_be_unloaded_too() {
    let site = Site::new(2);
    let server = site.start();
    assert_eq!(post(&server, "p", "unload"), 200);
    assert_eq!(index(&server), [entry("p", "UNAVAILABLE", "unloaded")]);
    assert_eq!(
        (steps(&server, 1), post(&server, "none", "unload")),
        (Err(404), 404)
    );
    assert_eq!(server.get("/v2/health/live").status, 200);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(post(&server, "p", "load"), 200);
    assert_eq!(steps(&server, 1), Ok(2));
    // A start forgets what was unloaded.
    assert_eq!(post(&server, "p", "unload"), 200);
    let epoch = server.epoch();
    server.stop();
    let server = site.start();
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), epoch));
}

#[test]
fn one_that_cannot_be_loaded_stays_unloaded() {
    let site = Site::new(1);
    let server = site.start();
    assert_eq!(post(&server, "p", "unload"), 200);
    std::fs::write(site.chain.path(), "[blocks").unwrap();
    assert_eq!(post(&server, "p", "load"), 400);
    assert_eq!(index(&server), [entry("p", "UNAVAILABLE", "unloaded")]);
    site.chain.write(2, "");
    assert_eq!(post(&server, "p", "load"), 200);
    assert_eq!(steps(&server, 1), Ok(2));
}

#[test]
fn a_pipeline_that_uses_a_process_takes_it_along() {
    let site = Site::new(1);
    let text = crate::reloads::text(2, "[pipelines.q]\nflow = [\"b1\"]\n");
    std::fs::write(site.chain.path(), apart(&text)).unwrap();
    let server = site.start();
    assert_eq!(crate::processes::workers(server.id()).len(), 1);
    assert_eq!(post(&server, "p", "unload"), 200);
    until("the process is gone", || {
        crate::processes::workers(server.id()).is_empty()
    });
    assert_eq!(post(&server, "p", "load"), 200);
    assert_eq!(steps(&server, 1), Ok(2));
}

#[test]
fn tritonclient_loads_and_unloads() {
    let site = Site::new(2);
    site.chain.write(2, "[pipelines.q]\nflow = [\"b0\"]\n");
    let server = site.start();
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(checkout.join(".venv-test/bin/python"))
        .arg(checkout.join("tests/client/triton_repository.py"))
        .arg(server.address.to_string())
        .args(["p", "q"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.lines().filter(|line| line.starts_with("ok ")).count(),
        6,
        "{said}"
    );
    let state = json!(server.get("/v2/models/p/ready").status);
    assert_eq!(state, 200);
}
