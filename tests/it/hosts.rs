//! Two hosts, each a `blockflow run --host` of its own: they find each other by the file, whoever comes first, survive each
//! other, and answer every request once.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use crate::cli::{blockflow, stderr};
use crate::support::server::{Response, Server};
use crate::support::until;

const REQUESTS: usize = 600;
const CLIENTS: usize = 4;

/// A configuration of two hosts, `front` with the gateway and the block `near`, and `back` with the blocks `far` and `tail`.
/// Pipelines: `home` stays on the front, `away` visits the back between two blocks, each of which adds one.
#[derive(Debug)]
pub(crate) struct Hosts {
    directory: tempfile::TempDir,
    text: String,
}

impl Hosts {
    pub(crate) fn new() -> Self {
        Self::of(config)
    }

    /// Returns hosts with a configuration that is made of their addresses, that of the front first.
    pub(crate) fn of(config: impl Fn(&str, &str) -> String) -> Self {
        // Addresses that no other test has, so that their ports are free: 22 bits of a process, two of its own.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let own = NEXT.fetch_add(1, Ordering::Relaxed) % 2;
        let [_, high, middle, low] = (std::process::id() << 2 | own << 1).to_be_bytes();
        let address = |side: u8| format!("127.{high}.{middle}.{}", low | side);
        let hosts = Self {
            directory: tempfile::tempdir().unwrap(),
            text: config(&address(0), &address(1)),
        };
        for name in ["front.toml", "back.toml"] {
            fs::write(hosts.path(name), &hosts.text).unwrap();
        }
        hosts
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the configuration that both hosts begin with.
    pub(crate) fn text(&self) -> String {
        self.text.clone()
    }

    pub(crate) fn front(&self) -> Server {
        Server::start_with(&self.path("front.toml"), &["--host", "front"])
    }

    pub(crate) fn back(&self) -> Server {
        Server::start_with(&self.path("back.toml"), &["--host", "back"])
    }
}

pub(crate) fn config(front: &str, back: &str) -> String {
    let block = |name: &str, [input, output]: [&str; 2], host: &str| {
        format!(
            "[blocks.{name}]\nhost = \"{host}\"\n\
             mock = {{ inputs = [{{ name = \"{input}\", datatype = \"UINT8\", shape = [1, 4] }}], \
             outputs = [{{ name = \"{output}\", datatype = \"UINT8\", shape = [1, 4] }}] }}\n"
        )
    };
    format!(
        "[hosts.front]\naddress = \"{front}\"\n[hosts.back]\naddress = \"{back}\"\n\
         {}{}{}\
         [pipelines.home]\nflow = [\"near\"]\n\
         [pipelines.away]\nflow = [\"near\", \"far\", \"tail\"]\ndeadline_ms = 20000\n",
        block("near", ["x", "a"], "front"),
        block("far", ["a", "b"], "back"),
        block("tail", ["b", "y"], "front"),
    )
}

/// Asks once; returns the status and, of a result, whether it is right.
pub(crate) fn ask(server: &Server, pipeline: &str, value: u8) -> (u16, bool) {
    let response = ask_for(server, pipeline, value);
    let added = if pipeline == "home" { 1 } else { 3 };
    let expected = [value.wrapping_add(added), added, added, 7 + added];
    let right = response.status != 200 || response.binary() == expected;
    (response.status, right)
}

pub(crate) fn ask_for(server: &Server, pipeline: &str, value: u8) -> Response {
    server.infer(pipeline, "x", "UINT8", &[1, 4], &[value, 0, 0, 7])
}

fn ready(server: &Server) -> Response {
    server.get("/v2/models/away/ready")
}

pub(crate) fn until_ready(server: &Server) {
    until("the other host is there", || ready(server).status == 200);
}

/// Waits until a pipeline is not ready, and returns the reason.
pub(crate) fn unready(server: &Server, part: &str) -> String {
    until(&format!("not ready with {part:?}"), || {
        let response = ready(server);
        response.status == 503 && response.text().contains(part)
    });
    ready(server).text()
}

#[test]
fn either_host_may_come_first_and_what_is_missing_has_a_name() {
    let hosts = Hosts::new();
    let front = hosts.front();
    let told = unready(&front, "has not answered yet");
    assert!(
        told.contains("block \\\"far\\\"") && told.contains("host \\\"back\\\""),
        "{told}"
    );
    // What stays at home does not wait for others.
    assert_eq!(ask(&front, "home", 1), (200, true));
    assert_eq!(ask(&front, "away", 1).0, 503);
    let back = hosts.back();
    until_ready(&front);
    for value in 0..20 {
        assert_eq!(ask(&front, "away", value), (200, true));
    }
    drop((front, back));

    let hosts = Hosts::new();
    let _back = hosts.back();
    let front = hosts.front();
    until_ready(&front);
    assert_eq!(ask(&front, "away", 5), (200, true));
}

#[test]
fn a_host_that_is_not_named_is_the_one_of_the_gateway() {
    let hosts = Hosts::new();
    let _back = hosts.back();
    let front = Server::start(&hosts.path("front.toml"));
    until_ready(&front);
    assert_eq!(ask(&front, "away", 5), (200, true));
    let path = hosts.path("front.toml");
    let output = blockflow(&["run", path.to_str().unwrap(), "--host", "side"]);
    assert_eq!(output.status.code(), Some(4));
    let told = stderr(&output);
    assert!(
        told.contains("there is no host \"side\", expected one of: front, back"),
        "{told}"
    );
}

#[test]
fn another_configuration_is_refused_on_both_sides_until_it_is_the_same() {
    let hosts = Hosts::new();
    let same = fs::read_to_string(hosts.path("back.toml")).unwrap();
    let other = format!("{same}[limits]\nin_flight_max = 7\n");
    fs::write(hosts.path("back.toml"), other).unwrap();
    let front = hosts.front();
    let back = hosts.back();
    let told = unready(&front, "run the same configuration and release");
    assert!(told.contains("host \\\"back\\\" does not let"), "{told}");
    assert_eq!(ask(&front, "away", 1).0, 503);
    let log = back.stop();
    assert!(log.contains("its configuration has the digest"), "{log}");
    fs::write(hosts.path("back.toml"), same).unwrap();
    let _back = hosts.back();
    until_ready(&front);
    assert_eq!(ask(&front, "away", 1), (200, true));
    let log = front.stop();
    assert!(log.contains("its configuration has the digest"), "{log}");
}

#[test]
fn every_request_has_one_answer_while_the_other_host_is_killed() {
    let hosts = Hosts::new();
    let front = hosts.front();
    let mut back = hosts.back();
    until_ready(&front);
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut kills = 0;
    let outcomes: BTreeMap<u16, usize> = thread::scope(|scope| {
        let client = || {
            let mut outcomes = BTreeMap::<u16, usize>::new();
            loop {
                let request = next.fetch_add(1, Ordering::Relaxed);
                if request >= REQUESTS && done.load(Ordering::Relaxed) {
                    return outcomes;
                }
                let (status, right) = ask(&front, "away", request as u8);
                assert!(right, "request {request} has another request's answer");
                *outcomes.entry(status).or_default() += 1;
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        while kills < 4 {
            let seen = next.load(Ordering::Relaxed);
            until("requests flow", || {
                next.load(Ordering::Relaxed) > seen + REQUESTS / 10
            });
            back.signal("KILL");
            back.wait();
            kills += 1;
            back = hosts.back();
            until_ready(&front);
        }
        done.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::<u16, usize>::new();
        for client in clients {
            for (status, count) in client.join().unwrap() {
                *all.entry(status).or_default() += count;
            }
        }
        all
    });
    println!("{kills} kills, outcomes by status {outcomes:?}");
    let answered: usize = outcomes.values().sum();
    assert!(answered >= REQUESTS);
    // While the host is away, requests are refused with the reason.
    assert!(
        outcomes.keys().all(|status| matches!(status, 200 | 503)),
        "{outcomes:?}"
    );
    assert!(outcomes[&200] > 0, "{outcomes:?}");
    assert_eq!(ask(&front, "away", 1), (200, true));
    let page = front.get("/metrics").text();
    assert!(
        page.contains("blockflow_requests_in_flight{pipeline=\"away\"} 0"),
        "{page}"
    );
}

#[test]
fn a_host_survives_that_of_the_gateway() {
    let hosts = Hosts::new();
    let back = hosts.back();
    for signal in ["KILL", "TERM", "KILL"] {
        let mut front = hosts.front();
        until_ready(&front);
        for value in 0..10 {
            assert_eq!(ask(&front, "away", value), (200, true));
        }
        front.signal(signal);
        front.wait();
    }
    back.stop();
}

#[test]
fn a_host_that_hangs_stalls_nobody_and_is_taken_for_lost() {
    let hosts = Hosts::new();
    let back = hosts.back();
    let front = hosts.front();
    until_ready(&front);
    back.signal("STOP");
    // More than any queue on the way holds, so that what is for the other host has to wait.
    let asked: Vec<_> = thread::scope(|scope| {
        let ask_away = || ask(&front, "away", 1);
        let asked: Vec<_> = (0..8).map(|_| scope.spawn(ask_away)).collect();
        for value in 0..100 {
            assert_eq!(ask(&front, "home", value), (200, true));
        }
        let told = unready(&front, "was lost");
        assert!(told.contains("host \\\"back\\\""), "{told}");
        back.signal("CONT");
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // Sent again when the silence is noticed, and run when it ends.
    assert_eq!(asked, vec![(200, true); 8]);
    until_ready(&front);
    assert_eq!(ask(&front, "away", 9), (200, true));
}
