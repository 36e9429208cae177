//! Reloads that do not fit beside what is served: each is decided before anything is loaded, no request is lost, and the pause is
//! told.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::sim::{ask, held};
use crate::support::files::{Files, chain_text, mock_text};
use crate::support::server::Server;
use crate::support::{Finally, until};

const CLIENTS: usize = 4;

/// A chain of mocks from `t0` to `y` on one device, each with so many megabytes, and what is said of devices.
fn chain(device: &str, weights: &[u32], devices: &str) -> String {
    let keys = |place: usize| {
        let weights = format!("weights_mb = {}", weights[place]);
        [weights, format!("device = \"{device}\"")]
    };
    chain_text(weights.len(), "y", keys, &format!("{devices}\n"))
}

fn sim(memory: u32) -> String {
    format!("[devices.\"sim:0\"]\nmemory_mb = {memory}\ncopy_mb_s = 400\n")
}

fn outcome(server: &Server, outcome: &str) -> i64 {
    server.metric(&format!("blockflow_reloads_total{{outcome=\"{outcome}\"}}"))
}

fn pause(server: &Server) -> f64 {
    server.sample("blockflow_reload_pause_seconds").unwrap()
}

/// Has clients ask all the time while something is done; every request must be answered, by one of some numbers of blocks.
/// Returns how many there were.
fn under_load(server: &Server, answers: &[u8], run: impl FnOnce()) -> usize {
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _guard = Finally(&done);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    let answered = ask(server, "p", "t0");
                    match answered {
                        Ok(blocks) => assert!(answers.contains(&blocks), "{blocks}"),
                        Err(lost) => panic!("a request was lost: {lost:?}"),
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let flow = || {
            let seen = asked.load(Ordering::Relaxed);
            until("requests flow", || {
                asked.load(Ordering::Relaxed) > seen + CLIENTS
            });
        };
        flow();
        run();
        flow();
    });
    asked.into_inner()
}

#[test]
fn with_room_for_both_nobody_waits() {
    let files = Files::new(&chain("sim:0", &[40], &sim(95)));
    let server = files.serve();
    under_load(&server, &[1, 2], || {
        files.write(&chain("sim:0", &[30, 20], &sim(95)));
        let response = server.load("p");
        assert_eq!(response.status, 200, "{}", response.text());
    });
    assert_eq!(ask(&server, "p", "t0"), Ok(2));
    assert_eq!(server.metric("blockflow_requests_held_total"), 0);
    until("the old one is gone", || {
        held(&server, "sim:0", "weights") == 50_000_000
    });
    let log = server.stop();
    assert!(!log.contains("changed places"), "{log}");
}

#[test]
fn requests_that_are_being_read_when_the_pause_ends_begin_in_what_came() {
    let files = Files::new(&chain("sim:0", &[40], &sim(64)));
    let server = files.serve();
    // Long to read, so that some are being read at the end of each pause.
    let tensor = r#"{"name":"t0","datatype":"UINT8","shape":[1,4],"data":[1,2,3,4]}"#;
    let body = format!("{{\"inputs\":[{tensor}{}]}}", " ".repeat(3 << 20));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let guard = Finally(&done);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut refused = Vec::new();
                    while !done.load(Ordering::Acquire) {
                        let response = server.post("/v2/models/p/infer", &body);
                        if response.status != 200 {
                            refused.push(response.text());
                        }
                    }
                    refused
                })
            })
            .collect();
        for round in 0..3 {
            let weights: &[u32] = if round % 2 == 0 { &[30, 20] } else { &[40] };
            files.write(&chain("sim:0", weights, &sim(64)));
            let response = server.load("p");
            assert_eq!(response.status, 200, "{}", response.text());
        }
        drop(guard);
        for client in clients {
            let refused = client.join().unwrap();
            assert!(refused.is_empty(), "{refused:?}");
        }
    });
    server.stop();
}

