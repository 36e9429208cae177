//! Blocks on one device in processes of their own, over the rehearsed device: tensors go from one to the other in memory of the
//! device, and where they cannot, through the host, which is told.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use blockflow::graph::Graph;
use blockflow::types::{DType, Dim, Tensor};
use prost::Message as _;

use crate::graph_file::*;
use crate::processes::workers;
use crate::sim::held;
use crate::support::cuda::on_stage;
use crate::support::files::Files;
use crate::support::server::{BINARY, Server, signal};
use crate::support::until;

const DIGITS: &[u8] = include_bytes!("../data/digits/digits.onnx");

/// Returns the bytes of what the first block gives the second for one image.
fn feature_bytes() -> i64 {
    let files = Files::new("");
    files.put("digits.onnx", DIGITS);
    let graph = Graph::read(&files.at("digits.onnx")).unwrap();
    let graph = graph.segment(None, Some(&["features".to_owned()])).unwrap();
    let shape = &graph.signature().unwrap().outputs[0].shape.0;
    let sizes = shape.iter().map(|dim| match dim {
        Dim::Fixed(size) => *size as i64,
        Dim::Symbol(_) | Dim::Any => 1,
    });
    4 * sizes.product::<i64>()
}

fn image(seed: usize) -> Tensor {
    let pixels: Vec<f32> = (0..64)
        .map(|place| ((place * 31 + seed * 17) % 17) as f32)
        .collect();
    Tensor::copy_of(DType::F32, vec![1, 1, 8, 8], bytemuck::cast_slice(&pixels)).unwrap()
}

/// Two pipelines of the same two blocks on the device: `apart` in processes of their own, `together` in one.
fn serving(environment: &[(&str, &str)]) -> (Files, Server) {
    let block = |name: &str, cut: &str, rest: &str| {
        format!(
            "[blocks.{name}]\nmodel = \"digits.onnx\"\n{cut}\ndevice = \"cuda:0\"\n{rest}\n\
             restart = {{ budget = 1000, backoff_min_ms = 1, backoff_max_ms = 50 }}\n"
        )
    };
    let (first, last) = (
        "outputs = [\"features\"]",
        "inputs = [\"features\"]\noutputs = [\"digit_logits\"]",
    );
    let own = "isolation = \"process\"";
    let files = Files::new(&format!(
        "{}{}{}{}[pipelines.apart]\nflow = [\"a\", \"b\"]\ndeadline_ms = 20000\n\
         [pipelines.together]\nflow = [\"c\", \"d\"]\ndeadline_ms = 20000\n",
        block("a", first, own),
        block("b", last, own),
        block("c", first, ""),
        block("d", last, ""),
    ));
    files.put("digits.onnx", DIGITS);
    let mut command = Command::new(BINARY);
    on_stage(&mut command).envs(environment.iter().copied());
    let server = Server::try_start(command, &files.path(), &["--no-watch"]).unwrap();
    (files, server)
}

fn ask(server: &Server, pipeline: &str, seed: usize) -> Result<Vec<u8>, String> {
    let pixels = image(seed);
    let response = server.infer(pipeline, "image", "FP32", &[1, 1, 8, 8], pixels.bytes());
    match response.status {
        200 => Ok(response.binary().to_vec()),
        status => Err(format!("{status}: {}", response.text())),
    }
}

fn count(server: &Server, name: &str, block: &str) -> i64 {
    let name = format!("blockflow_block_{name}_total{{block=\"{block}\"}}");
    server.sample(&name).unwrap_or(0)
}

/// Waits until a worker has told so much.
fn counted(server: &Server, name: &str, block: &str, expected: i64) {
    until(&format!("{name} of {block} is {expected}"), || {
        count(server, name, block) == expected
    });
}

