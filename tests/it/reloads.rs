//! Reloads while requests flow: each is applied, does nothing, or is rejected with its reasons; no request is lost or sees two
//! configurations.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::support::files::{Files, apart, chain_text};
use crate::support::server::Server;
use crate::support::{Finally, from_environment, until};

/// Swaps of the run under load. `SOAK_SWAPS=1000` makes it the long one.
const SWAPS: usize = 12;
const CLIENTS: usize = 4;

/// A configuration file: a chain of blocks, each of which adds one to every byte.
pub(crate) struct Chain(Files);

impl Chain {
    pub(crate) fn new(length: usize) -> Self {
        Self(Files::new(&text(length, "")))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path()
    }

    pub(crate) fn write(&self, length: usize, rest: &str) {
        self.0.write(&text(length, rest));
    }

    fn serve(&self) -> Server {
        self.0.serve()
    }
}

pub(crate) fn text(length: usize, rest: &str) -> String {
    chain_text(length, &format!("t{length}"), |_| Default::default(), rest)
}

/// Asks once; returns how many blocks the request went through, or the status if it has no result.
pub(crate) fn steps(server: &Server, value: u8) -> Result<usize, u16> {
    let response = server.infer("p", "t0", "UINT8", &[1, 4], &[value, 0, 0, 7]);
    if response.status != 200 {
        return Err(response.status);
    }
    let [first, second, third, last] = response.binary().try_into().unwrap();
    assert_eq!(
        first,
        value.wrapping_add(second),
        "another request's answer"
    );
    assert_eq!((third, last), (second, second + 7));
    Ok(second.into())
}

#[test]
fn a_reload_is_applied_or_does_nothing() {
    let chain = Chain::new(2);
    let server = chain.serve();
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 1));
    chain.write(3, "");
    assert_eq!(steps(&server, 1), Ok(2), "nobody has asked for a reload");
    let response = server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!((steps(&server, 1), server.epoch()), (Ok(3), 2));
    chain.write(3, "# a comment means nothing\n");
    assert_eq!(server.load("p").status, 200);
    assert_eq!(server.epoch(), 2);
    // What is not there any more is not shown any more.
    chain.write(1, "");
    assert_eq!(server.load("p").status, 200);
    assert_eq!(steps(&server, 1), Ok(1));
    until("the old configuration is gone", || {
        let page = server.get("/metrics").text();
        page.contains("block=\"b0\"") && !page.contains("block=\"b1\"")
    });
    let page = server.get("/metrics").text();
    for line in [
        "blockflow_block_instances_up{block=\"b0\"} 1\n",
        "blockflow_reloads_total{outcome=\"applied\"} 2\n",
        "blockflow_reloads_total{outcome=\"rejected\"} 0\n",
    ] {
        assert!(page.contains(line), "{line} not in {page}");
    }
}

#[test]
fn pipelines_come_and_go() {
    let chain = Chain::new(2);
    let server = chain.serve();
    let more = "[pipelines.q]\nflow = [\"b0\"]\n";
    assert_eq!(server.get("/v2/models/q").status, 404);
    chain.write(2, more);
    assert_eq!(server.load("q").status, 200);
    assert_eq!(server.get("/v2/models/q/ready").status, 200);
    chain.write(2, "");
    // It was served, and is not any more: what was asked for is not there.
    assert_eq!(server.load("q").status, 404);
    assert_eq!(server.get("/v2/models/q").status, 404);
    assert_eq!(steps(&server, 1), Ok(2));
}

#[test]
fn what_cannot_be_served_is_rejected_with_its_reasons_and_changes_nothing() {
    let chain = Chain::new(2);
    let server = chain.serve();
    let good = text(2, "");
    let bad = [
        ("[blocks", "blocks.toml"),
        (&good.replace("\"b0\", \"b1\"", "\"b0\", \"b7\""), "b7"),
        (&good.replace("deadline_ms", "dedline_ms"), "dedline_ms"),
        (
            &format!("{good}[server]\nhttp = \"127.0.0.1:1\"\n"),
            "server.http",
        ),
        (
            &format!("{good}[server]\nworkers = 7\n"),
            "server.workers: 1 → 7",
        ),
        (&format!("{good}[log]\nformat = \"json\"\n"), "log.format"),
        (
            &format!(
                "{good}[blocks.none]\nmodel = \"none.onnx\"\n[pipelines.q]\nflow = [\"none\"]\n"
            ),
            "none.onnx",
        ),
        (
            &format!(
                "{good}[blocks.out]\nmock = {{ inputs = [{{ name = \"x\", datatype = \"UINT8\", shape = [1] }}], \
                 outputs = [{{ name = \"y\", datatype = \"UINT8\", shape = [1] }}], failure = {{ kind = \"panic\", every = 1 }} }}\n"
            ),
            "panic",
        ),
    ];
    for (index, (text, reason)) in bad.iter().enumerate() {
        chain.0.write(text);
        let response = server.load("p");
        assert_eq!(response.status, 400, "{text}");
        let told = response.text();
        assert!(told.contains(reason), "{reason:?} not in {told}");
        assert_eq!((steps(&server, 1), server.epoch()), (Ok(2), 1));
        let page = server.get("/metrics").text();
        let count = format!(
            "blockflow_reloads_total{{outcome=\"rejected\"}} {}\n",
            index + 1
        );
        assert!(page.contains(&count), "{page}");
    }
    chain.0.write(&good);
    assert_eq!(server.load("p").status, 200);
    let log = server.stop();
    assert!(log.contains("what was served before still is"), "{log}");
}