#[test]
fn what_fits_one_after_the_other_waits_on_the_host() {
    let files = Files::new(&chain("sim:0", &[40], &sim(64)));
    let server = files.serve();
    under_load(&server, &[1, 2], || {
        files.write(&chain("sim:0", &[30, 20], &sim(64)));
        let response = server.load("p");
        assert_eq!(response.status, 200, "{}", response.text());
    });
    assert_eq!((ask(&server, "p", "t0"), server.epoch()), (Ok(2), 2));
    // 40 MB had to go and 50 MB to come, at 400 MB a second.
    assert!(pause(&server) >= 0.125, "{}", pause(&server));
    assert_eq!(held(&server, "sim:0", "weights"), 50_000_000);
    until("nothing waits on the host any more", || {
        held(&server, "cpu", "weights") == 0
    });
    assert_eq!(held(&server, "sim:0", "workspace"), 2 * 8);
    assert_eq!(outcome(&server, "applied"), 1);
    let log = server.stop();
    let plan = "sim:0: stage on host, 40000008 bytes before, 90000024 with both, 50000016 after, limit 64000000";
    assert!(log.contains(plan), "{log}");
    assert!(log.contains("pause="), "{log}");
}

#[test]
fn blocks_of_the_host_go_before_others_come() {
    let limit = "[devices.cpu]\nmemory_mb = 64\n";
    let files = Files::new(&chain("cpu", &[40], limit));
    let server = files.serve();
    under_load(&server, &[1, 2], || {
        for weights in [&[30_u32, 20][..], &[40], &[50, 1]] {
            files.write(&chain("cpu", weights, limit));
            let response = server.load("p");
            assert_eq!(response.status, 200, "{}", response.text());
        }
    });
    assert_eq!((ask(&server, "p", "t0"), server.epoch()), (Ok(2), 4));
    assert!(pause(&server) > 0.0);
    assert_eq!(held(&server, "cpu", "weights"), 51_000_000);
    let log = server.stop();
    assert!(
        log.contains("cpu: evict first, 40000000 bytes before"),
        "{log}"
    );
}

#[test]
fn blocks_of_workers_go_before_others_come_and_share_a_device_with_the_rest() {
    let text = |weights: &[u32], memory: u32| {
        let apart = "device = \"sim:0\"\nisolation = \"process\"";
        chain("sim:0", weights, &sim(memory)).replacen("device = \"sim:0\"", apart, 1)
    };
    // Each process for itself would have room.
    let told = Files::new(&text(&[40, 40], 64)).refusal();
    assert!(told.contains("its blocks need 80000016"), "{told}");
    let files = Files::new(&text(&[40], 64));
    let server = files.serve();
    under_load(&server, &[1, 2], || {
        files.write(&text(&[30, 20], 64));
        let response = server.load("p");
        assert_eq!(response.status, 200, "{}", response.text());
    });
    assert_eq!(ask(&server, "p", "t0"), Ok(2));
    until("both processes are counted", || {
        held(&server, "sim:0", "weights") == 50_000_000
    });
    let log = server.stop();
    assert!(log.contains("sim:0: evict first"), "{log}");
}

#[test]
fn what_does_not_fit_at_all_is_refused_with_numbers_before_anything_goes() {
    let files = Files::new(&chain("sim:0", &[40], &sim(64)));
    let server = files.serve();
    under_load(&server, &[1], || {
        files.write(&chain("sim:0", &[40, 30], &sim(64)));
        let response = server.load("p");
        assert_eq!(response.status, 400);
        let told = response.text();
        let numbers = "has room for 64000000 bytes, and its blocks need 70000016";
        assert!(told.contains(numbers), "{told}");
        assert!(told.contains("raise memory_mb"), "{told}");
    });
    assert_eq!((ask(&server, "p", "t0"), server.epoch()), (Ok(1), 1));
    assert_eq!(held(&server, "sim:0", "weights"), 40_000_000);
    assert_eq!(server.metric("blockflow_requests_held_total"), 0);
    assert_eq!(outcome(&server, "rejected"), 1);
}

#[test]
fn a_lower_limit_holds_once_it_is_applied_and_not_where_it_is_not() {
    let files = Files::new(&chain("sim:0", &[40], &sim(64)));
    let server = files.serve();
    let limit = || server.sample("blockflow_device_memory_limit_bytes{device=\"sim:0\"}");
    files.write(&chain("sim:0", &[40], &sim(30)));
    assert_eq!(server.load("p").status, 400);
    assert_eq!(limit(), Some(64_000_000));
    files.write(&chain("sim:0", &[40], &sim(41)));
    assert_eq!(server.load("p").status, 200);
    assert_eq!(limit(), Some(41_000_000));
    assert_eq!(ask(&server, "p", "t0"), Ok(1));
}