#[test]
fn processes_on_one_device_exchange_tensors_without_the_host() {
    let (_files, server) = serving(&[]);
    assert_eq!(workers(server.id()).len(), 2);
    const REQUESTS: i64 = 25;
    let (image, features, logits) = (4 * 64, feature_bytes(), 4 * 10);
    // What shows that a block runs lies on the host.
    ask(&server, "apart", 0).unwrap();
    counted(&server, "bytes_pooled", "a", features);
    counted(&server, "bytes_sent", "b", logits);
    let before = ["a", "b"].map(|block| count(&server, "bytes_copied", block));
    for seed in 1..=REQUESTS as usize {
        let [apart, together] = ["apart", "together"].map(|name| ask(&server, name, seed).unwrap());
        assert_eq!(apart, together, "{seed}");
    }
    // An image to the device and logits from it, and nothing between the blocks.
    counted(&server, "bytes_pooled", "a", (1 + REQUESTS) * features);
    counted(&server, "bytes_sent", "b", (1 + REQUESTS) * logits);
    let after = ["a", "b"].map(|block| count(&server, "bytes_copied", block));
    // Once more where it lies across its elements in the message that it came in.
    let images = (after[0] - before[0]) / (REQUESTS * image);
    assert_eq!(after[0] - before[0], images * REQUESTS * image);
    assert!((1..=2).contains(&images), "{images}");
    assert_eq!(after[1] - before[1], REQUESTS * logits);
    assert_eq!(count(&server, "pool_fallbacks", "a"), 0);
    assert_eq!(count(&server, "bytes_pooled", "c"), 0);
}

/// Returns how many pools a process has mapped, its own and others'.
fn pools_mapped(process: u32) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
    maps.matches("memfd:rehearsal-memory").count()
}

#[test]
fn a_worker_that_is_killed_under_load_is_replaced_and_its_part_of_a_pool_comes_back() {
    let (_files, server) = serving(&[]);
    let expected: Vec<Vec<u8>> = (0..8)
        .map(|seed| ask(&server, "together", seed).unwrap())
        .collect();
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..3_usize {
            let (server, expected, done, answered) = (&server, &expected, &done, &answered);
            scope.spawn(move || {
                let mut seed = client;
                while !done.load(Ordering::SeqCst) {
                    seed = (seed + 1) % expected.len();
                    // Lost twice, or nobody there yet: refused, and never wrong.
                    match ask(server, "apart", seed) {
                        Ok(answer) => {
                            assert_eq!(answer, expected[seed]);
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(told) => assert!(told.starts_with("503"), "{told}"),
                    }
                }
            });
        }
        for round in 0..6_usize {
            let before = answered.load(Ordering::SeqCst);
            until("it is answered", || {
                answered.load(Ordering::SeqCst) > before + 10
            });
            let all = workers(server.id());
            let victim = all[round % all.len()];
            assert!(signal(victim, "KILL"));
        }
        let before = answered.load(Ordering::SeqCst);
        until("it is answered again", || {
            answered.load(Ordering::SeqCst) > before + 10
        });
        done.store(true, Ordering::SeqCst);
    });
    let before = count(&server, "bytes_pooled", "a");
    for (seed, expected) in expected.iter().enumerate() {
        assert_eq!(ask(&server, "apart", seed).unwrap(), *expected);
    }
    // One pool each at most: a's own, and what b has mapped of it. Those of the dead are gone, and nothing had a name.
    until("what was mapped of the dead is closed", || {
        let mut all = workers(server.id()).into_iter();
        all.all(|worker| pools_mapped(worker) <= 1)
    });
    let names = fs::read_dir("/dev/shm").unwrap();
    for name in names {
        let name = name.unwrap().file_name().into_string().unwrap();
        assert!(
            !name.contains("rehearsal") && !name.contains("blockflow"),
            "{name}"
        );
    }
    until("tensors lie in a pool again", || {
        count(&server, "bytes_pooled", "a") >= before + feature_bytes()
    });
}

#[test]
fn a_pool_of_a_process_that_goes_on_is_used_again_by_the_next_epoch() {
    let text = |window: usize| {
        format!(
            "[blocks.a]\nmodel = \"digits.onnx\"\noutputs = [\"features\"]\ndevice = \"cuda:0\"\n\
             [blocks.b]\nmodel = \"digits.onnx\"\ninputs = [\"features\"]\noutputs = [\"digit_logits\"]\n\
             device = \"cuda:0\"\nisolation = \"process\"\nqueue_max = {window}\n\
             [pipelines.apart]\nflow = [\"a\", \"b\"]\ndeadline_ms = 20000\n"
        )
    };
    let files = Files::new(&text(4));
    files.put("digits.onnx", DIGITS);
    let mut command = Command::new(BINARY);
    on_stage(&mut command);
    let server = Server::try_start(command, &files.path(), &["--no-watch"]).unwrap();
    let expected = ask(&server, "apart", 1).unwrap();
    const POOL: i64 = 32 << 20;
    let workspace = held(&server, "cuda:0", "workspace");
    assert!(workspace > POOL, "{workspace}");
    for round in 1..=4_u32 {
        files.write(&text(4 + round as usize));
        server.signal("HUP");
        until("the next epoch serves", || server.epoch() == 1 + round);
        assert_eq!(ask(&server, "apart", 1).unwrap(), expected);
        until("the epoch before is gone", || {
            held(&server, "cuda:0", "workspace") == workspace + POOL
                && workers(server.id()).len() == 1
        });
    }
    // That of the epoch that serves, and the one that is next, which is accounted, too.
    assert_eq!(pools_mapped(server.id()), 2);
    assert!(count(&server, "bytes_pooled", "a") >= 4 * feature_bytes());
}

