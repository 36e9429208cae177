//! Faults around the running server: failing blocks, clients that go away, signals under load.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::files::mock_text;
use crate::support::server::{Server, infer_request, read_response};
use crate::support::until;

fn config(directory: &Path, mock: &str, rest: &str) -> std::path::PathBuf {
    let path = directory.join("blocks.toml");
    let text = format!(
        "{}[pipelines.p]\nflow = [\"subject\"]\ndeadline_ms = 20000\n{rest}\n",
        mock_text("subject", ["x", "y"], mock, "")
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn serving(mock: &str, rest: &str) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&config(directory.path(), mock, rest));
    (directory, server)
}

fn ask(server: &Server) -> u16 {
    server
        .infer("p", "x", "UINT8", &[1, 4], &[1, 2, 3, 4])
        .status
}

fn send(server: &Server) -> TcpStream {
    let mut stream = server.connect();
    stream
        .write_all(&infer_request("p", "x", "UINT8", &[1, 4], &[1, 2, 3, 4]))
        .unwrap();
    stream
}

#[test]
fn a_panicking_block_answers_500_naming_block_and_cause_and_goes_on() {
    let (_directory, server) = serving(
        "failure = { panic_every = 3 }",
        "[blocks.subject.restart]\nbudget = 100\nbackoff_min_ms = 1\nbackoff_max_ms = 2",
    );
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let response = server.infer("p", "x", "UINT8", &[1, 4], &[1, 2, 3, 4]);
        if response.status == 500 {
            assert!(response.text().contains("subject"), "{}", response.text());
            assert!(response.text().contains("panicked"), "{}", response.text());
        } else {
            assert_eq!(response.binary(), [2, 3, 4, 5]);
        }
        statuses.push(response.status);
    }
    assert!(
        statuses.contains(&500) && statuses.contains(&200),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 500)),
        "{statuses:?}"
    );
}

#[test]
fn a_given_up_block_makes_the_pipeline_not_ready_with_the_reason() {
    let (_directory, server) = serving(
        "failure = { error_every = 2 }",
        "[blocks.subject.restart]\nbudget = 0",
    );
    until("the block fails", || ask(&server) == 500);
    until("the pipeline is refused", || ask(&server) == 503);
    let response = server.get("/v2/models/p/ready");
    assert_eq!(response.status, 503);
    assert!(response.text().contains("subject"), "{}", response.text());
    assert_eq!(server.get("/v2/health/ready").status, 503);
    assert_eq!(server.get("/v2/health/live").status, 200);
}

#[test]
fn a_block_that_hangs_past_the_deadline_costs_a_504_and_not_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let path = config(
        directory.path(),
        "failure = { hang_every = 2, hang_ms = 700 }",
        "",
    );
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("20000", "200");
    std::fs::write(&path, text).unwrap();
    let server = Server::start(&path);
    assert_eq!([ask(&server), ask(&server)], [200, 504]);
    until("the block answers again", || ask(&server) == 200);
}

#[test]
fn a_client_that_goes_away_gives_its_place_back() {
    // Neither the end of the run nor the deadline can free the place while this test waits.
    let directory = tempfile::tempdir().unwrap();
    let path = config(
        directory.path(),
        "latency_ms = 60000",
        "[limits]\nin_flight_max = 1",
    );
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("20000", "100000")).unwrap();
    let server = Server::start(&path);
    let first = send(&server);
    until("the first request is in flight", || in_flight(&server) == 1);
    assert_eq!(ask(&server), 503);
    drop(first);
    until("its place is free long before its run ends", || {
        !ask_quickly_refused(&server)
    });
}

fn in_flight(server: &Server) -> usize {
    let page = server.get("/metrics").text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("blockflow_requests_in_flight{pipeline=\"p\"} "));
    line.expect("the gauge").parse().unwrap()
}

/// Tells whether a request is refused at once; one that is admitted is abandoned.
fn ask_quickly_refused(server: &Server) -> bool {
    let stream = send(server);
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    read_response(stream).is_ok_and(|response| response.status == 503)
}

#[test]
fn sigterm_under_load_loses_nothing_admitted() {
    let (_directory, mut server) = serving("latency_ms = 20", "[limits]\nin_flight_max = 64");
    let answered = AtomicUsize::new(0);
    let outcomes = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    while let Ok(mut stream) = TcpStream::connect(server.address) {
                        let request = infer_request("p", "x", "UINT8", &[1, 4], &[1, 2, 3, 4]);
                        if stream.write_all(&request).is_err() {
                            break;
                        }
                        let Ok(response) = read_response(stream) else {
                            // The listener's queue was closed with this connection in it: never admitted.
                            break;
                        };
                        outcomes.push(response.status);
                        answered.fetch_add(1, Ordering::SeqCst);
                        if response.status != 200 {
                            break;
                        }
                    }
                    outcomes
                })
            })
            .collect();
        until("the load has begun", || {
            answered.load(Ordering::SeqCst) > 10
        });
        server.signal("TERM");
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(
        outcomes.iter().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    let (status, log) = server.wait();
    assert!(status.success(), "{status}: {log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_straggler_is_named_and_answered_when_the_drain_is_over() {
    let (_directory, mut server) = serving("latency_ms = 3000", "[server]\ndrain_ms = 100");
    let stream = send(&server);
    until("the request is in flight", || in_flight(&server) == 1);
    server.signal("TERM");
    let response = read_response(stream).unwrap();
    assert_eq!(response.status, 503, "{}", response.text());
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(5), "{log}");
    assert!(log.contains("\"p\""), "{log}");
}
