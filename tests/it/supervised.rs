//! Faults of every kind around the real binary, under load: each request has exactly one answer, and what does not need the block
//! that failed is served as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use blockflow::types::FaultKind;

use crate::processes::workers;
use crate::support::files::mock_text;
use crate::support::server::{BINARY, Server, signal};
use crate::support::{Finally, contains, from_environment, until};

/// Two pipelines of one block each that adds one to every byte: `sick`, whose block has `keys`, and `sound`.
fn config(directory: &Path, mock: &str, keys: &str) -> PathBuf {
    let text = format!(
        "{}{}[pipelines.sick]\nflow = [\"subject\"]\ndeadline_ms = 20000\n\
         [pipelines.sound]\nflow = [\"other\"]\ndeadline_ms = 20000\n",
        mock_text("subject", ["x", "y"], mock, keys),
        mock_text("other", ["x", "y"], "", "")
    );
    let path = directory.join("blocks.toml");
    fs::write(&path, text).unwrap();
    path
}

fn serving(mock: &str, keys: &str) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&config(directory.path(), mock, keys));
    (directory, server)
}

/// Asks once; returns the status and what was said with it, if the request has no result.
fn ask(server: &Server, pipeline: &str, value: u8) -> (u16, String) {
    let response = server.infer(pipeline, "x", "UINT8", &[1, 4], &[value, 0, 0, 7]);
    if response.status == 200 {
        let right = [value.wrapping_add(1), 1, 1, 8];
        assert_eq!(response.binary(), right, "another request's answer");
        return (200, String::new());
    }
    (response.status, response.text())
}

/// Returns how many faults of a kind are counted; `None` as long as nothing is said of them.
fn faults(server: &Server, kind: FaultKind) -> Option<u64> {
    let kind = kind.name();
    server.sample(&format!(
        "blockflow_block_faults_total{{block=\"subject\",kind=\"{kind}\"}}"
    ))
}

/// Asks both pipelines all the time while `meanwhile` goes on. Returns how the requests to the sick one ended; those to the other
/// one all have results.
fn under_load(server: &Server, meanwhile: impl FnOnce()) -> BTreeMap<u16, usize> {
    let (done, sound) = (AtomicBool::new(false), AtomicUsize::new(0));
    let outcomes = thread::scope(|scope| {
        let guard = Finally(&done);
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let done = &done;
                scope.spawn(move || {
                    let (mut outcomes, mut value) = (BTreeMap::<u16, usize>::new(), client);
                    while !done.load(Ordering::Acquire) {
                        let (status, told) = ask(server, "sick", value);
                        assert!(
                            status == 200 || !told.is_empty(),
                            "{status} without a reason"
                        );
                        *outcomes.entry(status).or_default() += 1;
                        value = value.wrapping_add(3);
                    }
                    outcomes
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert_eq!(ask(server, "sound", 7), (200, String::new()));
                sound.fetch_add(1, Ordering::Relaxed);
            }
        });
        meanwhile();
        let seen = sound.load(Ordering::Relaxed);
        until("the other pipeline is served", || {
            sound.load(Ordering::Relaxed) > seen + 3
        });
        drop(guard);
        let mut all = BTreeMap::<u16, usize>::new();
        for client in clients {
            for (status, count) in client.join().unwrap() {
                *all.entry(status).or_default() += count;
            }
        }
        all
    });
    println!("{outcomes:?}, {sound:?} of the other");
    outcomes
}

const PATIENT: &str =
    "restart = { budget = 1000, window_s = 60, backoff_min_ms = 1, backoff_max_ms = 20 }";