/// SWAP-2 where the old epoch has to go first.
#[test]
fn where_the_new_one_fails_the_old_one_comes_again() {
    for kind in ["error", "out_of_memory"] {
        let fault = |text: &str| {
            format!(
                "{text}faults = [{{ at = \"load\", kind = \"{kind}\", after = 2, block = \"b0\" }}]\n"
            )
        };
        let files = Files::new(&chain("sim:0", &[40], &fault(&sim(64))));
        let server = files.serve();
        under_load(&server, &[1, 2], || {
            files.write(&chain("sim:0", &[30, 20], &fault(&sim(64))));
            assert_eq!(server.load("p").status, 200);
            // The third time that the block is loaded.
            files.write(&chain("sim:0", &[40], &fault(&sim(64))));
            let response = server.load("p");
            assert_eq!(response.status, 400);
            let told = response.text();
            assert!(
                told.contains("block \\\"b0\\\" could not be placed"),
                "{told}"
            );
        });
        assert_eq!((ask(&server, "p", "t0"), server.epoch()), (Ok(2), 2));
        assert_eq!(held(&server, "sim:0", "weights"), 50_000_000);
        assert_eq!(held(&server, "sim:0", "workspace"), 2 * 8);
        assert_eq!(held(&server, "cpu", "weights"), 0);
        assert_eq!(
            (
                outcome(&server, "rolled_back"),
                outcome(&server, "rejected")
            ),
            (1, 0)
        );
        assert!(pause(&server) >= 0.125);
        // Then it works.
        assert_eq!(server.load("p").status, 200);
        assert_eq!((ask(&server, "p", "t0"), server.epoch()), (Ok(1), 3));
        let log = server.stop();
        assert!(log.contains("configuration rolled back"), "{log}");
    }
}

#[test]
fn what_went_first_is_read_again_where_the_new_one_fails() {
    let devices = "[devices.cpu]\nmemory_mb = 64\n[devices.\"sim:0\"]\n\
                   faults = [{ at = \"load\", kind = \"error\", after = 1 }]\n";
    let text = |weights: &[u32], latency: u32| {
        let far = mock_text(
            "far",
            ["t0", "y"],
            &format!("latency_ms = {latency}"),
            "device = \"sim:0\"",
        );
        format!(
            "{}{far}[pipelines.q]\nflow = [\"far\"]\n",
            chain("cpu", weights, devices)
        )
    };
    let files = Files::new(&text(&[40], 0));
    let server = files.serve();
    under_load(&server, &[1], || {
        files.write(&text(&[50], 1));
        let response = server.load("p");
        assert_eq!(response.status, 400);
        assert!(
            response.text().contains("fails loading"),
            "{}",
            response.text()
        );
    });
    assert_eq!(held(&server, "cpu", "weights"), 40_000_000);
    assert_eq!(ask(&server, "q", "t0"), Ok(1));
    assert_eq!((server.epoch(), outcome(&server, "rolled_back")), (1, 1));
}

#[test]
fn what_could_not_be_read_again_does_not_go() {
    let directory = tempfile::tempdir().unwrap();
    let original = fs::read(crate::cli::checkout("tests/data/digits/digits.onnx")).unwrap();
    let model = directory.path().join("model.onnx");
    fs::write(&model, &original).unwrap();
    let text = |name: &str, memory: f64| {
        format!(
            "[blocks.a]\nmodel = {:?}\noutputs = [\"features\"]\n[pipelines.p]\nflow = [\"a\"]\n\
             [devices.cpu]\nmemory_mb = {memory}\n",
            directory.path().join(name)
        )
    };
    // Room for one.
    let files = Files::new(&text("model.onnx", 1000.0));
    let server = files.serve();
    let bytes = held(&server, "cpu", "weights");
    let memory = bytes as f64 / 1e6;
    files.write(&text("model.onnx", memory));
    assert_eq!(server.load("p").status, 200);
    // Other weights under the same name: its largest run of them begins somewhere in the middle.
    let mut other = original.clone();
    let middle = weights_at(&original);
    other[middle] ^= 1;
    let replacement = directory.path().join("next.onnx");
    fs::write(&replacement, &other).unwrap();
    fs::rename(&replacement, &model).unwrap();
    let response = server.load("p");
    assert_eq!(response.status, 400, "{}", response.text());
    let told = response.text();
    assert!(
        told.contains("has another model in its file by now"),
        "{told}"
    );
    assert_eq!(server.epoch(), 2);
    assert_eq!(server.metric("blockflow_requests_held_total"), 0);
    // Beside the old one, it may.
    fs::write(&model, &original).unwrap();
    fs::write(directory.path().join("other.onnx"), &other).unwrap();
    files.write(&text("other.onnx", memory));
    let response = server.load("p");
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(held(&server, "cpu", "weights"), bytes);
    assert!(pause(&server) > 0.0);
}

