//! Simulated devices around the real binary: the same results as on the CPU, copies counted, memory bounded, and each fault as it
//! is declared.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use blockflow::types::{Device, DeviceFault, Due, FaultPoint};

use crate::config_places::{refused, sound};
use crate::support::files::{Files, mock_text};
use crate::support::server::Server;
use crate::support::until;

const QUICK: &str = "restart = { budget = 1000, backoff_min_ms = 1, backoff_max_ms = 2 }";

/// Asks a pipeline of 4-byte mocks; returns how many blocks added one, or the status and what it says.
pub(crate) fn ask(server: &Server, pipeline: &str, input: &str) -> Result<u8, (u16, String)> {
    let response = server.infer(pipeline, input, "UINT8", &[1, 4], &[1, 2, 3, 4]);
    if response.status != 200 {
        return Err((response.status, response.text()));
    }
    let bytes: [u8; 4] = response.binary().try_into().unwrap();
    let added = bytes[0] - 1;
    assert_eq!(bytes, [1, 2, 3, 4].map(|byte| byte + added));
    Ok(added)
}

pub(crate) fn held(server: &Server, device: &str, kind: &str) -> i64 {
    let name = format!("blockflow_device_memory_bytes{{device=\"{device}\",kind=\"{kind}\"}}");
    server.metric(&name)
}

#[test]
fn a_device_is_read_as_it_is_written() {
    for (text, device) in [
        ("cpu", Device::Cpu),
        ("sim:0", Device::Sim(0)),
        ("sim:65535", Device::Sim(65535)),
        ("cuda:3", Device::Cuda(3)),
    ] {
        assert_eq!(text.parse(), Ok(device));
        assert_eq!(device.to_string(), text);
    }
    for text in ["sim", "sim:", "sim:65536", "sim:-1", "Sim:0", "sim:0:0"] {
        assert!(text.parse::<Device>().is_err(), "{text}");
    }
}

#[test]
fn what_is_said_of_devices_is_understood() {
    let text = format!(
        "{}[pipelines.p]\nflow = [\"a\"]\n\
         [devices.cpu]\nmemory_mb = 0.5\n[devices.\"sim:1\"]\nmemory_mb = 64\ncopy_mb_s = 2.5\n\
         faults = [{{ at = \"load\", kind = \"hang\", hang_ms = 3, after = 0, block = \"a\" }}, \
         {{ at = \"run\", kind = \"out_of_memory\", every = 7 }}]\n",
        mock_text("a", ["x", "y"], "", "device = \"sim:1\"")
    );
    let spec = sound(&text);
    assert_eq!(spec.blocks[0].device, Device::Sim(1));
    let [cpu, sim] = spec.devices.as_slice() else {
        panic!("{:?}", spec.devices)
    };
    assert_eq!(cpu.memory_bytes, Some(500_000));
    assert_eq!(sim.memory_bytes, Some(64_000_000));
    assert_eq!(sim.copy_bytes_per_s, Some(2_500_000));
    let [hang, memory] = sim.faults.as_slice() else {
        panic!("{:?}", sim.faults)
    };
    assert!(matches!(hang.kind, DeviceFault::Hang { time } if time.as_millis() == 3));
    assert_eq!((hang.at, hang.due), (FaultPoint::Load, Due::After(0)));
    assert_eq!(hang.block.as_deref(), Some("a"));
    assert_eq!((memory.at, memory.due), (FaultPoint::Run, Due::Every(7)));
    assert_eq!(memory.kind, DeviceFault::OutOfMemory);
}