#[test]
fn a_request_brings_nothing_of_its_own() {
    let chain = Chain::new(1);
    let server = chain.serve();
    let post = |path: &str, body: &str| server.post(path, body);
    let load = "/v2/repository/models/p/load";
    for body in ["", "{}", "{\"parameters\": {}}"] {
        assert_eq!(post(load, body).status, 200, "{body}");
    }
    let told = post(load, "{\"parameters\": {\"config\": \"{}\"}}");
    assert_eq!(told.status, 400);
    assert!(told.text().contains("config"), "{}", told.text());
    assert_eq!(post(load, "[").status, 400);
    assert_eq!(post("/v2/repository/models/none/load", "").status, 404);
    let told = post(
        "/v2/repository/models/p/unload",
        "{\"parameters\": {\"now\": true}}",
    );
    assert_eq!(told.status, 400);
    assert!(told.text().contains("now"), "{}", told.text());
    assert_eq!(steps(&server, 1), Ok(1));
}

#[test]
fn a_hangup_is_a_reload_and_many_are_no_more_than_that() {
    let chain = Chain::new(1);
    let server = chain.serve();
    for _ in 0..50 {
        server.signal("HUP");
    }
    assert_eq!(steps(&server, 1), Ok(1));
    chain.write(2, "");
    server.signal("HUP");
    until("the reload", || server.epoch() == 2);
    assert_eq!(steps(&server, 1), Ok(2));
}

/// A chain each of whose blocks takes so long.
fn slowed(length: usize, ms: u32) -> String {
    let keys = |_| [format!("latency_ms = {ms}"), String::new()];
    chain_text(length, &format!("t{length}"), keys, "")
}

#[test]
fn requests_in_flight_end_in_the_configuration_they_began_in() {
    let slow = |length: usize| slowed(length, 400);
    let files = Files::new(&slow(2));
    let server = files.serve();
    thread::scope(|scope| {
        let early: Vec<_> = (0..3)
            .map(|value| {
                scope.spawn({
                    let server = &server;
                    move || steps(server, value)
                })
            })
            .collect();
        until("requests are in flight", || {
            let page = server.get("/metrics").text();
            page.contains("blockflow_requests_in_flight{pipeline=\"p\"} 3")
        });
        files.write(&slow(3));
        assert_eq!(server.load("p").status, 200);
        assert_eq!(steps(&server, 9), Ok(3));
        for one in early {
            assert_eq!(one.join().unwrap(), Ok(2));
        }
    });
}

#[test]
fn processes_are_replaced_too() {
    let files = Files::new(&apart(&text(2, "")));
    let server = files.serve();
    let before = crate::processes::workers(server.id());
    assert_eq!((steps(&server, 1), before.len()), (Ok(2), 1));
    files.write(&apart(&text(3, "")));
    let response = server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(steps(&server, 1), Ok(3));
    until("only the new process is there", || {
        let now = crate::processes::workers(server.id());
        now.len() == 1 && now != before
    });
    until("it is counted once", || {
        let page = server.get("/metrics").text();
        page.contains("blockflow_process_up{process=\"b0\"} 1\n")
    });
    assert_eq!(steps(&server, 1), Ok(3));
}

#[test]
fn a_stop_waits_for_requests_of_a_configuration_that_was_replaced() {
    let files = Files::new(&slowed(1, 3000));
    let mut server = files.serve();
    thread::scope(|scope| {
        let early = scope.spawn(|| steps(&server, 1));
        until("a request is in flight", || {
            let page = server.get("/metrics").text();
            page.contains("blockflow_requests_in_flight{pipeline=\"p\"} 1")
        });
        files.write(&text(2, ""));
        assert_eq!(server.load("p").status, 200);
        server.signal("TERM");
        assert_eq!(early.join().unwrap(), Ok(1));
    });
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
}

