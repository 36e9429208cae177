//! Two CUDA devices on a machine without any: tensors go from one to the other by a copy of the consumer's, directly where the
//! devices can, each has an account of its own, and one that is lost takes no other along.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use blockflow::engine::cuda::{Context, DeviceBuffer, devices, sweep};
use blockflow::engine::torch::allocator_memory;
use blockflow::engine::{Ledger, check_device};
use blockflow::types::{DType, Device, Tensor};
use serde_json::Value;

use crate::cli::stdout;
use crate::cuda_rehearsal::{DIGITS, LOSES, assert_close, host, images, network, prepared, run};
use crate::sim::held;
use crate::support::cuda::{device_or_skip, on_stage, rehearse_with};
use crate::support::files::Files;
use crate::support::server::{BINARY, Response, Server};
use crate::support::until;

const FIRST: Device = Device::Cuda(0);
const SECOND: Device = Device::Cuda(1);
const DEVICES: (&str, &str) = ("REHEARSAL_DEVICES", "2");
const NO_PEERS: (&str, &str) = ("REHEARSAL_PEERS", "0");

#[test]
fn tensors_go_from_device_to_device() {
    rehearse_with(
        "cuda_peers::inside_tensors_go_from_device_to_device",
        &[DEVICES],
    );
}

#[test]
#[ignore = "runs in a child process, over rehearsed devices"]
fn inside_tensors_go_from_device_to_device() {
    tensors_arrive();
    let [first, second] = [0, 1].map(|ordinal| Context::of(ordinal).unwrap());
    assert!(second.reads(&first).unwrap() && first.reads(&second).unwrap());
    let all = devices().unwrap();
    assert_eq!([&all[0].peers[..], &all[1].peers[..]], [&[1], &[0]]);
    assert_ne!((&all[0].uuid, &all[0].pci), (&all[1].uuid, &all[1].pci));
}

#[test]
fn tensors_go_through_the_host_where_devices_cannot_read_each_other() {
    rehearse_with(
        "cuda_peers::inside_tensors_go_through_the_host",
        &[DEVICES, NO_PEERS],
    );
}

#[test]
#[ignore = "runs in a child process, over rehearsed devices"]
fn inside_tensors_go_through_the_host() {
    tensors_arrive();
    let [first, second] = [0, 1].map(|ordinal| Context::of(ordinal).unwrap());
    assert!(!second.reads(&first).unwrap() && second.reads(&second).unwrap());
    assert!(devices().unwrap().iter().all(|one| one.peers.is_empty()));
}

#[test]
fn a_second_device_gets_tensors_on_a_device() {
    if device_or_skip().is_some() {
        match check_device(SECOND) {
            Ok(()) => tensors_arrive(),
            Err(error) => println!("skipped: a second device is needed: {error}"),
        }
    }
}

/// A backbone on one device and a head on the other give what both give on one, in both directions.
fn tensors_arrive() {
    let graph = network();
    let cut = ["features".to_owned()];
    let logits = ["digit_logits".to_owned()];
    let backbone = graph.segment(None, Some(&cut)).unwrap();
    let head = graph.segment(Some(&cut), Some(&logits)).unwrap();
    {
        let backbones = [FIRST, SECOND].map(|device| prepared(&backbone, device).unwrap());
        let heads = [FIRST, SECOND].map(|device| prepared(&head, device).unwrap());
        for device in [FIRST, SECOND] {
            assert!(Ledger::of(device).memory().weights > 0, "{device}");
        }
        let [mut near, mut far] = backbones.each_ref().map(|one| one.session().unwrap());
        let [mut here, mut there] = heads.each_ref().map(|one| one.session().unwrap());
        let mut flying = Vec::new();
        for round in 0..20 {
            let image = images(1 + round % 3, round);
            let features = run(&mut near, std::slice::from_ref(&image));
            let expected = run(&mut here, &features);
            let crossed = run(&mut there, &features);
            assert_eq!(crossed[0].device(), SECOND);
            // What was copied from may go before it has been.
            drop(features);
            let features = run(&mut far, &[image]);
            let back = run(&mut here, &features);
            flying.push((expected, crossed, back));
        }
        for (expected, crossed, back) in flying {
            let [expected, crossed, back] =
                [expected, crossed, back].map(|all| host(&all).remove(0));
            assert_eq!(crossed.bytes(), expected.bytes());
            assert_eq!(back.bytes(), expected.bytes());
        }
        batches_of_both(&mut near, &mut far, &mut there, &mut here);
    }
    // What was copied from is kept until somebody looks.
    sweep();
    for (ordinal, device) in [FIRST, SECOND].into_iter().enumerate() {
        let memory = Ledger::of(device).memory();
        assert_eq!((memory.weights, memory.workspace), (0, 0), "{device}");
        let ordinal = u16::try_from(ordinal).unwrap();
        assert_eq!(allocator_memory(ordinal).unwrap().used, 0, "{device}");
    }
}

type Run<'a> = &'a mut Box<dyn blockflow::engine::Session>;