/// Returns a place in a model file that is within a weight of the backbone: one whose change leaves the model readable and the
/// segment another one.
fn weights_at(original: &[u8]) -> usize {
    use blockflow::graph::Graph;
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("probe.onnx");
    let content = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let graph = Graph::read(&path).ok()?;
        let segment = graph.segment(None, Some(&["features".to_owned()])).ok()?;
        let hashes = segment.hashes(&mut |_| ());
        Some((hashes.structure, hashes.content))
    };
    let (structure, before) = content(original).unwrap();
    let places = (0..original.len()).step_by(101).skip(1);
    let mut found = places.filter(|&place| {
        let mut other = original.to_vec();
        other[place] ^= 1;
        content(&other).is_some_and(|(same, after)| same == structure && after != before)
    });
    found.next().expect("weights")
}

#[test]
fn as_many_wait_as_may_be_in_flight_and_none_past_its_deadline() {
    let limits = "[limits]\nin_flight_max = 3\n";
    let slow = |weights: u32, latency: u32, deadline: u32| {
        let more = format!("weights_mb = {weights}, latency_ms = {latency}");
        format!(
            "{}[pipelines.p]\nflow = [\"b0\"]\ndeadline_ms = 20000\n[pipelines.short]\nflow = [\"b0\"]\n\
             deadline_ms = {deadline}\n{}{limits}",
            mock_text("b0", ["t0", "t1"], &more, "device = \"sim:0\""),
            sim(64)
        )
    };
    let files = Files::new(&slow(40, 6000, 200));
    let server = files.serve();
    let held_total = || server.metric("blockflow_requests_held_total");
    thread::scope(|scope| {
        let early = scope.spawn(|| ask(&server, "p", "t0"));
        until("a request is in flight", || {
            server.metric("blockflow_requests_in_flight{pipeline=\"p\"}") == 1
        });
        files.write(&slow(50, 0, 200));
        let reload = scope.spawn(|| server.load("p").status);
        // It waits for the early one. A request whose deadline passes meanwhile is answered then.
        until("requests wait", || {
            let (status, told) = match ask(&server, "short", "t0") {
                Err(refused) => refused,
                Ok(_) => panic!("it was answered before the early one"),
            };
            assert_eq!(status, 504, "{told}");
            held_total() > 0
        });
        let (status, told) = ask(&server, "short", "t0").unwrap_err();
        assert_eq!(status, 504);
        assert!(told.contains("changed places"), "{told}");
        let waited = held_total();
        let patient: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| ask(&server, "p", "t0")))
            .collect();
        until("three wait", || held_total() == waited + 3);
        let (status, told) = ask(&server, "p", "t0").unwrap_err();
        assert_eq!(status, 503);
        assert!(told.contains("limits.in_flight_max"), "{told}");
        // Whoever asks whether it is ready hears that requests are taken.
        assert_eq!(server.get("/v2/models/p/ready").status, 200);
        assert_eq!(early.join().unwrap(), Ok(1));
        for one in patient {
            assert_eq!(one.join().unwrap(), Ok(1));
        }
        assert_eq!(reload.join().unwrap(), 200);
    });
    assert_eq!(server.epoch(), 2);
}