#[test]
fn what_makes_no_sense_of_devices_is_refused_with_what_would() {
    let sim = |text: &str| format!("[devices.\"sim:0\"]\n{text}\n");
    let fault = |text: &str| sim(&format!("faults = [{{ {text} }}]"));
    for (text, told) in [
        (
            "[devices.gpu]\n".to_owned(),
            "devices.gpu: is named \"gpu\"; expected \"cpu\", \"cuda:0\" or \"sim:0\"",
        ),
        ("[devices.\"sim:00\"]\n".to_owned(), "is named \"sim:00\""),
        (
            "devices = 3\n".to_owned(),
            "devices: is 3; expected a table",
        ),
        (
            "[devices.cpu]\nmemory_mb = 0\n".to_owned(),
            "devices.cpu.memory_mb: is 0; expected millions of bytes, above 0",
        ),
        (
            "[devices.cpu]\ncopy_mb_s = 1\n".to_owned(),
            "devices.cpu.copy_mb_s: is no key of a device that is not simulated",
        ),
        (sim("memory_mb = -1"), "devices.sim:0.memory_mb: is -1"),
        (sim("copy_mb_s = \"fast\""), "copy_mb_s: is \"fast\""),
        (sim("faults = []"), "faults: is an empty list"),
        (sim("memory = 1"), "did you mean \"memory_mb\"?"),
        (
            fault("at = \"start\", kind = \"error\", every = 1"),
            "devices.sim:0.faults[0].at: is \"start\"",
        ),
        (
            fault("at = \"run\", kind = \"stiky\", every = 1"),
            "did you mean \"sticky\"?",
        ),
        (
            fault("at = \"run\", kind = \"error\""),
            "does not say when; expected exactly one of every and after",
        ),
        (
            fault("at = \"run\", kind = \"error\", every = 1, after = 1"),
            "has every and after",
        ),
        (
            fault("at = \"run\", kind = \"error\", every = 0"),
            "every: is 0",
        ),
        (
            fault("at = \"run\", kind = \"hang\", every = 1"),
            "hang_ms: is missing",
        ),
        (
            fault("at = \"run\", kind = \"error\", hang_ms = 3, every = 1"),
            "hang_ms: is no key of a fault",
        ),
    ] {
        refused(&text, &[told]);
    }
}

#[test]
fn a_fault_of_a_block_that_is_none_is_refused() {
    let files = Files::new(&format!(
        "{}[pipelines.p]\nflow = [\"alpha\"]\n[devices.\"sim:0\"]\n\
         faults = [{{ at = \"run\", kind = \"error\", every = 1, block = \"alpa\" }}]\n",
        mock_text("alpha", ["x", "y"], "", "device = \"sim:0\"")
    ));
    let told = files.refusal();
    assert!(told.contains("faults[0].block: is \"alpa\""), "{told}");
    assert!(told.contains("did you mean \"alpha\"?"), "{told}");
}

#[test]
fn results_are_those_of_the_cpu_to_the_last_bit() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits/digits.onnx");
    let block = |name: &str, cut: &str, device: &str| {
        format!("[blocks.{name}]\nmodel = {model:?}\n{cut}\ndevice = \"{device}\"\n")
    };
    let (first, last) = (
        "outputs = [\"features\"]",
        "inputs = [\"features\"]\noutputs = [\"digit_logits\"]",
    );
    let files = Files::new(&format!(
        "{}{}{}{}{}[pipelines.whole]\nflow = [\"a\", \"b\"]\n[pipelines.far]\nflow = [\"c\", \"d\"]\n\
         [pipelines.back]\nflow = [\"c\", \"e\"]\n[devices.\"sim:0\"]\ncopy_mb_s = 100\n",
        block("a", first, "cpu"),
        block("b", last, "cpu"),
        block("c", first, "sim:0"),
        block("d", last, "sim:1"),
        block("e", last, "cpu"),
    ));
    let server = files.serve();
    let image: Vec<u8> = (0..64)
        .flat_map(|pixel: u16| f32::from(pixel % 17).to_le_bytes())
        .collect();
    let answer = |pipeline: &str| {
        let response = server.infer(pipeline, "image", "FP32", &[1, 1, 8, 8], &image);
        assert_eq!(response.status, 200, "{}", response.text());
        response.binary().to_vec()
    };
    let whole = answer("whole");
    assert_eq!(whole.len(), 40);
    assert_eq!(answer("far"), whole);
    assert_eq!(answer("back"), whole);
    let copied = |block: &str| {
        let name = format!("blockflow_block_bytes_copied_total{{block=\"{block}\"}}");
        server.metric(&name)
    };
    // An image to each run of c, features to d and e, and from d its answer to the gateway; warming has inputs of the host too.
    let [image, features, logits] = [4 * 64, 4 * 64, 4 * 10];
    assert_eq!((copied("a"), copied("b")), (0, 0));
    assert_eq!(copied("c"), 3 * image);
    assert_eq!(copied("d"), 2 * features + logits);
    assert_eq!(copied("e"), features);
    // What lies on a device is counted there, and equal weights on two devices lie on both.
    let weights = [
        held(&server, "sim:0", "weights"),
        held(&server, "sim:1", "weights"),
    ];
    assert!(weights[0] > 0 && weights[1] > 0, "{weights:?}");
    assert_eq!(held(&server, "sim:1", "workspace"), features + logits);
}