#[test]
fn each_kind_of_fault_is_counted_by_itself() {
    for (failure, kind) in [
        ("panic_every = 3", FaultKind::Panic),
        ("error_every = 3", FaultKind::Error),
    ] {
        let (_directory, server) = serving(&format!("failure = {{ {failure} }}"), PATIENT);
        let outcomes = under_load(&server, || {
            until("faults", || faults(&server, kind) >= Some(5));
        });
        assert!(
            outcomes.keys().all(|status| matches!(status, 200 | 500)),
            "{outcomes:?}"
        );
        for other in FaultKind::ALL.into_iter().filter(|other| *other != kind) {
            assert_eq!(faults(&server, other), Some(0), "{other:?}");
        }
    }
}

#[test]
fn a_killed_worker_is_no_error_of_its_blocks() {
    let (_directory, server) = serving(
        "latency_ms = 1",
        &format!("isolation = \"process\"\n{PATIENT}"),
    );
    let outcomes = under_load(&server, || {
        for times in 1..=3 {
            until("the worker runs", || workers(server.id()).len() == 1);
            until("it answers", || ask(&server, "sick", 1).0 == 200);
            assert!(signal(workers(server.id())[0], "KILL"));
            until("it is counted", || {
                faults(&server, FaultKind::Killed) == Some(times)
            });
        }
        until("it answers", || ask(&server, "sick", 1).0 == 200);
    });
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    for other in [FaultKind::Exited, FaultKind::Hang] {
        assert_eq!(faults(&server, other), Some(0), "{other:?}");
    }
}

/// Starts a server whose blocks' links fail on every so many looks, as builds with debug assertions can be asked to.
fn with_failing_links(path: &Path, points: &str) -> Server {
    let mut command = Command::new(BINARY);
    command.env("FAILPOINTS", points);
    Server::try_start(command, path, &[]).unwrap_or_else(|told| panic!("{told}"))
}

#[test]
fn links_that_fail_are_opened_again_and_cost_no_block() {
    for keys in ["", "isolation = \"process\"\n"] {
        let directory = tempfile::tempdir().unwrap();
        let path = config(
            directory.path(),
            "latency_ms = 1",
            &format!("{keys}{PATIENT}"),
        );
        let server = with_failing_links(&path, "links.subject=97");
        let outcomes = under_load(&server, || {
            until("links have failed", || {
                faults(&server, FaultKind::Links) >= Some(8)
            });
            until("and are open again", || ask(&server, "sick", 1).0 == 200);
        });
        assert!(
            outcomes.keys().all(|status| matches!(status, 200 | 503)),
            "{outcomes:?}"
        );
        let all: usize = outcomes.values().sum();
        assert!(outcomes[&200] * 10 > all * 7, "{outcomes:?}");
    }
}

#[test]
fn links_that_fail_for_good_give_the_block_up_with_the_reason() {
    for keys in ["", "isolation = \"process\"\n"] {
        let directory = tempfile::tempdir().unwrap();
        let restart = "restart = { budget = 2, backoff_min_ms = 1, backoff_max_ms = 2 }";
        let path = config(
            directory.path(),
            "latency_ms = 1",
            &format!("{keys}{restart}"),
        );
        let server = with_failing_links(&path, "links.subject=11");
        let outcomes = under_load(&server, || {
            until("the pipeline is refused", || {
                server.get("/v2/models/sick/ready").status == 503
            });
        });
        assert!(
            outcomes.keys().all(|status| matches!(status, 200 | 503)),
            "{outcomes:?}"
        );
        until("the reason is told", || {
            let (status, told) = ask(&server, "sick", 1);
            assert!(matches!(status, 200 | 503));
            told.contains("given up")
        });
        assert_eq!(server.get("/v2/models/sound/ready").status, 200);
    }
}

#[test]
fn a_stuck_block_is_told_at_once_and_serves_again_when_it_comes_back() {
    let hang = "latency_ms = 1, failure = { hang_every = 40, hang_ms = 1500 }";
    let (_directory, server) = serving(hang, "stuck = { run_ms = 1000 }");
    let outcomes = under_load(&server, || {
        until("it is stuck", || {
            let ready = server.get("/v2/models/sick/ready");
            if ready.status == 503 {
                let told = ready.text();
                assert!(
                    told.contains("subject") && told.contains("stuck.run_ms"),
                    "{told}"
                );
            }
            ready.status == 503
        });
        assert!(faults(&server, FaultKind::Hang) >= Some(1));
        until("it is back", || ask(&server, "sick", 1).0 == 200);
    });
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    assert_eq!(server.metric(REPLACED), 0);
}

