//! Blocks in processes of their own: the same bytes, and nobody's request lost when a process is killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use blockflow::app::Orders;

use crate::cli::{blockflow, stderr};
use crate::support::files::mock_text;
use crate::support::server::{Server, signal};
use crate::support::{from_environment, spec, until};

/// Requests of the run under fire, at least. `SOAK_REQUESTS=100000` makes it the long one.
const REQUESTS: usize = 2_000;
/// Kills of that run, at least.
const KILLS: usize = 8;
const CLIENTS: usize = 4;

/// A chain of four blocks, each of which adds one to every byte; the first has a process, the last two have one together.
fn config(directory: &Path, rest: &str) -> PathBuf {
    let path = directory.join("blocks.toml");
    let restart = "restart = { budget = 1000, backoff_min_ms = 1, backoff_max_ms = 50 }";
    let isolated = format!("isolation = \"process\"\n{restart}");
    let tail = format!("process = \"tail\"\n{restart}");
    let text = format!(
        "{}{}{}{}[pipelines.p]\nflow = [\"first\", \"middle\", \"last\", \"very_last\"]\ndeadline_ms = 20000\n{rest}\n",
        mock_text("first", ["x", "a"], "", &isolated),
        mock_text("middle", ["a", "b"], "", ""),
        mock_text("last", ["b", "c"], "", &tail),
        mock_text("very_last", ["c", "y"], "", &tail),
    );
    fs::write(&path, text).unwrap();
    path
}

fn serving(rest: &str) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&config(directory.path(), rest));
    (directory, server)
}

/// Asks once; returns the status and, of a result, whether it is right.
fn ask(server: &Server, value: u8) -> (u16, bool) {
    let response = server.infer("p", "x", "UINT8", &[1, 4], &[value, 0, 0, 7]);
    let right = response.status != 200 || response.binary() == [value.wrapping_add(4), 4, 4, 11];
    (response.status, right)
}

/// Returns the worker processes that `parent` started, by id.
pub(crate) fn workers(parent: u32) -> Vec<u32> {
    let children = format!("/proc/{parent}/task");
    let tasks = fs::read_dir(children).map(|tasks| tasks.flatten().collect());
    let tasks: Vec<fs::DirEntry> = tasks.unwrap_or_default();
    let children = tasks
        .iter()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let ids: String = children.collect();
    ids.split_whitespace()
        .map(|id| id.parse().unwrap())
        .collect()
}

fn alive(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    status.contains("\nState:") && !status.contains("\nState:\tZ")
}

/// Returns the folder of the sockets that a process listens on.
pub(crate) fn socket_folder(id: u32) -> PathBuf {
    let files = fs::read_dir(format!("/proc/{id}/fd")).unwrap().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let own: Vec<String> = links
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let sockets = fs::read_to_string(format!("/proc/{id}/net/unix")).unwrap();
    let path = sockets.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(6);
        let inode = columns.next()?;
        let path = columns.next()?;
        own.iter()
            .any(|own| own == inode)
            .then(|| PathBuf::from(path))
    });
    let path = path.expect("a worker listens on sockets with names");
    path.parent().unwrap().to_owned()
}

#[test]
fn blocks_of_three_processes_answer_as_of_one() {
    let (_directory, server) = serving("");
    assert_eq!(workers(server.id()).len(), 2);
    for value in 0..20 {
        assert_eq!(ask(&server, value), (200, true));
    }
    let expected = [
        "blockflow_block_runs_total{block=\"first\"} 20",
        "blockflow_block_runs_total{block=\"last\"} 20",
        "blockflow_block_bytes_sent_total{block=\"first\"} 80",
        "blockflow_block_bytes_sent_total{block=\"middle\"} 80",
        "blockflow_process_up{process=\"tail\"} 1",
    ];
    until("the counts of the workers arrive", || {
        let page = server.get("/metrics").text();
        expected
            .iter()
            .all(|line| page.lines().any(|one| one == *line))
    });
    let page = server.get("/metrics").text();
    let edge = "{pipeline=\"p\",from=\"first.a\",to=\"middle.a\",carrier=\"ipc\"";
    assert!(page.contains(edge), "{page}");
}

#[test]
fn within_a_process_no_payload_byte_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replace("isolation = \"process\"\n", "");
    fs::write(&path, text.replace("process = \"tail\"\n", "")).unwrap();
    let server = Server::start(&path);
    for value in 0..20 {
        assert_eq!(ask(&server, value), (200, true));
    }
    let page = server.get("/metrics").text();
    for block in ["first", "middle", "last"] {
        let count = |name: &str, count: usize| {
            let line = format!("blockflow_block_{name}_total{{block=\"{block}\"}} {count}\n");
            assert!(page.contains(&line), "{page}");
        };
        count("runs", 20);
        count("bytes_sent", 0);
        count("bytes_copied", 0);
    }
}