#[test]
fn memory_is_bounded_when_blocks_are_loaded() {
    let block = |name: &str, ends: [&str; 2]| {
        mock_text(name, ends, "weights_mb = 40", "device = \"sim:0\"")
    };
    let text = |memory: u32| {
        format!(
            "{}{}[pipelines.p]\nflow = [\"a\", \"b\"]\n[devices.\"sim:0\"]\nmemory_mb = {memory}\n",
            block("a", ["x", "y"]),
            block("b", ["y", "z"])
        )
    };
    let files = Files::new(&text(64));
    let told = files.refusal();
    let numbers = "device sim:0 has room for 64000000 bytes, and its blocks need 80000016 (\"a\" 40000008, \"b\" 40000008)";
    assert!(told.contains(numbers), "{told}");
    files.write(&text(81));
    let server = files.serve();
    assert_eq!(ask(&server, "p", "x"), Ok(2));
    assert_eq!(held(&server, "sim:0", "weights"), 80_000_000);
    assert_eq!(held(&server, "sim:0", "workspace"), 2 * 8);
    let limit = server.metric("blockflow_device_memory_limit_bytes{device=\"sim:0\"}");
    assert_eq!(limit, 81_000_000);
    // They are on the device, so they are not on the host.
    assert_eq!(held(&server, "cpu", "weights"), 0);
}

#[test]
fn memory_is_bounded_when_blocks_run_and_free_again_afterwards() {
    let tensors =
        |name: &str| format!("[{{ name = \"{name}\", datatype = \"UINT8\", shape = [\"n\"] }}]");
    let files = Files::new(&format!(
        "[blocks.a]\nmock = {{ inputs = {}, outputs = {} }}\ndevice = \"sim:0\"\n\
         [pipelines.p]\nflow = [\"a\"]\n[devices.\"sim:0\"]\nmemory_mb = 0.1\n",
        tensors("x"),
        tensors("y")
    ));
    let server = files.serve();
    let run = |bytes: usize| server.infer("p", "x", "UINT8", &[bytes], &vec![7; bytes]);
    for _ in 0..3 {
        let response = run(60_000);
        assert_eq!(response.status, 500);
        assert!(
            response.text().contains("out of memory"),
            "{}",
            response.text()
        );
        assert!(response.text().contains("100000"), "{}", response.text());
        assert_eq!(run(40_000).binary(), vec![8; 40_000]);
        assert_eq!(held(&server, "sim:0", "workspace"), 2);
    }
    // It is the request's own fault, if anybody's: the block was not rebuilt.
    assert_eq!(
        server.metric("blockflow_block_restarts_total{block=\"a\"}"),
        0
    );
}

/// Two pipelines, one on a device with a fault and one beside it.
fn faulty(fault: &str, rest: &str) -> String {
    format!(
        "{}{}[pipelines.p]\nflow = [\"a\"]\ndeadline_ms = 20000\n[pipelines.q]\nflow = [\"b\"]\n\
         [devices.\"sim:0\"]\nfaults = [{{ {fault} }}]\n",
        mock_text(
            "a",
            ["x", "y"],
            "",
            &format!("device = \"sim:0\"\n{QUICK}\n{rest}")
        ),
        mock_text("b", ["x", "y"], "", "")
    )
}