#[test]
fn requests_do_not_wait_for_a_stuck_block_until_their_deadline() {
    let hang = "failure = { hang_every = 2, hang_ms = 600000 }";
    let restart = "restart.budget = 0\nstuck = { run_ms = 4000 }";
    let (_directory, mut server) = serving(hang, restart);
    assert_eq!(ask(&server, "sick", 1).0, 200);
    let started = Instant::now();
    let told: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..3)
            .map(|value| {
                scope.spawn({
                    let server = &server;
                    move || ask(server, "sick", value)
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    println!("answered after {:?}", started.elapsed());
    for (status, told) in told {
        assert!(status == 503 && told.contains("stuck"), "{status}: {told}");
    }
    // Overdue, and no budget for another process.
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("restart.budget"), "{log}");
}

#[test]
fn a_worker_that_is_stuck_is_started_again() {
    let hang = "latency_ms = 1, failure = { hang_every = 40, hang_ms = 600000 }";
    let keys = format!("isolation = \"process\"\nstuck = {{ run_ms = 300 }}\n{PATIENT}");
    let (_directory, server) = serving(hang, &keys);
    let first = workers(server.id());
    let outcomes = under_load(&server, || {
        until("it was stuck twice", || {
            faults(&server, FaultKind::Hang) >= Some(2)
        });
        until("it answers", || ask(&server, "sick", 1).0 == 200);
    });
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    assert_ne!(workers(server.id()), first);
    for other in [FaultKind::Exited, FaultKind::Killed] {
        assert_eq!(faults(&server, other), Some(0), "{other:?}");
    }
}

#[test]
fn a_worker_that_says_nothing_is_started_again() {
    let keys = format!("isolation = \"process\"\nstuck = {{ run_ms = 500 }}\n{PATIENT}");
    let (_directory, server) = serving("latency_ms = 1", &keys);
    assert_eq!(ask(&server, "sick", 1).0, 200);
    until("it has reported", || {
        server.sample("blockflow_block_runs_total{block=\"subject\"}") == Some(1)
    });
    assert!(signal(workers(server.id())[0], "STOP"));
    let outcomes = under_load(&server, || {
        until("it is found out", || {
            faults(&server, FaultKind::Hang) == Some(1)
        });
        until("another one answers", || ask(&server, "sick", 1).0 == 200);
    });
    assert!(
        outcomes
            .keys()
            .all(|status| matches!(status, 200 | 503 | 504)),
        "{outcomes:?}"
    );
}

#[test]
fn a_reload_whose_block_does_not_get_warm_is_rejected() {
    let (directory, server) = serving("latency_ms = 1", "");
    let slow = "latency_ms = 1, failure = { warming_ms = 600000 }";
    config(directory.path(), slow, "stuck = { warm_ms = 300 }");
    let response = server.load("sick");
    let told = response.text();
    assert_eq!(response.status, 400, "{told}");
    assert!(
        told.contains("subject") && told.contains("stuck.warm_ms"),
        "{told}"
    );
    assert_eq!((ask(&server, "sick", 1).0, server.epoch()), (200, 1));
    // A first run has the same bound, but it is a matter of serving.
    let hang = "latency_ms = 1, failure = { hang_every = 1, hang_ms = 600000 }";
    config(
        directory.path(),
        hang,
        "stuck = { warm_ms = 300, run_ms = 100 }",
    );
    let response = server.load("sick");
    assert_eq!(response.status, 200, "{}", response.text());
    let (status, told) = ask(&server, "sick", 1);
    assert!(status == 503 && told.contains("stuck.warm_ms"), "{told}");
    assert_eq!(ask(&server, "sound", 1).0, 200);
}

const REPLACED: &str = "blockflow_replacements_total";

/// How often a program has to start itself again. `SOAK_REPLACEMENTS=50` makes it the long run.
const REPLACEMENTS: u64 = 2;

/// What a process does not survive, each with what the log says of it.
const FATAL: [(&str, &str, &str); 2] = [
    (
        "latency_ms = 1, failure = { lost_device_every = 60 }",
        "",
        "is lost",
    ),
    (
        "latency_ms = 1, failure = { hang_every = 60, hang_ms = 600000 }",
        "stuck = { run_ms = 300 }",
        "stuck.run_ms",
    ),
];

#[test]
fn the_program_starts_itself_again_and_nobody_is_refused_a_connection() {
    let replacements = from_environment("SOAK_REPLACEMENTS").unwrap_or(REPLACEMENTS);
    for (failure, keys, reason) in FATAL {
        let (_directory, server) = serving(failure, &format!("{PATIENT}\n{keys}"));
        let id = server.id();
        let done = AtomicBool::new(false);
        let outcomes = thread::scope(|scope| {
            let guard = Finally(&done);
            let client = |pipeline: &'static str| {
                let (server, done) = (&server, &done);
                scope.spawn(move || {
                    let mut outcomes = BTreeMap::<u16, usize>::new();
                    while !done.load(Ordering::Acquire) {
                        // Every connection is answered, and every request.
                        let (status, told) = ask(server, pipeline, 1);
                        assert!(status == 200 || !told.is_empty(), "{status}");
                        *outcomes.entry(status).or_default() += 1;
                    }
                    outcomes
                })
            };
            let clients = [client("sick"), client("sick"), client("sound")];
            for times in 1..=replacements {
                until("the program has started itself again", || {
                    server.sample(REPLACED) >= Some(times)
                });
            }
            drop(guard);
            clients.map(|client| client.join().unwrap())
        });
        println!("{outcomes:?}");
        for outcomes in outcomes {
            assert!(
                outcomes.keys().all(|status| matches!(status, 200 | 503)),
                "{outcomes:?}"
            );
            assert!(outcomes[&200] > 0);
        }
        assert_eq!(server.id(), id);
        let log = server.stop();
        assert!(!log.contains("panicked"), "{log}");
        contains(&log, &[reason, "starts itself again"]);
    }
}

#[test]
fn what_a_reload_has_replaced_does_not_end_the_program() {
    let hang = "failure = { hang_every = 2, hang_ms = 600000 }";
    let (directory, server) = serving(hang, "stuck = { run_ms = 1000 }");
    assert_eq!(ask(&server, "sick", 1).0, 200);
    assert_eq!(ask(&server, "sick", 1).0, 503);
    config(directory.path(), "latency_ms = 0", "");
    let response = server.load("sick");
    assert_eq!(response.status, 200, "{}", response.text());
    // Longer than it takes to be overdue.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        assert_eq!(ask(&server, "sick", 1).0, 200);
    }
    assert_eq!(server.metric(REPLACED), 0);
}