/// A batch whose parts lie on both devices and on the host is put together where it is needed.
fn batches_of_both(near: Run<'_>, far: Run<'_>, there: Run<'_>, here: Run<'_>) {
    let image = |seed| images(1, seed);
    let mut parts = [
        run(near, &[image(1)]).remove(0),
        run(far, &[image(2)]).remove(0),
        run(near, &[image(3)]).remove(0),
    ];
    parts[2] = host(&parts[2..]).remove(0);
    let all: Vec<&Tensor> = parts.iter().collect();
    let joined = Tensor::join_rows(&all).unwrap();
    let [at, other] = [there, here].map(|session| {
        let outputs = run(session, std::slice::from_ref(&joined));
        host(&outputs).remove(0)
    });
    assert_close(&at, &other, "a batch of both");
}

#[test]
fn a_lost_device_leaves_the_other_as_it_was() {
    rehearse_with("cuda_peers::inside_a_lost_device", &[DEVICES]);
}

#[test]
#[ignore = "runs in a child process, over rehearsed devices"]
fn inside_a_lost_device() {
    let graph = network();
    let made = [FIRST, SECOND].map(|device| prepared(&graph, device).unwrap());
    let [mut first, mut second] = made.each_ref().map(|one| one.session().unwrap());
    let before = host(&run(&mut first, &[images(1, 1)]));
    let on_second = run(&mut second, &[images(1, 1)]);
    DeviceBuffer::new(&Context::of(1).unwrap(), LOSES).unwrap_err();
    let error = second.run(&[images(1, 1)]).unwrap_err();
    assert!(error.loses_device(), "{error}");
    assert!(error.to_string().contains("cuda:1"), "{error}");
    let after = host(&run(&mut first, &[images(1, 1)]));
    assert_eq!(after[0].bytes(), before[0].bytes());
    // What comes from the lost one says so, whoever asks for it.
    let error = blockflow::engine::to_host(&on_second[0]).unwrap_err();
    assert!(error.loses_device(), "{error}");
}

fn block(name: &str, cut: &str, keys: &str) -> String {
    format!("[blocks.{name}]\nmodel = \"digits.onnx\"\n{cut}\n{keys}\n")
}

const BACKBONE: &str = "outputs = [\"features\"]";
const HEAD: &str = "inputs = [\"features\"]\noutputs = [\"digit_logits\"]";
const WHOLE: &str = "outputs = [\"digit_logits\"]";

fn staged(environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(BINARY);
    on_stage(&mut command).env(DEVICES.0, DEVICES.1);
    command.envs(environment.iter().copied());
    command
}

fn served(text: &str, environment: &[(&str, &str)]) -> (Files, Server) {
    let files = Files::new(text);
    files.put("digits.onnx", DIGITS);
    let server = Server::try_start(staged(environment), &files.path(), &["--no-watch"]).unwrap();
    (files, server)
}

fn ask(server: &Server, pipeline: &str) -> Response {
    let image = images(1, 3);
    server.infer(pipeline, "image", "FP32", &[1, 1, 8, 8], image.bytes())
}

fn answer(server: &Server, pipeline: &str) -> Tensor {
    let response = ask(server, pipeline);
    assert_eq!(response.status, 200, "{}", response.text());
    Tensor::copy_of(DType::F32, vec![1, 10], response.binary()).unwrap()
}

/// A pipeline that fits on no device alone, and one on the host to compare with.
fn spread_over_two() -> String {
    let auto = "device = \"auto\"";
    let limits = ["cuda:0", "cuda:1"].map(|device| {
        // The backbone takes 217 kB, the head 3.
        format!("[devices.\"{device}\"]\nmemory_mb = 0.219\n")
    });
    format!(
        "{}{}{}{}[pipelines.far]\nflow = [\"a\", \"b\"]\n[pipelines.near]\nflow = [\"c\"]\n",
        block("a", BACKBONE, auto),
        block("b", HEAD, auto),
        block("c", WHOLE, "device = \"cpu\""),
        limits.concat(),
    )
}