#[test]
fn a_run_finds_too_little_memory_as_declared() {
    let fault = "at = \"run\", kind = \"out_of_memory\", every = 3";
    let server = Files::new(&faulty(fault, "")).serve();
    for run in 1..10 {
        match ask(&server, "p", "x") {
            Ok(1) => assert_ne!(run % 3, 0),
            Err((500, told)) => {
                assert!(
                    run % 3 == 0 && told.contains("sim:0 is out of memory"),
                    "{told}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        server.metric("blockflow_block_restarts_total{block=\"a\"}"),
        0
    );
}

#[test]
fn a_run_fails_as_declared_and_the_block_is_rebuilt() {
    let fault = "at = \"run\", kind = \"error\", after = 1, block = \"a\"";
    let server = Files::new(&faulty(fault, "")).serve();
    assert_eq!(ask(&server, "p", "x"), Ok(1));
    let (status, told) = ask(&server, "p", "x").unwrap_err();
    assert_eq!(status, 500);
    assert!(
        told.contains("sim:0 fails running block \\\"a\\\", as declared"),
        "{told}"
    );
    for _ in 0..4 {
        assert_eq!(ask(&server, "p", "x"), Ok(1));
    }
    until("it is rebuilt", || {
        server.metric("blockflow_block_restarts_total{block=\"a\"}") == 1
    });
}

#[test]
fn a_sticky_error_loses_the_device_and_nothing_else() {
    let fault = "at = \"run\", kind = \"sticky\", after = 2";
    let files = Files::new(&faulty(fault, "").replace("budget = 1000", "budget = 2"));
    let server = files.serve();
    assert_eq!(ask(&server, "p", "x"), Ok(1));
    assert_eq!(ask(&server, "p", "x"), Ok(1));
    let (status, told) = ask(&server, "p", "x").unwrap_err();
    assert!(matches!(status, 500 | 503), "{status} {told}");
    assert!(told.contains("device sim:0 is lost"), "{told}");
    assert_eq!(ask(&server, "q", "x"), Ok(1));
    // Another process has another device.
    drop(server);
    let server = files.serve();
    assert_eq!(ask(&server, "p", "x"), Ok(1));
}

const HANG: Duration = Duration::from_secs(5);

fn hang(at: &str, after: u32) -> String {
    let time = HANG.as_millis();
    format!("at = \"{at}\", kind = \"hang\", hang_ms = {time}, after = {after}")
}

#[test]
fn a_hang_lasts_as_declared_and_holds_up_nobody_else() {
    let fault = hang("run", 0);
    let server = Files::new(&faulty(&fault, "")).serve();
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let began = Instant::now();
            (ask(&server, "p", "x"), began.elapsed() >= HANG)
        });
        until("it runs", || {
            server.metric("blockflow_requests_in_flight{pipeline=\"p\"}") == 1
        });
        let mut meanwhile = 0;
        while !late.is_finished() {
            assert_eq!(ask(&server, "q", "x"), Ok(1));
            meanwhile += 1;
        }
        assert!(meanwhile > 3, "{meanwhile} were answered meanwhile");
        assert_eq!(late.join().unwrap(), (Ok(1), true), "it did not hang");
    });
    assert_eq!(ask(&server, "p", "x"), Ok(1));
}

#[test]
fn a_load_that_hangs_holds_up_nobody() {
    let fault = hang("load", 1);
    let files = Files::new(&faulty(&fault, ""));
    let server = files.serve();
    files.write(&faulty(&fault, "").replacen("[1, 4] }] }", "[1, 4] }], latency_ms = 1 }", 1));
    thread::scope(|scope| {
        let reload = scope.spawn(|| {
            let began = Instant::now();
            (server.load("p").status, began.elapsed() >= HANG)
        });
        let mut meanwhile = 0;
        while !reload.is_finished() {
            assert_eq!(ask(&server, "p", "x"), Ok(1));
            assert_eq!(ask(&server, "q", "x"), Ok(1));
            meanwhile += 1;
        }
        assert!(meanwhile > 3, "{meanwhile} were answered meanwhile");
        assert_eq!(reload.join().unwrap(), (200, true), "it did not hang");
    });
    assert_eq!((ask(&server, "p", "x"), server.epoch()), (Ok(1), 2));
}

/// SWAP-3 after a load that failed.
#[test]
fn a_load_that_fails_ends_a_start_and_rejects_a_reload_which_leaves_nothing() {
    for (kind, reason) in [
        ("kind = \"error\"", "fails loading block"),
        ("kind = \"out_of_memory\"", "sim:0 is out of memory"),
    ] {
        let fault = format!("at = \"load\", {kind}, block = \"a\", after = ");
        let told = Files::new(&faulty(&format!("{fault}0"), "")).refusal();
        assert!(told.contains(reason) && told.contains("\"a\""), "{told}");

        let files = Files::new(&faulty(&format!("{fault}1"), ""));
        let server = files.serve();
        let before = [
            held(&server, "sim:0", "weights"),
            held(&server, "sim:0", "workspace"),
        ];
        let heavier = faulty(&format!("{fault}1"), "").replacen(
            "shape = [1, 4] }] }",
            "shape = [1, 4] }], weights_mb = 5 }",
            1,
        );
        files.write(&heavier);
        let response = server.load("p");
        assert_eq!(response.status, 400);
        assert!(response.text().contains(reason), "{}", response.text());
        assert_eq!(ask(&server, "p", "x"), Ok(1));
        let after = [
            held(&server, "sim:0", "weights"),
            held(&server, "sim:0", "workspace"),
        ];
        assert_eq!(after, before);
        // The second try is another call.
        assert_eq!(server.load("p").status, 200);
        until("the old one is gone", || {
            held(&server, "sim:0", "weights") == 5_000_000
                && held(&server, "sim:0", "workspace") == 8
        });
    }
}