#[test]
fn a_stop_while_requests_wait_answers_them_all() {
    let text = |weights: u32, latency: u32| {
        let more = format!("weights_mb = {weights}, latency_ms = {latency}");
        format!(
            "{}[pipelines.p]\nflow = [\"b0\"]\ndeadline_ms = 20000\n{}[server]\ndrain_ms = 500\n",
            mock_text("b0", ["t0", "t1"], &more, "device = \"sim:0\""),
            sim(64)
        )
    };
    let files = Files::new(&text(40, 5000));
    let mut server = files.serve();
    thread::scope(|scope| {
        let server = &server;
        let early = scope.spawn(move || ask(server, "p", "t0"));
        until("a request is in flight", || {
            server.metric("blockflow_requests_in_flight{pipeline=\"p\"}") == 1
        });
        files.write(&text(50, 0));
        server.signal("HUP");
        let late = scope.spawn(move || {
            until("requests wait", || {
                server.sample("blockflow_device_memory_bytes{device=\"cpu\",kind=\"weights\"}")
                    == Some(50_000_000)
            });
            let waiting = scope.spawn(move || ask(server, "p", "t0"));
            until("one waits", || {
                server.metric("blockflow_requests_held_total") == 1
            });
            server.signal("TERM");
            waiting.join().unwrap()
        });
        let (status, told) = late.join().unwrap().unwrap_err();
        assert_eq!(status, 503, "{told}");
        assert!(told.contains("shutting down"), "{told}");
        // The early one had its time, or a clear refusal.
        match early.join().unwrap() {
            Ok(blocks) => assert_eq!(blocks, 1),
            Err((status, _)) => assert_eq!(status, 503),
        }
    });
    let (status, log) = server.wait();
    // With the early one answered, or not.
    assert!(matches!(status.code(), Some(0 | 5)), "{status}: {log}");
}

/// SWAP-3: what an epoch held is free once it has retired, or somebody is told whose it is.
#[test]
fn memory_that_outlives_its_block_is_told_by_name() {
    let leaky = |failure: &str| {
        format!(
            "{}{}[pipelines.p]\nflow = [\"leaky\"]\n[pipelines.q]\nflow = [\"sound\"]\n",
            mock_text("leaky", ["t0", "t1"], failure, ""),
            mock_text("sound", ["t0", "t1"], "", "")
        )
    };
    let files = Files::new(&leaky("failure = { leak_every = 2 }"));
    let server = files.serve();
    for _ in 0..6 {
        assert_eq!(ask(&server, "p", "t0"), Ok(1));
        assert_eq!(ask(&server, "q", "t0"), Ok(1));
    }
    let leaked = |block: &str| {
        let name = format!("blockflow_device_leaked_bytes{{device=\"cpu\",block=\"{block}\"}}");
        server.sample(&name)
    };
    // While the block lives, it is its own affair.
    assert_eq!(leaked("leaky"), None);
    files.write(&leaky(""));
    assert_eq!(server.load("p").status, 200);
    until("the leak is told", || leaked("leaky") == Some(3 * 4));
    assert_eq!(leaked("sound"), None);
    // It is not told of others.
    files.write(&leaky("latency_ms = 1"));
    assert_eq!(server.load("p").status, 200);
    until("the next is gone", || server.epoch() == 3);
    assert_eq!(leaked("leaky"), Some(3 * 4));
    let log = server.stop();
    let told = log.lines().filter(|line| line.contains("memory leaks"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("block=\"leaky\"") && told[0].contains("bytes=12"),
        "{told:?}"
    );
}

#[test]
fn weights_of_a_block_are_counted_once_wherever_it_moves() {
    let text = |isolation: &str| {
        format!(
            "{}[pipelines.p]\nflow = [\"b0\"]\n",
            mock_text("b0", ["t0", "t1"], "weights_mb = 7", isolation)
        )
    };
    let files = Files::new(&text(""));
    let server = files.serve();
    let counted = || {
        [
            server.sample("blockflow_block_weight_bytes{block=\"b0\"}"),
            server.sample("blockflow_device_memory_bytes{device=\"cpu\",kind=\"weights\"}"),
        ]
    };
    let once = [Some(7_000_000); 2];
    assert_eq!(counted(), once);
    for round in 0..2 {
        for isolation in ["isolation = \"process\"", "", "queue_max = 3", ""] {
            files.write(&text(isolation));
            assert_eq!(server.load("p").status, 200, "{round} {isolation}");
            assert_eq!(ask(&server, "p", "t0"), Ok(1));
            until("it is counted once", || counted() == once);
        }
    }
}