fn explained(files: &Files, environment: &[(&str, &str)]) -> Value {
    let mut command = staged(environment);
    let output = command
        .args(["explain", "--format", "json"])
        .arg(files.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn blocks_are_spread_over_two_devices_and_say_how_tensors_go_between_them() {
    for (environment, copies, said) in [
        (&[][..], "between devices", "copies directly"),
        (&[NO_PEERS], "through host", "through the host"),
    ] {
        let (files, server) = served(&spread_over_two(), environment);
        let plan = explained(&files, environment);
        let blocks = plan["blocks"].as_array().unwrap();
        let mut places: Vec<_> = blocks
            .iter()
            .map(|block| block["device"].as_str().unwrap())
            .collect();
        places.sort_unstable();
        assert_eq!(places, ["cpu", "cuda:0", "cuda:1"], "{plan:#}");
        let pipelines = plan["pipelines"].as_array().unwrap();
        let far = pipelines.iter().find(|one| one["name"] == "far").unwrap();
        let mut edges = far["edges"].as_array().unwrap().iter();
        let between = edges.find(|edge| edge["tensor"]["name"] == "features");
        let between = between.unwrap();
        assert_eq!(between["copies"], copies, "{between:#}");
        let reason = between["reason"].as_str().unwrap();
        assert!(reason.contains(said), "{reason}");

        let near = answer(&server, "near");
        let copied = |block: &str| {
            let name = format!("blockflow_block_bytes_copied_total{{block=\"{block}\"}}");
            server.metric(&name)
        };
        let before = [copied("a"), copied("b")];
        const REQUESTS: i64 = 10;
        for _ in 0..REQUESTS {
            assert_close(&answer(&server, "far"), &near, "far");
        }
        // The image to the one device, its features to the other, the logits to the host.
        let features = between["tensor"]["shape"].as_array().unwrap().iter();
        let features = features.filter_map(Value::as_i64).product::<i64>();
        assert_eq!(copied("a") - before[0], REQUESTS * 4 * 64);
        assert_eq!(copied("b") - before[1], REQUESTS * 4 * (features + 10));
        for device in ["cuda:0", "cuda:1"] {
            assert!(held(&server, device, "weights") > 0, "{device}");
        }
        server.stop();
    }
}

#[test]
fn doctor_finds_both_devices_and_what_they_read() {
    for (environment, said) in [(&[][..], true), (&[NO_PEERS], false)] {
        let output = staged(environment)
            .args(["doctor", "--json"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let findings = report["findings"].as_array().unwrap();
        for (device, peer) in [("cuda:0", "cuda:1"), ("cuda:1", "cuda:0")] {
            let found = findings.iter().find(|one| one["check"] == device).unwrap();
            assert_eq!(found["status"], "ok", "{found:#}");
            let text = found["found"].as_str().unwrap();
            let reads = text.contains(&format!("copies directly from {peer}"));
            assert_eq!(reads, said, "{text}");
        }
    }
}

#[test]
fn a_device_that_a_worker_loses_is_replaced_while_the_other_serves() {
    let text = format!(
        "{}{}[pipelines.zero]\nflow = [\"a\"]\n[pipelines.one]\nflow = [\"b\"]\ndeadline_ms = 20000\n",
        block("a", WHOLE, "device = \"cuda:0\""),
        block("b", WHOLE, "device = \"cuda:1\"\nprocess = \"w\""),
    );
    let scratch = tempfile::tempdir().unwrap();
    let trouble = scratch.path().join("trouble");
    let path = trouble.display().to_string();
    let (_files, server) = served(&text, &[("REHEARSAL_TROUBLE", path.as_str())]);
    let before = [answer(&server, "zero"), answer(&server, "one")];
    let id = server.id();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut asked = 0;
            while !stop.load(Ordering::Acquire) {
                assert_eq!(answer(&server, "zero").bytes(), before[0].bytes());
                asked += 1;
            }
            asked
        });
        fs::write(&trouble, "lose 1").unwrap();
        // Sent again once the worker is another one.
        let response = ask(&server, "one");
        until("its worker was replaced", || {
            !trouble.exists()
                && server.sample("blockflow_block_faults_total{block=\"b\",kind=\"device_lost\"}")
                    >= Some(1)
        });
        until("it is back", || ask(&server, "one").status == 200);
        stop.store(true, Ordering::Release);
        assert!(others.join().unwrap() > 0, "{}", response.text());
    });
    assert_eq!(answer(&server, "one").bytes(), before[1].bytes());
    assert_eq!(server.id(), id);
    server.stop();
}

#[test]
fn a_device_that_the_main_process_loses_comes_back_with_all_others() {
    let text = format!(
        "{}{}[pipelines.zero]\nflow = [\"a\"]\n[pipelines.one]\nflow = [\"b\"]\ndeadline_ms = 20000\n",
        block("a", WHOLE, "device = \"cuda:0\""),
        block("b", WHOLE, "device = \"cuda:1\""),
    );
    let scratch = tempfile::tempdir().unwrap();
    let trouble = scratch.path().join("trouble");
    let path = trouble.display().to_string();
    let (_files, server) = served(&text, &[("REHEARSAL_TROUBLE", path.as_str())]);
    let before = [answer(&server, "zero"), answer(&server, "one")];
    fs::write(&trouble, "lose 1").unwrap();
    // Another device's waits do not find it.
    assert_eq!(answer(&server, "zero").bytes(), before[0].bytes());
    assert!(trouble.exists());
    let response = ask(&server, "one");
    let told = response.text();
    assert_eq!(response.status, 503, "{told}");
    assert!(told.contains("cuda:1 is lost"), "{told}");
    until("it is another process", || {
        server.sample("blockflow_replacements_total") >= Some(1)
    });
    until("both are back", || {
        ["zero", "one"].map(|name| ask(&server, name).status) == [200, 200]
    });
    for (name, before) in ["zero", "one"].into_iter().zip(before) {
        assert_eq!(answer(&server, name).bytes(), before.bytes());
    }
    server.stop();
}