#[test]
fn a_program_that_starts_itself_again_too_often_ends_with_the_reason() {
    let lost = "failure = { lost_device_every = 2 }";
    let restart = "restart = { budget = 1, backoff_min_ms = 1, backoff_max_ms = 2 }";
    let (_directory, mut server) = serving(lost, restart);
    let deadline = Instant::now() + Duration::from_secs(25);
    let told = loop {
        let request = crate::support::server::infer_request("sick", "x", "UINT8", &[1, 4], &[1; 4]);
        let Ok(mut stream) = std::net::TcpStream::connect(server.address) else {
            break server.wait();
        };
        // The last ones come to a server that is ending.
        let _ = std::io::Write::write_all(&mut stream, &request);
        let _ = crate::support::server::read_response(stream);
        assert!(Instant::now() < deadline, "it goes on");
    };
    let (status, log) = told;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(log.contains("1 times within 60 s"), "{log}");
}

#[test]
fn a_worker_that_loses_its_device_is_started_again() {
    let lost = "latency_ms = 1, failure = { lost_device_every = 50 }";
    let (_directory, server) = serving(lost, &format!("isolation = \"process\"\n{PATIENT}"));
    let outcomes = under_load(&server, || {
        until("it was lost twice", || {
            faults(&server, FaultKind::DeviceLost) >= Some(2)
        });
        until("it answers", || ask(&server, "sick", 1).0 == 200);
    });
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    assert_eq!(server.metric(REPLACED), 0);
}