#[test]
fn no_request_is_lost_doubled_or_wrong_while_processes_are_killed() {
    let requests = from_environment("SOAK_REQUESTS").unwrap_or(REQUESTS);
    let seed = fastrand::u64(..);
    println!("seed {seed}, {requests} requests");
    let mut random = fastrand::Rng::with_seed(seed);
    let (_directory, server) = serving("");
    let (next, kills, done) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicBool::new(false),
    );
    let outcomes: BTreeMap<u16, usize> = thread::scope(|scope| {
        let client = || {
            let mut outcomes = BTreeMap::<u16, usize>::new();
            loop {
                let request = next.fetch_add(1, Ordering::Relaxed);
                if request >= requests && kills.load(Ordering::Relaxed) >= KILLS {
                    return outcomes;
                }
                let (status, right) = ask(&server, request as u8);
                assert!(right, "request {request} has another request's answer");
                *outcomes.entry(status).or_default() += 1;
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        let killer = {
            let (server, done, random, kills) = (&server, &done, &mut random, &kills);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    // However slow the machine is, there is something to be lost again.
                    if ask(server, 0) != (200, true) {
                        continue;
                    }
                    thread::sleep(Duration::from_millis(random.u64(200..1000)));
                    let workers = workers(server.id());
                    if !workers.is_empty() {
                        signal(workers[random.usize(..workers.len())], "KILL");
                        kills.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let mut all = BTreeMap::<u16, usize>::new();
        for client in clients {
            for (status, count) in client.join().unwrap() {
                *all.entry(status).or_default() += count;
            }
        }
        done.store(true, Ordering::Relaxed);
        killer.join().unwrap();
        all
    });
    let asked: usize = outcomes.values().sum();
    println!("{kills:?} kills, {asked} requests, outcomes by status {outcomes:?}");
    assert!(asked >= requests);
    // A request that lost its process twice is refused, with the reason.
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    assert!(outcomes[&200] * 10 >= asked * 9, "{outcomes:?}");
    until("the server answers as before", || {
        ask(&server, 1) == (200, true)
    });
}

#[test]
fn a_signal_to_all_processes_is_the_parents_business() {
    let (_directory, server) = serving("");
    let before = workers(server.id());
    for worker in &before {
        for name in ["HUP", "INT", "TERM"] {
            assert!(signal(*worker, name));
        }
    }
    for value in 0..20 {
        assert_eq!(ask(&server, value), (200, true));
    }
    assert_eq!(workers(server.id()), before);
}

#[test]
fn a_worker_that_is_started_again_knows_the_keys_of_now() {
    let spec = serde_json::to_value(spec(Vec::new(), Vec::new())).unwrap();
    let orders = serde_json::json!({
        "spec": spec, "epoch": 1, "contents": [], "host": "a", "process": "p", "directory": "/nowhere", "key_file": null
    });
    let hosts =
        serde_json::json!([{"name": "a", "address": "127.0.0.1", "port": 5600, "keys": []}]);
    let read = |text: String| Orders::read(text.as_bytes());
    assert!(read(format!("{orders}\n")).unwrap().spec.hosts.is_empty());
    let told = read(format!("{hosts}\n{orders}\n")).unwrap();
    assert_eq!(told.spec.hosts[0].name, "a");
    for wrong in [
        "",
        "\n",
        "{}\n",
        &format!("{hosts}\n"),
        &format!("{hosts}\n{hosts}\n{orders}\n"),
    ] {
        assert!(read(wrong.to_owned()).is_err(), "{wrong}");
    }
}

#[test]
fn workers_end_with_their_parent_however_it_ends() {
    for name in ["KILL", "TERM", "INT"] {
        let (_directory, mut server) = serving("");
        assert_eq!(ask(&server, 1), (200, true));
        let workers = workers(server.id());
        assert_eq!(workers.len(), 2);
        let folder = socket_folder(workers[0]);
        server.signal(name);
        server.wait();
        until("the workers are gone", || {
            !workers.iter().any(|&worker| alive(worker))
        });
        until("the sockets are gone", || !folder.exists());
    }
}

#[test]
fn a_process_that_keeps_ending_is_given_up_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("budget = 1000", "budget = 0")).unwrap();
    let server = Server::start(&path);
    assert_eq!(ask(&server, 1), (200, true));
    assert!(signal(workers(server.id())[0], "KILL"));
    until("the pipeline is refused", || ask(&server, 1).0 == 503);
    let ready = server.get("/v2/models/p/ready");
    assert_eq!(ready.status, 503);
    let text = ready.text();
    assert!(
        text.contains("SIGKILL") && text.contains("given up"),
        "{text}"
    );
}

#[test]
fn a_process_that_cannot_start_is_told_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("broken.pt");
    fs::write(&model, b"PK\x03\x04 and nothing else").unwrap();
    let path = directory.path().join("blocks.toml");
    let tensor =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"FP32\", shape = [1] }}]");
    let text = format!(
        "[blocks.b]\nmodel = \"broken.pt\"\ninputs = {}\noutputs = {}\nisolation = \"process\"\n\
         [pipelines.p]\nflow = [\"b\"]\n",
        tensor("x"),
        tensor("y")
    );
    fs::write(&path, text).unwrap();
    let output = blockflow(&["run", path.to_str().unwrap(), "--http", "127.0.0.1:0"]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("process \"b\" ended"), "{told}");
    assert!(told.contains("broken.pt"), "{told}");
}
