//! What an operator does with a running server: each command is applied, does nothing, or is refused with its reasons, and what
//! it sets lasts as long as it should.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cli::{blockflow, stderr, stdout};
use crate::history::Site;
use crate::reloads::{Chain, steps, text};
use crate::reloads_files::{answer, versions};
use crate::support::server::Server;
use crate::support::until;

/// A site whose only block runs a model of its own.
struct Model {
    site: Site,
    versions: [Vec<u8>; 2],
}

impl Model {
    fn new() -> Self {
        let (site, versions) = (Site::new(1), versions("mlp.onnx"));
        let config = "[blocks.b]\nmodel = \"model.onnx\"\n[pipelines.p]\nflow = [\"b\"]\n";
        fs::write(site.chain.path(), config).unwrap();
        let model = Self { site, versions };
        model.rename(0);
        model
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.chain.path().with_file_name(name)
    }

    /// Puts a version in the place of the model, as it should be done.
    fn rename(&self, version: usize) {
        fs::write(self.file("next"), &self.versions[version]).unwrap();
        fs::rename(self.file("next"), self.file("model.onnx")).unwrap();
    }
}

fn outcome(asked: &(i32, Value)) -> (i32, &str) {
    (asked.0, asked.1["outcome"].as_str().unwrap_or_default())
}

#[test]
fn a_reload_says_what_became_of_it() {
    let site = Site::new(1);
    let server = site.start();
    let asked = site.asked(&["reload"]);
    assert_eq!(asked.1, json!({"outcome": "unchanged", "epoch": 1}));
    site.chain.write(2, "");
    let asked = site.asked(&["reload"]);
    assert_eq!(outcome(&asked), (0, "applied"), "{}", asked.1);
    assert_eq!((&asked.1["epoch"], steps(&server, 1)), (&json!(2), Ok(2)));
    site.chain.write(3, "[server]\nworkers = 3\n");
    let asked = site.asked(&["reload"]);
    assert_eq!(outcome(&asked), (1, "rejected"), "{}", asked.1);
    assert!(
        asked.1["reasons"][0]
            .as_str()
            .unwrap()
            .contains("server.workers"),
        "{}",
        asked.1
    );
    fs::write(site.chain.path(), "[blocks").unwrap();
    let output = site.command(&["reload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output).contains("blocks.toml:1"),
        "{}",
        stdout(&output)
    );
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 2));
}

