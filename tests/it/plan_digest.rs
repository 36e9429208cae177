//! The digest of a configuration: two processes that could misunderstand each other have different ones, and what each
//! settles for itself has no part in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use blockflow::graph::Digest;
use blockflow::plan::digest;
use blockflow::types::{
    CanarySpec, Compress, DType, Device, Dim, Encoding, FlowSpec, GraphEngine, GraphSpec, HostSpec,
    ImageLayout, ImageSpec, LogFormat, MockFailure, Narrow, Optimize, Passes, SourceSpec, Spec,
    WireSpec,
};

use crate::plan::{chain, edge, graph, signature, spec};

/// One block of each source, two hosts, a chain and a graph.
fn whole() -> Spec {
    let blocks = [
        ("segment", "x FP32 n 4 => y FP32 n 4"),
        ("script", "y FP32 n 4 => z FP32 n 4"),
        ("decode", "image BYTES 1 => pixels FP32 1 3 8 8"),
        ("mock", "x FP32 n 4 => y FP32 n 4"),
    ];
    let flows = vec![
        chain(&["segment", "script"]),
        graph(&["x -> again.x", "again.y -> y", "again = mock"]),
    ];
    let (mut spec, _) = spec(&blocks, flows);
    spec.blocks[0].source = SourceSpec::Graph {
        path: PathBuf::from("models/a.onnx"),
        inputs: None,
        outputs: Some(vec!["y".into()]),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    spec.blocks[1].source = SourceSpec::TorchScript {
        path: PathBuf::from("models/a.pt"),
        signature: signature(blocks[1].1),
    };
    spec.blocks[2].source = SourceSpec::DecodeImage(ImageSpec {
        width: 8,
        height: 8,
        channels: 3,
        layout: ImageLayout::ChannelsFirst,
        scale: 1.0,
        mean: vec![0.0; 3],
        deviation: vec![1.0; 3],
    });
    spec.hosts = vec![
        HostSpec::local(),
        HostSpec {
            name: "edge".into(),
            address: [127, 0, 0, 2].into(),
            port: 7000,
            keys: Vec::new(),
        },
    ];
    spec
}

type Change = fn(&mut Spec);

fn model(
    spec: &mut Spec,
) -> (
    &mut PathBuf,
    &mut Option<Vec<String>>,
    &mut Option<Vec<String>>,
) {
    match &mut spec.blocks[0].source {
        SourceSpec::Graph {
            path,
            inputs,
            outputs,
            ..
        } => (path, inputs, outputs),
        other => panic!("{other:?}"),
    }
}

fn image(spec: &mut Spec) -> &mut ImageSpec {
    match &mut spec.blocks[2].source {
        SourceSpec::DecodeImage(image) => image,
        other => panic!("{other:?}"),
    }
}

fn edges(spec: &mut Spec) -> &mut GraphSpec {
    match &mut spec.pipelines[1].flow {
        FlowSpec::Graph(graph) => graph,
        other @ FlowSpec::Chain(_) => panic!("{other:?}"),
    }
}

fn wire(spec: &mut Spec, edge: &str, narrow: Option<Narrow>, compress: Option<Compress>) {
    spec.pipelines[0].wire.push(WireSpec {
        edge: edge.to_owned(),
        encoding: Encoding::of(narrow, compress),
    });
}

const COUNTS: [(&str, Change); 46] = [
    ("host added", |spec| {
        spec.hosts.push(HostSpec {
            name: "third".into(),
            ..HostSpec::local()
        })
    }),
    ("host removed", |spec| spec.hosts.truncate(1)),
    ("hosts swapped", |spec| spec.hosts.swap(0, 1)),
    ("host name", |spec| spec.hosts[1].name = "box".into()),
    ("host address", |spec| {
        spec.hosts[1].address = [127, 0, 0, 3].into()
    }),
    ("host port", |spec| spec.hosts[1].port += 1),
    ("gateway", |spec| spec.server.host = Some("edge".into())),
    ("limits", |spec| spec.limits.in_flight_max += 1),
    ("block added", |spec| {
        let mut more = spec.blocks[3].clone();
        more.name = "more".into();
        spec.blocks.push(more);
    }),
    ("block removed", |spec| spec.blocks.truncate(3)),
    ("blocks swapped", |spec| spec.blocks.swap(0, 3)),
    ("block name", |spec| spec.blocks[0].name = "part".into()),
    ("block host", |spec| {
        spec.blocks[0].host = Some("edge".into())
    }),
    ("block process", |spec| {
        spec.blocks[0].process = Some("heads".into())
    }),
    ("other process", |spec| {
        spec.blocks[0].process = Some("segment".into())
    }),
    ("device", |spec| spec.blocks[0].device = Device::Cuda(0)),
    ("instances", |spec| spec.blocks[0].instances += 1),
    ("instances of another", |spec| spec.blocks[1].instances += 1),
    ("batch rows", |spec| spec.blocks[0].batch.rows_max += 1),
    ("batch wait", |spec| {
        spec.blocks[0].batch.wait += Duration::from_nanos(1)
    }),
    ("queue", |spec| spec.blocks[0].queue_max += 1),
    ("model file", |spec| *model(spec).0 = "models/b.onnx".into()),
    ("model inputs", |spec| {
        *model(spec).1 = Some(vec!["x".into()])
    }),
    ("no model inputs", |spec| *model(spec).1 = Some(Vec::new())),
    ("model outputs", |spec| {
        *model(spec).2 = Some(vec!["y".into(), "z".into()])
    }),
    ("model outputs joined", |spec| {
        *model(spec).2 = Some(vec!["y\",\"z".into()])
    }),
    ("script file", |spec| {
        let SourceSpec::TorchScript { path, .. } = &mut spec.blocks[1].source else {
            panic!()
        };
        *path = "models/b.pt".into();
    }),
    ("script shape", |spec| {
        let SourceSpec::TorchScript { signature, .. } = &mut spec.blocks[1].source else {
            panic!()
        };
        signature.outputs[0].shape.0[1] = Dim::Fixed(5);
    }),
    ("script symbol", |spec| {
        let SourceSpec::TorchScript { signature, .. } = &mut spec.blocks[1].source else {
            panic!()
        };
        signature.outputs[0].shape.0[0] = Dim::symbol("m");
    }),
    ("image width", |spec| image(spec).width += 1),
    ("image height", |spec| image(spec).height += 1),
    ("image channels", |spec| image(spec).channels = 1),
    ("image layout", |spec| {
        image(spec).layout = ImageLayout::ChannelsLast
    }),
    ("mock datatype", |spec| {
        let SourceSpec::Mock(mock) = &mut spec.blocks[3].source else {
            panic!()
        };
        mock.signature.inputs[0].dtype = DType::F64;
    }),
    ("another source", |spec| {
        spec.blocks[2].source = spec.blocks[3].source.clone()
    }),
    ("pipeline added", |spec| {
        let mut more = spec.pipelines[0].clone();
        more.name = "more".into();
        spec.pipelines.push(more);
    }),
    ("pipelines swapped", |spec| spec.pipelines.swap(0, 1)),
    ("pipeline name", |spec| spec.pipelines[0].name = "q".into()),
    ("deadline", |spec| {
        spec.pipelines[0].deadline += Duration::from_millis(1)
    }),
    ("narrowed", |spec| {
        wire(spec, "segment.y -> script.y", Some(Narrow::BF16), None)
    }),
    ("narrowed otherwise", |spec| {
        wire(spec, "segment.y -> script.y", Some(Narrow::F16), None)
    }),
    ("narrowed elsewhere", |spec| {
        wire(spec, "x -> segment.x", Some(Narrow::BF16), None)
    }),
    ("compressed", |spec| {
        wire(
            spec,
            "segment.y -> script.y",
            Some(Narrow::BF16),
            Some(Compress::Zstd),
        )
    }),
    ("chain", |spec| spec.pipelines[0].flow = chain(&["segment"])),
    ("steps", |spec| edges(spec).steps[0].1 = "segment".into()),
    ("edges", |spec| edges(spec).edges.push(edge("again.y -> z"))),
];

const COUNTS_NOT: [(&str, Change); 25] = [
    ("nothing", |_| ()),
    ("http", |spec| spec.server.http = ([0, 0, 0, 0], 80).into()),
    ("workers", |spec| spec.server.workers += 1),
    ("body", |spec| spec.server.body_bytes_max += 1),
    ("drain", |spec| spec.server.drain += Duration::from_secs(1)),
    ("log filter", |spec| spec.log.filter = "off".into()),
    ("log format", |spec| spec.log.format = LogFormat::Json),
    ("threads", |spec| spec.blocks[0].threads += 1),
    ("restart budget", |spec| spec.blocks[0].restart.budget += 1),
    ("restart window", |spec| {
        spec.blocks[0].restart.window += Duration::from_secs(1)
    }),
    ("back-off", |spec| {
        spec.blocks[0].restart.backoff_min += Duration::from_secs(1)
    }),
    ("reload", |spec| {
        spec.reload.canary = Some(CanarySpec {
            share: 0.5,
            requests: 1,
            time_max: Duration::from_secs(1),
            error_ratio_max: 0.0,
            latency_ratio_max: 1.0,
        })
    }),
    ("proof", |spec| spec.blocks[0].proof.finite = false),
    ("stuck", |spec| {
        spec.blocks[0].stuck.run = Some(Duration::from_secs(1))
    }),
    ("directory", |spec| {
        *model(spec).0 = "/elsewhere/a.onnx".into()
    }),
    ("no directory", |spec| *model(spec).0 = "a.onnx".into()),
    ("engine", |spec| {
        let SourceSpec::Graph { engine, .. } = &mut spec.blocks[0].source else {
            panic!()
        };
        *engine = GraphEngine::Auto;
    }),
    ("passes", |spec| {
        let SourceSpec::Graph { passes, .. } = &mut spec.blocks[0].source else {
            panic!()
        };
        *passes = Passes::of(Optimize::Off);
    }),
    ("image scale", |spec| image(spec).scale = 2.0),
    ("image mean", |spec| image(spec).mean[0] = 0.5),
    ("mock latency", |spec| {
        let SourceSpec::Mock(mock) = &mut spec.blocks[3].source else {
            panic!()
        };
        mock.latency = Duration::from_secs(1);
    }),
    ("mock failure", |spec| {
        let SourceSpec::Mock(mock) = &mut spec.blocks[3].source else {
            panic!()
        };
        mock.failure = Some(MockFailure::Panic { every: 1 });
    }),
    // What is left unsaid is the same as what it stands for.
    ("gateway said", |spec| {
        spec.server.host = Some("localhost".into())
    }),
    ("host said", |spec| {
        spec.blocks[0].host = Some("localhost".into())
    }),
    ("process said", |spec| {
        spec.blocks[0].process = Some("main".into())
    }),
];

fn changed(change: Change) -> Digest {
    let mut spec = whole();
    change(&mut spec);
    digest(&spec)
}

#[test]
fn a_change_that_matters_to_another_process_changes_the_digest() {
    let mut seen = BTreeMap::from([(digest(&whole()), "nothing")]);
    for (what, change) in COUNTS {
        let other = seen.insert(changed(change), what);
        assert_eq!(other, None, "{what} gives the digest of {other:?}");
    }
}

#[test]
fn a_change_that_no_other_process_sees_leaves_the_digest() {
    for (what, change) in COUNTS_NOT {
        assert_eq!(changed(change), digest(&whole()), "{what}");
    }
}

#[test]
fn this_machine_alone_is_the_same_said_and_unsaid() {
    let mut unsaid = whole();
    unsaid.hosts.clear();
    let mut said = whole();
    said.hosts.truncate(1);
    assert_eq!(digest(&said), digest(&unsaid));
}

/// Returns the digest that another process finds in a configuration.
fn told(folder: &str, log: &str, variable: (&str, &str)) -> String {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(folder);
    fs::create_dir_all(&folder).unwrap();
    let model = "tests/data/digits/digits.onnx";
    fs::copy(model, folder.join("digits.onnx")).unwrap();
    let config = folder.join("blocks.toml");
    let text = format!(
        "[log]\nfilter = {log:?}\n[blocks.a]\nmodel = \"digits.onnx\"\nprocess = \"x\"\n\
         [pipelines.p]\nflow = [\"a\"]\n"
    );
    fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_blockflow"))
        .args(["explain", "--format", "json"])
        .arg(&config)
        .env(variable.0, variable.1)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let digest = plan["digest"].as_str().expect("a digest").to_owned();
    assert_eq!(digest.len(), 64, "{digest}");
    digest
}

#[test]
fn other_processes_find_the_same_digest_wherever_they_look() {
    let first = told("one", "info", ("BLOCKFLOW_SERVER__HTTP", "127.0.0.1:1"));
    let second = told("two/three", "warn", ("BLOCKFLOW_LOG__FORMAT", "json"));
    assert_eq!(first, second);
    let other = told("one", "info", ("BLOCKFLOW_LIMITS__IN_FLIGHT_MAX", "3"));
    assert_ne!(first, other);
}