/// Two blocks of their own processes, between which one number becomes 4096.
fn wide(rest: &str) -> (Files, Server) {
    let block = |name: &str, cut: &str| {
        format!(
            "[blocks.{name}]\nmodel = \"wide.onnx\"\n{cut}\ndevice = \"cuda:0\"\nisolation = \"process\"\n"
        )
    };
    let files = Files::new(&format!(
        "{}{}[pipelines.apart]\nflow = [\"a\", \"b\"]\ndeadline_ms = 60000\n{rest}",
        block("a", "outputs = [\"t\"]"),
        block("b", "inputs = [\"t\"]"),
    ));
    let nodes = vec![
        node("MatMul", &["x", "wide"], &["t"]),
        node("MatMul", &["t", "narrow"], &["y"]),
    ];
    let width = WIDTH as i64;
    let weights = vec![floats("wide", &[1, width]), floats("narrow", &[width, 1])];
    files.put(
        "wide.onnx",
        &model(17, "1,n,1", nodes, weights).encode_to_vec(),
    );
    let mut command = Command::new(BINARY);
    on_stage(&mut command);
    let server = Server::try_start(command, &files.path(), &["--no-watch"]).unwrap();
    (files, server)
}

const WIDTH: usize = 4096;

fn ask_wide(server: &Server, rows: usize) {
    let numbers: Vec<f32> = (0..rows).map(|place| (place % 7) as f32).collect();
    let bytes = bytemuck::cast_slice(&numbers);
    let response = server.infer("apart", "x", "FP32", &[1, rows, 1], bytes);
    assert_eq!(response.status, 200, "{}", response.text());
    let expected: Vec<f32> = numbers
        .iter()
        .map(|one| one * 0.25 * WIDTH as f32)
        .collect();
    let seen: Vec<f32> = bytemuck::pod_collect_to_vec(response.binary());
    assert_eq!(seen, expected);
}

#[test]
fn a_tensor_that_is_larger_than_the_pool_goes_through_the_host_and_is_counted() {
    let (_files, server) = wide("");
    let row = 4 * WIDTH as i64;
    ask_wide(&server, 3);
    counted(&server, "bytes_pooled", "a", 3 * row);
    // 48 MiB.
    ask_wide(&server, 3072);
    counted(&server, "pool_fallbacks", "a", 1);
    ask_wide(&server, 5);
    counted(&server, "bytes_pooled", "a", 8 * row);
    assert_eq!(count(&server, "pool_fallbacks", "a"), 1);
}

#[test]
fn where_a_device_has_no_room_for_a_pool_tensors_go_through_the_host() {
    let (_files, server) = wide("[devices.\"cuda:0\"]\nmemory_mb = 16\n");
    ask_wide(&server, 3);
    counted(&server, "pool_fallbacks", "a", 1);
    assert_eq!(count(&server, "bytes_pooled", "a"), 0);
}

#[test]
fn explain_says_what_happens_on_this_machine() {
    let (files, server) = wide("");
    drop(server);
    let told = |environment: &[(&str, &str)]| {
        let mut command = Command::new(BINARY);
        on_stage(&mut command).envs(environment.iter().copied());
        let output = command.arg("explain").arg(files.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let pool = told(&[]);
    assert!(pool.contains("ipc device-memory pool"), "{pool}");
    let host = told(&[("REHEARSAL_NO_IPC", "1")]);
    assert!(!host.contains("device-memory pool"), "{host}");
    assert!(host.contains("does not share its memory"), "{host}");
}

#[test]
fn where_the_driver_shares_no_memory_tensors_go_through_the_host_and_are_counted() {
    let (_files, server) = serving(&[("REHEARSAL_NO_IPC", "1")]);
    const REQUESTS: usize = 10;
    for seed in 0..REQUESTS {
        let [apart, together] = ["apart", "together"].map(|name| ask(&server, name, seed).unwrap());
        assert_eq!(apart, together, "{seed}");
    }
    counted(&server, "pool_fallbacks", "a", REQUESTS as i64);
    assert_eq!(count(&server, "bytes_pooled", "a"), 0);
}