#[test]
fn a_command_for_a_server_that_is_not_there_says_so() {
    let site = Site::new(1);
    let commands: [&[&str]; 4] = [
        &["reload"],
        &["history"],
        &["rollback"],
        &["swap", "b0", "m.onnx"],
    ];
    for command in commands.into_iter().chain([&["plan"][..]]) {
        let output = site.command(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(
            stderr(&output).contains("no server runs"),
            "{}",
            stderr(&output)
        );
    }
    let mut server = site.start();
    site.until_recorded(1);
    server.signal("KILL");
    server.wait();
    for command in commands {
        let output = site.command(command);
        let expected = if command == ["history"] { 0 } else { 1 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{command:?}: {}",
            stderr(&output)
        );
    }
    // What a killed server left does not stop the next.
    let server = site.start();
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
    server.stop();
    assert!(!site.state().join("control.sock").exists());
}

#[test]
fn commands_without_flags_find_the_server_of_their_configuration() {
    let states = tempfile::tempdir().unwrap();
    let chain = Chain::new(1);
    let program = || {
        let mut program = std::process::Command::new(crate::support::server::BINARY);
        program.env(crate::support::server::STATES, states.path());
        program
    };
    let _server = Server::try_start(program(), &chain.path(), &["--no-watch"]).unwrap();
    let path = chain.path();
    let run = |words: &[&str]| {
        let mut command = program();
        command
            .current_dir(path.parent().unwrap())
            .args(words)
            .output()
            .unwrap()
    };
    let output = run(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&["reload", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let output = run(&["reload", "--config", "other.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let states = fs::read_dir(states.path().join("blockflow")).unwrap();
    let names: Vec<_> = states.flatten().map(|entry| entry.file_name()).collect();
    assert!(
        names.len() == 1 && names[0].to_str().unwrap().starts_with("blocks-"),
        "{names:?}"
    );
}

#[test]
fn a_plan_says_what_a_reload_would_do_and_does_nothing() {
    let model = Model::new();
    let site = &model.site;
    let server = site.start();
    let (code, plan) = site.asked(&["plan"]);
    assert_eq!((code, &plan["kept"]), (0, &json!(["b"])));
    let now = plan["weights"][0]["before"].as_u64().unwrap();
    assert!(now > 0);
    let text = stdout(&site.command(&["plan"]));
    assert!(text.contains("a reload would do nothing"), "{text}");
    model.rename(1);
    let config = fs::read_to_string(site.chain.path()).unwrap();
    let more =
        format!("{config}deadline_ms = 7777\n[blocks.c]\nmodel = \"model.onnx\"\nthreads = 2\n");
    fs::write(site.chain.path(), more).unwrap();
    let check = |served: bool| {
        let (code, plan) = site.asked(&["plan"]);
        assert_eq!(code, 0, "{plan}");
        assert_eq!(plan["kept"], json!([]));
        let change = |index: usize| {
            let block = &plan["blocks"][index];
            (block["name"].clone(), block["change"].clone())
        };
        assert_eq!(change(0), (json!("b"), json!("rebuilt")));
        assert_eq!(change(1), (json!("c"), json!("added")));
        assert_eq!(plan["pipelines"][0]["change"], "retuned");
        let weights = &plan["weights"][0];
        let bytes = |key: &str| weights[key].as_u64().unwrap();
        // One bit of one weight is another: that weight is there twice for a while, and both blocks share all.
        assert_eq!((bytes("before"), bytes("after")), (now, now));
        assert!(bytes("peak") > now && bytes("peak") < 2 * now, "{weights}");
        let text = stdout(&site.command(&["plan"]));
        assert_eq!(text.contains("no server runs"), !served, "{text}");
        assert!(text.contains("block     b  rebuilt  model: "), "{text}");
    };
    check(true);
    assert_eq!(server.epoch(), 1);
    fs::write(
        site.chain.path(),
        format!("{config}[server]\nworkers = 3\n"),
    )
    .unwrap();
    let (code, plan) = site.asked(&["plan"]);
    assert_eq!(code, 3, "{plan}");
    assert!(
        plan["refused"][0]
            .as_str()
            .unwrap()
            .contains("server.workers"),
        "{plan}"
    );
    fs::write(site.chain.path(), "[blocks").unwrap();
    let (code, plan) = site.asked(&["plan"]);
    assert_eq!((code, server.epoch()), (3, 1), "{plan}");
    assert_eq!(
        server.metric("blockflow_reloads_total{outcome=\"rejected\"}"),
        0
    );
    server.stop();
    fs::write(
        site.chain.path(),
        format!("{config}deadline_ms = 7777\n[blocks.c]\nmodel = \"model.onnx\"\nthreads = 2\n"),
    )
    .unwrap();
    check(false);
}

#[test]
fn a_rollback_serves_an_epoch_of_before_until_the_files_change() {
    let site = Site::new(1);
    let server = site.start();
    for length in [2, 3] {
        site.chain.write(length, "");
        assert_eq!(outcome(&site.asked(&["reload"])), (0, "applied"));
    }
    let asked = site.asked(&["rollback"]);
    assert_eq!(outcome(&asked), (0, "applied"), "{}", asked.1);
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 4));
    let asked = site.asked(&["rollback", "1"]);
    assert_eq!(outcome(&asked), (0, "applied"), "{}", asked.1);
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(1), 5));
    // The files say what they said: it holds, also when the server starts again.
    server.signal("HUP");
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
    assert_eq!(server.load("p").status, 200);
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(1), 5));
    server.stop();
    let server = site.start();
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(1), 5));
    assert_eq!(server.metric("blockflow_previous_epoch_served"), 0);
    let asked = site.asked(&["rollback", "77"]);
    assert_eq!(outcome(&asked), (1, "rejected"), "{}", asked.1);
    assert!(
        asked.1["reasons"][0].as_str().unwrap().contains("1"),
        "{}",
        asked.1
    );
    // A comment is no change; another pipeline is.
    site.chain.write(3, "# a comment\n");
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
    site.chain.write(3, "[pipelines.q]\nflow = [\"b0\"]\n");
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "applied"));
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(3), 6));
    let (epochs, current) = site.epochs();
    let triggers: Vec<_> = epochs.iter().map(|(_, trigger)| trigger.as_str()).collect();
    assert_eq!(
        (triggers, current),
        (
            vec![
                "start", "request", "request", "rollback", "rollback", "request"
            ],
            Some(6)
        )
    );
    let shown = stdout(&site.command(&["history"]));
    assert!(
        shown.contains("rolled back to epoch 1") && shown.contains("* 6"),
        "{shown}"
    );
}

