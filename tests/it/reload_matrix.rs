//! What becomes of each key of a configuration when it is changed while the program serves: it is changed at once, what it is
//! about is built again, or it is refused by its name. One row for each key of the reference.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use blockflow::engine::write_npy;
use blockflow::types::{DType, Tensor};

use crate::config_reference::{lines_of, reference};
use crate::support::server::Server;

/// Every kind of block, as a configuration that changes from row to row.
const BASE: &str = r#"
[server]
[limits]
[log]

[blocks.backbone]
model = "digits.onnx"
outputs = ["features"]

[blocks.head]
model = "digits.onnx"
inputs = ["features"]
outputs = ["digit_logits"]

[blocks.script]
model = "parity_head.pt"
trust = true
inputs = [{ name = "features", datatype = "FP32", shape = ["batch", 64] }]
outputs = [{ name = "parity", datatype = "FP32", shape = ["batch", 2] }]

[blocks.decode]
step = "decode-image"
image.width = 8
image.height = 8
image.channels = 1

[blocks.mock]
mock.inputs = [{ name = "x", datatype = "FP32", shape = [4] }]
mock.outputs = [{ name = "y", datatype = "FP32", shape = [4] }]

[pipelines.chain]
flow = ["backbone", "head"]

[pipelines.script]
flow = ["script"]

[pipelines.mock]
edges = ["x -> mock.x", "mock.y -> y"]

[pipelines.decode]
flow = ["decode"]
"#;