#[test]
fn no_request_is_lost_or_mixed_while_configurations_are_swapped() {
    let swaps = from_environment("SOAK_SWAPS").unwrap_or(SWAPS);
    let chain = Chain::new(2);
    let server = chain.serve();
    let resident = server.resident_kib();
    // Bits of the lengths that may be answered with at this time.
    let valid = AtomicU64::new(1 << 2);
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _guard = Finally(&done);
        for client in 0..CLIENTS {
            let (server, valid, done, asked) = (&server, &valid, &done, &asked);
            scope.spawn(move || {
                let mut value = client as u8;
                while !done.load(Ordering::Acquire) {
                    let before = valid.load(Ordering::Acquire);
                    let answered = steps(server, value);
                    let after = valid.load(Ordering::Acquire);
                    let Ok(length) = answered else {
                        panic!("a request was lost: {answered:?}");
                    };
                    assert!(
                        (before | after) & 1 << length != 0,
                        "{length} blocks answered, valid were {before:b} and {after:b}"
                    );
                    value = value.wrapping_add(7);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for swap in 0..swaps {
            let seen = asked.load(Ordering::Relaxed);
            until("requests flow", || {
                asked.load(Ordering::Relaxed) > seen + CLIENTS
            });
            let length = 1 + (swap + 2) % 3;
            valid.fetch_or(1 << length, Ordering::AcqRel);
            chain.write(length, "");
            let response = server.load("p");
            assert_eq!(response.status, 200, "{}", response.text());
            // Requests that began before may still be answered by the one before.
            assert_eq!(steps(&server, 1), Ok(length));
            let seen = asked.load(Ordering::Relaxed);
            until("requests of before are over", || {
                asked.load(Ordering::Relaxed) > seen + 2 * CLIENTS
            });
            valid.store(1 << length, Ordering::Release);
        }
    });
    println!(
        "{swaps} swaps, {} requests, {resident} KiB resident before and {} after",
        asked.into_inner(),
        server.resident_kib()
    );
    assert_eq!(server.epoch() as usize, swaps + 1);
}

/// Kilobytes of resident memory that each swap adds, as a median of slopes. A leaky block holds on to what its runs were given.
fn growth(swaps: usize, leaky: bool) -> f64 {
    const ELEMENTS: usize = 1 << 16;
    const REQUESTS: usize = 8;
    let configured = |length: usize| {
        let failure = if leaky {
            "failure = { leak_every = 1 }"
        } else {
            ""
        };
        let keys = |_| [failure.to_owned(), String::new()];
        let text = chain_text(length, &format!("t{length}"), keys, "");
        text.replace("[1, 4]", &format!("[1, {ELEMENTS}]"))
    };
    let files = Files::new(&configured(1));
    let server = files.serve();
    let input = vec![7; ELEMENTS];
    let mut resident = Vec::new();
    for swap in 0..swaps {
        files.write(&configured(1 + (swap + 1) % 3));
        assert_eq!(server.load("p").status, 200);
        for _ in 0..REQUESTS {
            let answer = server.infer("p", "t0", "UINT8", &[1, ELEMENTS], &input);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        resident.push(server.resident_kib() as f64);
    }
    // What was never touched before is no growth.
    let settled = &resident[swaps / 3..];
    let mut slopes: Vec<_> = (0..settled.len())
        .flat_map(|from| (from + 1..settled.len()).map(move |to| (from, to)))
        .map(|(from, to)| (settled[to] - settled[from]) / (to - from) as f64)
        .collect();
    slopes.sort_by(f64::total_cmp);
    slopes[slopes.len() / 2]
}

#[test]
fn memory_does_not_grow_with_swaps_and_a_leak_would_show() {
    let swaps = from_environment("SOAK_SWAPS").unwrap_or(3 * SWAPS);
    let [sound, leaky] =
        [false, true].map(|leaky| growth(swaps.min(if leaky { 36 } else { swaps }), leaky));
    println!("{swaps} swaps add {sound:.1} KiB each, with a leak {leaky:.1} KiB each");
    // An allocator takes a while to settle.
    let noise = if swaps < 200 { 200.0 } else { 20.0 };
    assert!(sound < noise, "{sound} KiB each");
    assert!(
        leaky > 500.0,
        "a leak of about 1,000 KiB for each swap was seen as {leaky}"
    );
}