#[test]
fn a_model_that_was_replaced_is_found_for_a_rollback_and_one_that_was_overwritten_is_not() {
    let model = Model::new();
    let site = &model.site;
    let server = site.start();
    site.until_recorded(1);
    let first = answer(&server);
    model.rename(1);
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "applied"));
    let second = answer(&server);
    assert_ne!(first, second);
    let asked = site.asked(&["rollback"]);
    assert_eq!(outcome(&asked), (0, "applied"), "{}", asked.1);
    assert_eq!(answer(&server), first);
    server.stop();
    let server = site.start();
    assert_eq!((answer(&server), server.epoch()), (first.clone(), 3));
    // Written over, the model takes its link along.
    fs::write(model.file("model.onnx"), &model.versions[0]).unwrap();
    let asked = site.asked(&["rollback", "2"]);
    assert_eq!(outcome(&asked), (1, "rejected"), "{}", asked.1);
    let reason = asked.1["reasons"][0].as_str().unwrap();
    assert!(
        reason.contains("model.onnx was rewritten in place"),
        "{reason}"
    );
    assert_eq!(answer(&server), first);
    // Without its link it is nowhere.
    let models = site.state().join("models");
    for kept in fs::read_dir(&models).unwrap().flatten() {
        fs::remove_dir_all(kept.path()).unwrap();
    }
    let asked = site.asked(&["rollback", "2"]);
    assert!(
        asked.1["reasons"][0]
            .as_str()
            .unwrap()
            .contains("model.onnx"),
        "{}",
        asked.1
    );
    assert_eq!(outcome(&asked), (1, "rejected"));
}

#[test]
fn a_swap_lasts_until_the_configuration_changes_and_a_pin_until_it_is_taken_back() {
    let model = Model::new();
    let site = &model.site;
    fs::write(model.file("other.onnx"), &model.versions[1]).unwrap();
    let other = model.file("other.onnx").display().to_string();
    let server = site.start();
    let first = answer(&server);
    let swap = |rest: &[&str]| site.asked(&[&["swap", "b"], rest].concat());
    assert_eq!(outcome(&swap(&[&other])), (0, "applied"));
    let second = answer(&server);
    assert_ne!(second, first);
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
    assert_eq!(answer(&server), second);
    let config = fs::read_to_string(site.chain.path()).unwrap();
    let deadline =
        |ms: usize| fs::write(site.chain.path(), format!("{config}deadline_ms = {ms}\n"));
    deadline(5001).unwrap();
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "applied"));
    assert_eq!(answer(&server), first);
    assert_eq!(outcome(&swap(&[&other, "--pin"])), (0, "applied"));
    deadline(5002).unwrap();
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "applied"));
    assert_eq!(answer(&server), second);
    let (_, plan) = site.asked(&["plan"]);
    assert_eq!(plan["overrides"]["swaps"]["b"]["pinned"], true, "{plan}");
    let shown = stdout(&site.command(&["history"]));
    assert!(shown.contains("other.onnx, pinned"), "{shown}");
    server.stop();
    let server = site.start();
    assert_eq!(answer(&server), second);
    assert_eq!(outcome(&swap(&["--unpin"])), (0, "applied"));
    assert_eq!(answer(&server), first);
    assert_eq!(outcome(&swap(&["--unpin"])), (1, "rejected"));
    // A swap that is pinned afterwards changes nothing that is served, and is kept all the same.
    assert_eq!(outcome(&swap(&[&other])), (0, "applied"));
    assert_eq!(outcome(&swap(&[&other, "--pin"])), (0, "unchanged"));
    // A rollback takes swaps back too.
    let asked = site.asked(&["rollback"]);
    assert_eq!(
        (outcome(&asked), answer(&server)),
        ((0, "applied"), first),
        "{}",
        asked.1
    );
    server.stop();
    assert_eq!(site.start().get("/v2/models/p/ready").status, 200);
}