#[test]
fn a_socket_that_a_service_manager_hands_over_is_served_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(directory.path(), "", "");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As a service manager does it: the socket is descriptor 3, and the environment says so to this process alone.
    let mut command = Command::new("sh");
    command
        .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(
            listener,
        )))
        .args([
            "-c",
            "export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$@\" 3<&0 </dev/null",
            "sh",
            BINARY,
        ]);
    let server = Server::try_start(command, &path, &[]).unwrap_or_else(|told| panic!("{told}"));
    assert_eq!(server.address, address);
    assert_eq!(ask(&server, "sick", 1).0, 200);
}

#[test]
fn the_phases_of_the_end_are_told_and_laggards_named() {
    let hang = "failure = { hang_every = 1, hang_ms = 600000 }";
    let (_directory, mut server) = serving(hang, "");
    let server_ref = &server;
    thread::scope(|scope| {
        let waiting = scope.spawn(move || ask(server_ref, "sick", 1));
        until("the request is in flight", || {
            server_ref.metric("blockflow_requests_in_flight{pipeline=\"sick\"}") == 1
        });
        server_ref.signal("TERM");
        until("it drains", || {
            server_ref.get("/v2/health/ready").status == 503
        });
        // The second one ends the waiting.
        server_ref.signal("TERM");
        assert_eq!(waiting.join().unwrap().0, 503);
    });
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(5), "{log}");
    for phase in ["intake", "in_flight", "links", "free", "responses"] {
        let named = log
            .lines()
            .any(|line| line.contains("phase of the end") && line.contains(phase));
        assert!(named, "{phase} is not in {log}");
    }
    assert!(log.contains("block subject/0 in"), "{log}");
}

#[test]
fn the_third_signal_ends_the_process_at_once() {
    let (_directory, mut server) = serving("failure = { hang_every = 1, hang_ms = 600000 }", "");
    let server_ref = &server;
    thread::scope(|scope| {
        scope.spawn(move || {
            // It may have no answer any more.
            let stream = server_ref.connect();
            let request =
                crate::support::server::infer_request("sick", "x", "UINT8", &[1, 4], &[1; 4]);
            let mut writer = &stream;
            let _ = std::io::Write::write_all(&mut writer, &request);
            let _ = crate::support::server::read_response(stream);
        });
        until("the request is in flight", || {
            server_ref.metric("blockflow_requests_in_flight{pipeline=\"sick\"}") == 1
        });
        server_ref.signal("INT");
        until("it drains", || {
            server_ref.get("/v2/health/ready").status == 503
        });
        // Of one kind, those that come together would count once.
        server_ref.signal("INT");
        server_ref.signal("TERM");
    });
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("third signal"), "{log}");
}

#[test]
fn a_worker_that_a_reload_removed_is_not_shown_any_more() {
    let (directory, server) = serving("latency_ms = 0", "isolation = \"process\"");
    let shown = |server: &Server| {
        server
            .get("/metrics")
            .text()
            .contains("process=\"subject\"")
    };
    assert!(shown(&server));
    config(directory.path(), "latency_ms = 0", "");
    let response = server.load("sick");
    assert_eq!(response.status, 200, "{}", response.text());
    until("the worker is not shown", || !shown(&server));
    assert_eq!(ask(&server, "sick", 1).0, 200);
}