/// What becomes of a change.
enum Outcome {
    /// Nothing is built again; the changes as they are told.
    Live(&'static str),
    /// A block or a pipeline is.
    Rebuilt(&'static str),
    /// What was served before still is; what is told.
    Refused(&'static str),
    /// It makes no difference here.
    Nothing,
}

use Outcome::{Live, Nothing, Rebuilt, Refused};

/// A key as the reference has it, with `*` for a name; what of [`BASE`] gives way to what; what becomes of it.
type Row = (&'static str, &'static str, &'static str, Outcome);

const ROWS: &[Row] = &[
    (
        "server.http",
        "[server]",
        "[server]\nhttp = \"127.0.0.1:1\"",
        Refused("server.http"),
    ),
    (
        "server.workers",
        "[server]",
        "[server]\nworkers = 3",
        Refused("server.workers: 1 → 3"),
    ),
    (
        "server.body_bytes_max",
        "[server]",
        "[server]\nbody_bytes_max = 4096",
        Refused("server.body_bytes_max"),
    ),
    (
        "server.drain_ms",
        "[server]",
        "[server]\ndrain_ms = 5000",
        Live("server.drain_ms: 10000 → 5000"),
    ),
    (
        "server.host",
        "[server]",
        "[hosts.edge]\naddress = \"127.0.0.1\"\n[server]\nhost = \"edge\"",
        Refused("hosts"),
    ),
    (
        "hosts.*.address",
        "[log]",
        "[hosts.edge]\naddress = \"127.0.0.1\"\n[log]",
        Refused("hosts"),
    ),
    (
        "hosts.*.port",
        "[log]",
        "[hosts.edge]\naddress = \"127.0.0.1\"\nport = 5700\n[log]",
        Refused("hosts"),
    ),
    (
        "hosts.*.key",
        "[log]",
        "[hosts.edge]\naddress = \"127.0.0.1\"\nkey = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"\n[log]",
        Refused("hosts"),
    ),
    (
        "limits.in_flight_max",
        "[limits]",
        "[limits]\nin_flight_max = 7",
        Live("limits.in_flight_max: 256 → 7"),
    ),
    (
        "devices.*.memory_mb",
        "[log]",
        "[devices.\"sim:0\"]\nmemory_mb = 64\n[log]",
        Live("devices.memory_mb: none → sim:0 64"),
    ),
    (
        "devices.*.copy_mb_s",
        "[log]",
        "[devices.\"sim:0\"]\ncopy_mb_s = 2.5\n[log]",
        Live("devices.copy_mb_s: none → sim:0 2.5"),
    ),
    (
        "devices.*.faults",
        "[log]",
        "[devices.\"sim:0\"]\nfaults = [{ at = \"run\", kind = \"error\", every = 9 }]\n[log]",
        Live("devices.faults: none → sim:0 1"),
    ),
    (
        "log.filter",
        "[log]",
        "[log]\nfilter = \"info,blockflow::sched=debug\"",
        Live("log.filter: "),
    ),
    (
        "log.format",
        "[log]",
        "[log]\nformat = \"json\"",
        Refused("log.format"),
    ),
    (
        "blocks.*.model",
        "[blocks.head]\nmodel = \"digits.onnx\"",
        "[blocks.head]\nmodel = \"again.onnx\"",
        Rebuilt("block head: rebuilt (model: "),
    ),
    (
        "blocks.*.inputs",
        "outputs = [\"features\"]\n",
        "inputs = [\"image\"]\noutputs = [\"features\"]\n",
        Rebuilt("block backbone: rebuilt (inputs: "),
    ),
    (
        "blocks.*.outputs",
        "outputs = [\"digit_logits\"]",
        "outputs = [\"legible_logits\"]",
        Rebuilt("block head"),
    ),
    (
        "blocks.*.engine",
        "[blocks.head]\n",
        "[blocks.head]\nengine = \"auto\"\n",
        Rebuilt("block head: rebuilt (engine: "),
    ),
    (
        "blocks.*.optimize",
        "[blocks.head]\n",
        "[blocks.head]\noptimize = \"off\"\n",
        Rebuilt("block head: rebuilt ("),
    ),
    (
        "blocks.*.passes_off",
        "[blocks.head]\n",
        "[blocks.head]\npasses_off = [\"drop-dead\"]\n",
        Rebuilt("block head: rebuilt ("),
    ),
    (
        "blocks.*.precision",
        "[blocks.head]\n",
        "[blocks.head]\nprecision = \"bf16\"\n",
        Rebuilt("block head: rebuilt (precision: fp32 → bf16)"),
    ),
    (
        "blocks.*.cudnn_autotune",
        "[blocks.head]\n",
        "[blocks.head]\ncudnn_autotune = true\n",
        Refused("blocks.head.cudnn_autotune"),
    ),
    (
        "blocks.*.stream_priority",
        "[blocks.head]\n",
        "[blocks.head]\nstream_priority = \"high\"\n",
        Refused("blocks.head.stream_priority"),
    ),
    (
        "blocks.*.device",
        "[blocks.head]\n",
        "[blocks.head]\ndevice = \"cuda:0\"\n",
        Refused("blocks.head.device"),
    ),
    (
        "blocks.*.isolation",
        "[blocks.head]\n",
        "[blocks.head]\nisolation = \"process\"\n",
        Rebuilt("block head: rebuilt (process: "),
    ),
    (
        "blocks.*.process",
        "[blocks.head]\n",
        "[blocks.head]\nprocess = \"heads\"\n",
        Rebuilt("block head: rebuilt (process: "),
    ),
    (
        "blocks.*.host",
        "[blocks.head]\n",
        "[blocks.head]\nhost = \"edge\"\n",
        Refused("blocks.head.host"),
    ),
    (
        "blocks.*.threads",
        "[blocks.head]\n",
        "[blocks.head]\nthreads = 2\n",
        Rebuilt("block head: rebuilt (threads: 1 → 2)"),
    ),
    (
        "blocks.*.instances",
        "[blocks.head]\n",
        "[blocks.head]\ninstances = 2\n",
        Live("block head: retuned (instances: 1 → 2)"),
    ),
    (
        "blocks.*.queue_max",
        "[blocks.head]\n",
        "[blocks.head]\nqueue_max = 8\n",
        Live("block head: retuned (queue_max: 64 → 8)"),
    ),
    (
        "blocks.*.batch.max",
        "[blocks.head]\n",
        "[blocks.head]\nbatch.max = 4\n",
        Live("block head: retuned (batch.max: 1 → 4)"),
    ),
    (
        "blocks.*.batch.wait_ms",
        "[blocks.head]\n",
        "[blocks.head]\nbatch = { max = 4, wait_ms = 2 }\n",
        Live("batch.wait_ms: 0 → 2"),
    ),
    (
        "blocks.*.restart.budget",
        "[blocks.head]\n",
        "[blocks.head]\nrestart.budget = 9\n",
        Live("restart.budget: 5 → 9"),
    ),
    (
        "blocks.*.restart.window_s",
        "[blocks.head]\n",
        "[blocks.head]\nrestart.window_s = 9\n",
        Live("restart.window_s: 60 → 9"),
    ),
    (
        "blocks.*.restart.backoff_min_ms",
        "[blocks.head]\n",
        "[blocks.head]\nrestart.backoff_min_ms = 9\n",
        Live("restart.backoff_min_ms: 100 → 9"),
    ),
    (
        "blocks.*.restart.backoff_max_ms",
        "[blocks.head]\n",
        "[blocks.head]\nrestart.backoff_max_ms = 900\n",
        Live("restart.backoff_max_ms: 10000 → 900"),
    ),
    (
        "blocks.*.stuck.run_ms",
        "[blocks.head]\n",
        "[blocks.head]\nstuck.run_ms = 900\n",
        Live("stuck.run_ms: 60000 → 900"),
    ),
    (
        "blocks.*.stuck.warm_ms",
        "[blocks.head]\n",
        "[blocks.head]\nstuck.warm_ms = 0\n",
        Live("stuck.warm_ms: 600000 → 0"),
    ),
    (
        "blocks.*.trust",
        "trust = true",
        "trust = false",
        Refused("blocks.script.trust"),
    ),
    (
        "blocks.*.inputs.name",
        "\"features\", datatype",
        "\"seen\", datatype",
        Rebuilt("block script: rebuilt ("),
    ),
    (
        "blocks.*.inputs.datatype",
        "\"features\", datatype = \"FP32\"",
        "\"features\", datatype = \"FP64\"",
        Refused("block \\\"script\\\""),
    ),
    (
        "blocks.*.inputs.shape",
        "[\"batch\", 64]",
        "[\"rows\", 64]",
        Rebuilt("block script: rebuilt ("),
    ),
    (
        "blocks.*.outputs.name",
        "\"parity\", datatype",
        "\"odd\", datatype",
        Rebuilt("block script: rebuilt ("),
    ),
    (
        "blocks.*.outputs.datatype",
        "\"parity\", datatype = \"FP32\"",
        "\"parity\", datatype = \"INT32\"",
        Refused("block \\\"script\\\""),
    ),
    (
        "blocks.*.outputs.shape",
        "[\"batch\", 2]",
        "[\"rows\", 2]",
        Rebuilt("block script: rebuilt ("),
    ),
    (
        "blocks.*.step",
        "step = \"decode-image\"",
        "step = \"encode-image\"",
        Refused("blocks.decode.step"),
    ),
    (
        "blocks.*.image.width",
        "image.width = 8",
        "image.width = 9",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.height",
        "image.height = 8",
        "image.height = 9",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.channels",
        "image.channels = 1",
        "image.channels = 3",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.layout",
        "image.channels = 1",
        "image.channels = 1\nimage.layout = \"channels-last\"",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.scale",
        "image.channels = 1",
        "image.channels = 1\nimage.scale = 2.0",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.mean",
        "image.channels = 1",
        "image.channels = 1\nimage.mean = 0.5",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.image.deviation",
        "image.channels = 1",
        "image.channels = 1\nimage.deviation = 0.5",
        Rebuilt("block decode: rebuilt ("),
    ),
    (
        "blocks.*.mock.inputs",
        "inputs = [{ name = \"x\", datatype = \"FP32\", shape = [4]",
        "inputs = [{ name = \"x\", datatype = \"FP32\", shape = [5]",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.mock.outputs",
        "outputs = [{ name = \"y\", datatype = \"FP32\", shape = [4]",
        "outputs = [{ name = \"y\", datatype = \"FP32\", shape = [5]",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.mock.latency_ms",
        "[blocks.mock]",
        "[blocks.mock]\nmock.latency_ms = 1",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.mock.weights_mb",
        "[blocks.mock]",
        "[blocks.mock]\nmock.weights_mb = 1",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.mock.failure.hang_every",
        "[blocks.mock]",
        "[blocks.mock]\nmock.failure = { hang_every = 9, hang_ms = 1 }",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.mock.failure.hang_ms",
        "[blocks.mock]",
        "[blocks.mock]\nmock.failure = { hang_every = 9, hang_ms = 2 }",
        Rebuilt("block mock: rebuilt ("),
    ),
    (
        "blocks.*.finite",
        "[blocks.head]\n",
        "[blocks.head]\nfinite = false\n",
        Live("block head: retuned (finite: true → false)"),
    ),
    (
        "blocks.*.cuda_graphs",
        "[blocks.head]\n",
        "[blocks.head]\ncuda_graphs = false\n",
        Live("block head: retuned (cuda_graphs: auto → false)"),
    ),
    (
        "blocks.*.warm.features",
        "trust = true",
        "trust = true\nwarm = [{ features = [2, 64] }]",
        Live("block script: retuned (warm: [] → ["),
    ),
    (
        "blocks.*.golden.cases",
        "[blocks.mock]",
        "[blocks.mock]\ngolden.cases = [{ inputs = \"x.npy\", outputs = \"y.npy\" }]",
        Live("block mock: retuned (golden: none → {"),
    ),
    (
        "blocks.*.golden.tolerance.relative",
        "[blocks.mock]",
        "[blocks.mock]\ngolden.cases = [{ inputs = \"x.npy\", outputs = \"y.npy\" }]\ngolden.tolerance.relative = 0.5",
        Live("relative\\\":0.5"),
    ),
    (
        "blocks.*.golden.tolerance.absolute",
        "[blocks.mock]",
        "[blocks.mock]\ngolden.cases = [{ inputs = \"x.npy\", outputs = \"y.npy\" }]\ngolden.tolerance.absolute = 0.5",
        Live("absolute\\\":0.5"),
    ),
    (
        "reload.shadow.share",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1\nshare = 0.2",
        Live("share\\\":0.2"),
    ),
    (
        "reload.shadow.requests",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1\nrequests = 7",
        Live("requests\\\":7"),
    ),
    (
        "reload.shadow.tolerance.relative",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1\ntolerance.relative = 0.5",
        Live("relative\\\":0.5"),
    ),
    (
        "reload.shadow.tolerance.absolute",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1\ntolerance.absolute = 0.5",
        Live("absolute\\\":0.5"),
    ),
    (
        "reload.shadow.mismatches_max",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1\nmismatches_max = 7",
        Live("mismatches_max\\\":7"),
    ),
    (
        "reload.shadow.time_max_ms",
        "[log]",
        "[log]\n[reload.shadow]\ntime_max_ms = 1",
        Live("reload.shadow: none → {"),
    ),
    (
        "reload.canary.share",
        "[log]",
        "[log]\n[reload.canary]\ntime_max_ms = 1\nshare = 0.2",
        Live("share\\\":0.2"),
    ),
    (
        "reload.canary.requests",
        "[log]",
        "[log]\n[reload.canary]\ntime_max_ms = 1\nrequests = 7",
        Live("requests\\\":7"),
    ),
    (
        "reload.canary.error_ratio_max",
        "[log]",
        "[log]\n[reload.canary]\ntime_max_ms = 1\nerror_ratio_max = 0.5",
        Live("error_ratio_max\\\":0.5"),
    ),
    (
        "reload.canary.latency_ratio_max",
        "[log]",
        "[log]\n[reload.canary]\ntime_max_ms = 1\nlatency_ratio_max = 2.5",
        Live("latency_ratio_max\\\":2.5"),
    ),
    (
        "reload.canary.time_max_ms",
        "[log]",
        "[log]\n[reload.canary]\ntime_max_ms = 1",
        Live("reload.canary: none → {"),
    ),
    (
        "pipelines.*.flow",
        "flow = [\"backbone\", \"head\"]",
        "flow = [\"backbone\", \"script\"]",
        Rebuilt("pipeline chain: rebuilt ("),
    ),
    (
        "pipelines.*.deadline_ms",
        "[pipelines.chain]",
        "[pipelines.chain]\ndeadline_ms = 77",
        Live("pipeline chain: retuned (deadline_ms: 1000 → 77)"),
    ),
    (
        "pipelines.*.wire.*",
        "[pipelines.script]",
        "[pipelines.chain.wire]\n\"backbone.features -> head.features\" = { dtype = \"BF16\" }\n[pipelines.script]",
        Nothing,
    ),
    (
        "pipelines.*.edges",
        "edges = [\"x -> mock.x\"",
        "edges = [\"w -> mock.x\"",
        Rebuilt("pipeline mock: rebuilt ("),
    ),
    (
        "pipelines.*.steps",
        "edges = [\"x -> mock.x\", \"mock.y -> y\"]",
        "edges = [\"x -> a.x\", \"a.y -> y\"]\nsteps = { a = \"mock\" }",
        Rebuilt("pipeline mock: rebuilt ("),
    ),
];

/// Returns the keys of the reference, with `*` for what a user names.
fn keys() -> BTreeSet<String> {
    let general = |key: &String| {
        let mut parts: Vec<_> = key.split('.').collect();
        if let [section @ ("devices" | "hosts" | "blocks" | "pipelines"), ..] = parts[..] {
            parts[1] = "*";
            if section == "pipelines" && parts[2] == "wire" {
                parts.truncate(3);
                parts.push("*");
            }
        }
        parts.join(".")
    };
    lines_of(&reference()).keys().map(general).collect()
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/digits");
    for (from, to) in [
        ("digits.onnx", "digits.onnx"),
        ("digits.onnx", "again.onnx"),
        ("parity_head.pt", "parity_head.pt"),
    ] {
        fs::copy(data.join(from), place.path().join(to)).unwrap();
    }
    // What a mock takes, and what it makes of it.
    for (name, byte) in [("x.npy", 0), ("y.npy", 1)] {
        let tensor = Tensor::copy_of(DType::F32, vec![4], &[byte; 16]).unwrap();
        write_npy(&place.path().join(name), &tensor).unwrap();
    }
    place
}

#[test]
fn every_key_of_the_reference_has_its_row() {
    let rows: BTreeSet<_> = ROWS.iter().map(|(key, ..)| (*key).to_owned()).collect();
    let missing: Vec<_> = keys().difference(&rows).cloned().collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_key_is_changed_live_or_built_again_or_refused_by_name() {
    let place = place();
    let path = place.path().join("blocks.toml");
    let write = |text: &str| fs::write(&path, text).unwrap();
    write(BASE);
    let server = Server::start_with(&path, &["--no-watch"]);
    let mut wrong = Vec::new();
    let mut expected = Vec::new();
    for (key, from, to, outcome) in ROWS {
        assert!(BASE.contains(from), "{key}: {from:?} is not in the base");
        write(&BASE.replacen(from, to, 1));
        let epoch = server.epoch();
        let answer = server.load("chain");
        let told = answer.text();
        match outcome {
            Live(part) | Rebuilt(part) if answer.status == 200 => {
                let built = matches!(outcome, Rebuilt(_));
                expected.push((*key, *part, built));
                if server.epoch() != epoch + 1 {
                    wrong.push(format!("{key}: does nothing"));
                    expected.pop();
                }
            }
            Refused(part) if answer.status == 400 && told.contains(part) => {
                if server.epoch() != epoch {
                    wrong.push(format!("{key}: refused, and applied"));
                }
            }
            Nothing if answer.status == 200 => {
                if server.epoch() != epoch {
                    wrong.push(format!("{key}: does something"));
                }
                continue;
            }
            Live(_) | Rebuilt(_) | Refused(_) | Nothing => {
                wrong.push(format!("{key}: {} {told}", answer.status));
            }
        }
        write(BASE);
        assert_eq!(server.load("chain").status, 200, "{key}");
    }
    let log = server.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Every second one leads back to the base.
    let applied = log
        .lines()
        .filter(|line| line.contains("configuration applied"));
    let applied: Vec<_> = applied.step_by(2).collect();
    assert_eq!(applied.len(), expected.len(), "{log}");
    for ((key, part, built), line) in expected.into_iter().zip(applied) {
        if !line.contains(part) || line.contains("rebuilt (") != built {
            wrong.push(format!("{key}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