#[test]
fn a_swap_that_cannot_be_is_refused_and_forgotten() {
    let model = Model::new();
    let site = &model.site;
    let config = fs::read_to_string(site.chain.path()).unwrap();
    fs::write(
        site.chain.path(),
        config + &text(1, "").replace("pipelines.p", "pipelines.q"),
    )
    .unwrap();
    let server = site.start();
    let first = answer(&server);
    fs::write(model.file("broken.onnx"), &model.versions[0][..100]).unwrap();
    let file = |name: &str| model.file(name).display().to_string();
    for (block, file, reason) in [
        ("a", file("model.onnx"), "there is no block \"a\""),
        ("b", file("missing.onnx"), "missing.onnx"),
        ("b", file("broken.onnx"), "broken.onnx"),
        ("b", file("code.pt"), "TorchScript"),
        ("b0", file("model.onnx"), "the block has no model"),
    ] {
        for pin in [&[][..], &["--pin"]] {
            let asked = site.asked(&[&["swap", block, &file], pin].concat());
            assert_eq!(
                outcome(&asked),
                (1, "rejected"),
                "{block} {file}: {}",
                asked.1
            );
            let told = asked.1["reasons"].to_string().replace("\\\"", "\"");
            assert!(told.contains(reason), "{reason} not in {told}");
        }
    }
    assert_eq!((answer(&server), server.epoch()), (first, 1));
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
    for wrong in [
        &["swap", "b"][..],
        &["swap", "b", "x.onnx", "--unpin"],
        &["swap", "b", "--unpin", "--pin"],
        &["rollback", "no"],
    ] {
        assert_eq!(blockflow(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn nothing_that_is_sent_to_the_socket_harms_the_server() {
    let site = Site::new(1);
    let server = site.start();
    let socket = site.state().join("control.sock");
    until("it takes commands", || socket.exists());
    assert_eq!(
        fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let send = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It may have heard enough before the end.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let post = |path: &str, body: &str| {
        let length = body.len();
        send(
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
    };
    let long = format!("{{\"block\": \"{}\"}}", "b".repeat(1 << 20));
    for (path, body) in [
        ("/v1/swap", "{"),
        ("/v1/swap", "{}"),
        (
            "/v1/swap",
            "{\"block\": \"b\", \"file\": \"relative\", \"pinned\": false}",
        ),
        ("/v1/rollback", "{\"epoch\": -1}"),
        ("/v1/rollback", "{\"epoch\": 1, \"more\": 2}"),
        ("/v1/unpin", &long),
        ("/v1/none", ""),
    ] {
        let answer = post(path, body);
        assert!(
            answer.starts_with("HTTP/1.1 400"),
            "{path} {body:.80}: {answer}"
        );
        assert!(answer.contains("\"outcome\":\"rejected\""), "{answer}");
    }
    assert!(send(b"\x00\xff\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(1), 1));
    assert_eq!(outcome(&site.asked(&["reload"])), (0, "unchanged"));
}

#[test]
fn a_state_directory_with_a_long_path_takes_commands() {
    let deep = tempfile::tempdir().unwrap();
    let state = deep.path().join("d".repeat(120)).join("e".repeat(120));
    let chain = Chain::new(1);
    let state = state.display().to_string();
    let server = Server::start_with(&chain.path(), &["--state", &state, "--no-watch"]);
    chain.write(2, "");
    let path = chain.path().display().to_string();
    let output = blockflow(&["reload", "--config", &path, "--state", &state]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(steps(&server, 1), Ok(2));
}
