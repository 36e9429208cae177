//! A plan in words and drawings.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use blockflow::cli::{PlanFormat, render_plan};
use blockflow::graph::Digest;
use blockflow::plan::{
    Edge, EdgeFrom, EdgeTo, Placement, Plan, PlannedBlock, PlannedPipeline, Route, Step, compile,
};
use blockflow::types::{
    BatchSpec, BlockSpec, CudaSpec, DType, Device, DeviceChoice, Dim, Encoding, Epoch, GraphEngine,
    HostSpec, LimitsSpec, Passes, ProofSpec, ReloadSpec, RestartSpec, ServerSpec, ShapeSpec,
    Signature, SourceSpec, StuckSpec, TensorSpec,
};

fn tensor(name: &str, dtype: DType, sizes: &[usize]) -> TensorSpec {
    let mut dims = vec![Dim::symbol("n")];
    dims.extend(sizes.iter().copied().map(Dim::Fixed));
    TensorSpec::new(name, dtype, ShapeSpec(dims))
}

fn block(name: &str, input: &TensorSpec, output: &TensorSpec, device: Device) -> PlannedBlock {
    let second = Duration::from_secs(1);
    PlannedBlock {
        spec: BlockSpec {
            name: name.to_owned(),
            source: SourceSpec::Graph {
                path: PathBuf::from("digits.onnx"),
                inputs: None,
                outputs: Some(vec![output.name.clone()]),
                engine: GraphEngine::Aten,
                passes: Passes::default(),
            },
            host: None,
            process: None,
            device,
            device_choice: DeviceChoice::Named,
            cuda: CudaSpec::default(),
            threads: 1,
            instances: 2,
            batch: BatchSpec {
                rows_max: 8,
                wait: Duration::from_millis(2),
            },
            restart: RestartSpec {
                budget: 3,
                window: second,
                backoff_min: second,
                backoff_max: second,
            },
            proof: ProofSpec::default(),
            stuck: StuckSpec::default(),
            queue_max: 16,
        },
        signature: Signature {
            inputs: vec![input.clone()],
            outputs: vec![output.clone()],
        },
        placement: Placement {
            host: "local".to_owned(),
            process: "main".to_owned(),
            device,
        },
    }
}

/// A backbone and a head, with every name that a drawing could stumble over.
fn plan() -> Plan {
    let image = tensor("image", DType::F32, &[1, 8, 8]);
    let features = tensor("features", DType::F32, &[32]);
    let logits = tensor("say \"#1\" <b>", DType::F32, &[10]);
    let backbone = block("backbone", &image, &features, Device::Cpu);
    let head = block("head", &features, &logits, Device::Cuda(0));
    let route =
        |from: &PlannedBlock, to: &PlannedBlock| Route::between(&from.placement, &to.placement);
    let edge = |from, to, route| Edge {
        from,
        to,
        route,
        encoding: Encoding::PLAIN,
    };
    let pipeline = PlannedPipeline {
        name: "digit\\".to_owned(),
        signature: Signature {
            inputs: vec![image],
            outputs: vec![logits],
        },
        deadline: Duration::from_millis(250),
        steps: vec![
            Step {
                name: "backbone".to_owned(),
                block: 0,
            },
            Step {
                name: "classify".to_owned(),
                block: 1,
            },
        ],
        edges: vec![
            edge(
                EdgeFrom::Input(0),
                EdgeTo::Step { step: 0, input: 0 },
                route(&backbone, &backbone),
            ),
            edge(
                EdgeFrom::Step { step: 0, output: 0 },
                EdgeTo::Step { step: 1, input: 0 },
                route(&backbone, &head),
            ),
            edge(
                EdgeFrom::Step { step: 1, output: 0 },
                EdgeTo::Output(0),
                route(&head, &backbone),
            ),
        ],
    };
    Plan {
        epoch: Epoch(1),
        digest: Digest::of("configuration", b"by hand"),
        server: ServerSpec {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            host: None,
            workers: 1,
            body_bytes_max: 1,
            drain: Duration::from_secs(1),
        },
        limits: LimitsSpec { in_flight_max: 64 },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: vec![HostSpec {
            name: "local".to_owned(),
            ..HostSpec::local()
        }],
        gateway: Placement::main("local", Device::Cpu),
        blocks: vec![backbone, head],
        pipelines: vec![pipeline],
    }
}

fn render(format: PlanFormat) -> String {
    render_plan(&plan(), format).expect("renders")
}

#[test]
fn text_shows_each_edge_with_its_route_and_reason() {
    insta::assert_snapshot!(render(PlanFormat::Text), @r##"
    pipeline digit\
      inputs    image: FP32[n, 1, 8, 8]
      outputs   say "#1" <b>: FP32[n, 10]
      deadline  250ms
      steps
        backbone  local/main/cpu
        classify  local/main/cuda:0  block head
      edges
        image                  ->  backbone.image     FP32[n, 1, 8, 8]  inproc handle  same process, same device
        backbone.features      ->  classify.features  FP32[n, 32]       inproc handle  same process, different devices: the consumer copies it to its device
        classify.say "#1" <b>  ->  say "#1" <b>       FP32[n, 10]       inproc handle  same process, different devices: copied to the host

    blocks
      NAME      ENGINE  PLACE              INSTANCES  THREADS  BATCH        SOURCE
      backbone  aten    local/main/cpu     2          1        8 rows, 2ms  digits.onnx from inputs to features
      head      aten    local/main/cuda:0  2          1        8 rows, 2ms  digits.onnx from inputs to say "#1" <b>
    "##);
}

#[test]
fn json_has_stable_fields() {
    let value: serde_json::Value = serde_json::from_str(&render(PlanFormat::Json)).expect("JSON");
    let edge = &value["pipelines"][0]["edges"][1];
    assert_eq!(edge["from"], "backbone.features");
    assert_eq!(edge["to"], "classify.features");
    assert_eq!(edge["carrier"], "inproc");
    assert_eq!(edge["travels"], "handle");
    assert_eq!(edge["copies"], "to device");
    assert_eq!(
        edge["reason"],
        "same process, different devices: the consumer copies it to its device"
    );
    assert_eq!(edge["tensor"]["shape"], serde_json::json!(["n", 32]));
    assert_eq!(value["pipelines"][0]["deadline_ms"], 250);
    assert_eq!(value["pipelines"][0]["steps"][1]["block"], "head");
    let block = &value["blocks"][1];
    for (field, expected) in [
        ("name", "head"),
        ("engine", "aten"),
        ("device", "cuda:0"),
        ("process", "main"),
    ] {
        assert_eq!(block[field], expected);
    }
    assert_eq!(block["instances"], 2);
    assert_eq!(block["batch_wait_us"], 2000);
}

/// Splits a line of DOT or Mermaid into what stands outside of quotes and what inside.
fn quotes(line: &str, escape: Option<char>) -> (String, Vec<String>) {
    let (mut outside, mut inside, mut current) = (String::new(), Vec::new(), None::<String>);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match (&mut current, letter) {
            (Some(text), letter) if Some(letter) == escape => {
                text.push(letter);
                text.extend(letters.next());
            }
            (Some(_), '"') => inside.extend(current.take()),
            (Some(text), letter) => text.push(letter),
            (None, '"') => current = Some(String::new()),
            (None, letter) => outside.push(letter),
        }
    }
    assert!(current.is_none(), "an open quote: {line}");
    (outside, inside)
}

#[test]
fn dot_is_well_formed() {
    let text = render(PlanFormat::Dot);
    let mut depth = 0_i32;
    let (mut nodes, mut ends) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (outside, _) = quotes(line, Some('\\'));
        depth += outside.matches('{').count() as i32 - outside.matches('}').count() as i32;
        let statement = outside.trim();
        if let Some((from, to)) = statement.split_once(" -> ") {
            ends.push(from.to_owned());
            ends.push(to.split(' ').next().unwrap_or_default().to_owned());
        } else if statement.starts_with("p0_") {
            nodes.push(statement.split(' ').next().unwrap_or_default().to_owned());
        }
        let closed = statement.ends_with([';', '{', '}']);
        assert!(closed, "no statement: {line}");
    }
    assert_eq!(depth, 0);
    assert_eq!(nodes, ["p0_in0", "p0_step0", "p0_step1", "p0_out0"]);
    assert_eq!(ends.len(), 6);
    assert!(ends.iter().all(|end| nodes.contains(end)), "{ends:?}");
    assert!(text.contains(r#"label="digit\\""#), "{text}");
    assert!(text.contains(r##"say \"#1\" <b>"##), "{text}");
}

#[test]
fn mermaid_is_well_formed() {
    let text = render(PlanFormat::Mermaid);
    assert!(
        text.contains("<br/>same process"),
        "no reason of a route:\n{text}"
    );
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("flowchart LR"));
    let (mut open, mut edges) = (0, 0);
    for line in lines {
        let (outside, inside) = quotes(line, None);
        match outside.trim() {
            "subgraph p0[]" => open += 1,
            "end" => open -= 1,
            edge if edge.contains(" -->|| ") => edges += 1,
            node => assert!(
                node.ends_with("[]") || node.ends_with("([])"),
                "no node: {line}"
            ),
        }
        let raw = inside
            .iter()
            .any(|text| text.replace("<br/>", "").contains(['<', '>', '\n']));
        assert!(!raw, "markup in a label: {line}");
    }
    assert_eq!((open, edges), (0, 3));
    assert!(text.contains("say #quot;#35;1#quot; #lt;b#gt;"), "{text}");
}

#[test]
fn a_plan_of_nothing_renders_in_every_form() {
    let empty = Plan {
        blocks: Vec::new(),
        pipelines: Vec::new(),
        ..plan()
    };
    for format in [
        PlanFormat::Text,
        PlanFormat::Json,
        PlanFormat::Dot,
        PlanFormat::Mermaid,
    ] {
        assert!(
            render_plan(&empty, format)
                .expect("renders")
                .ends_with('\n')
        );
    }
}

/// A backbone beside the gateway, a head in a worker of the same host, and one on another host.
fn apart() -> Plan {
    let blocks = [
        ("backbone", "image FP32 n 4 => features FP32 n 8"),
        ("near", "features FP32 n 8 => near FP32 n 2"),
        ("far", "features FP32 n 8 => far FP32 n 3"),
    ];
    let flow = crate::plan::graph(&[
        "image -> backbone.image",
        "backbone.features -> near.features",
        "backbone.features -> far.features",
        "near.near -> near",
        "far.far -> far",
    ]);
    let (mut spec, signatures) = crate::plan::spec(&blocks, vec![flow]);
    spec.hosts = vec![
        HostSpec::local(),
        HostSpec {
            name: "edge".to_owned(),
            address: [127, 0, 0, 2].into(),
            port: 7000,
            keys: Vec::new(),
        },
    ];
    spec.blocks[1].process = Some("heads".to_owned());
    spec.blocks[2].host = Some("edge".to_owned());
    spec.blocks[2].instances = 2;
    compile(&spec, &signatures, Epoch(1)).expect("sound")
}

#[test]
fn text_shows_processes_and_hosts_and_why_edges_go_as_they_do() {
    let text = render_plan(&apart(), PlanFormat::Text).expect("renders");
    insta::assert_snapshot!(text, @"
    pipeline p0
      inputs    image: FP32[n, 4]
      outputs   near: FP32[n, 2], far: FP32[n, 3]
      deadline  1s
      steps
        backbone  localhost/main/cpu
        near      localhost/heads/cpu
        far       edge/main/cpu
      edges
        image              ->  backbone.image  FP32[n, 4]  inproc handle           same process, same device
        backbone.features  ->  near.features   FP32[n, 8]  ipc shared-memory slot  same host, different processes
        backbone.features  ->  far.features    FP32[n, 8]  tcp bytes               different hosts
        near.near          ->  near            FP32[n, 2]  ipc shared-memory slot  same host, different processes
        far.far            ->  far             FP32[n, 3]  tcp bytes               different hosts

    blocks
      NAME      ENGINE  PLACE                INSTANCES  THREADS  BATCH  SOURCE
      backbone  mock    localhost/main/cpu   1          1        none   mock of 0ns
      near      mock    localhost/heads/cpu  1          1        none   mock of 0ns
      far       mock    edge/main/cpu        2          1        none   mock of 0ns

    hosts
      NAME       ADDRESS    PORTS        PROCESSES
      localhost  127.0.0.1  3 from 5600  heads, main (gateway)
      edge       127.0.0.2  2 from 7000  main
    ");
}

#[test]
fn json_has_hosts_processes_and_the_digest() {
    let plan = apart();
    let text = render_plan(&plan, PlanFormat::Json).expect("renders");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["digest"], plan.digest.to_string());
    let hosts = serde_json::json!([
        { "name": "localhost", "address": "127.0.0.1", "port": 5600, "receivers": 3,
          "processes": ["heads", "main"] },
        { "name": "edge", "address": "127.0.0.2", "port": 7000, "receivers": 2,
          "processes": ["main"] },
    ]);
    assert_eq!(value["hosts"], hosts);
    let gateway = serde_json::json!({ "host": "localhost", "process": "main" });
    assert_eq!(value["gateway"], gateway);
    let places = ["host", "process"];
    let seen: Vec<_> = (0..3)
        .map(|block| places.map(|place| value["blocks"][block][place].clone()))
        .collect();
    let expected = [
        ["localhost", "main"],
        ["localhost", "heads"],
        ["edge", "main"],
    ];
    assert_eq!(seen, expected);
    let edges = value["pipelines"][0]["edges"].as_array().expect("edges");
    let seen: Vec<_> = edges
        .iter()
        .map(|edge| ["to", "carrier", "travels", "reason"].map(|field| edge[field].clone()))
        .collect();
    let ipc = [
        "ipc",
        "shared-memory slot",
        "same host, different processes",
    ];
    let tcp = ["tcp", "bytes", "different hosts"];
    let expected = [
        (
            "backbone.image",
            ["inproc", "handle", "same process, same device"],
        ),
        ("near.features", ipc),
        ("far.features", tcp),
        ("near", ipc),
        ("far", tcp),
    ];
    assert_eq!(
        seen,
        expected.map(|(to, [carrier, travels, reason])| [to, carrier, travels, reason])
    );
}

/// Lines that open, fill and close frames, without labels.
fn frames(text: &str, opens: &str) -> Vec<String> {
    let node = |line: &str| line.contains("_in") || line.contains("_out") || line.contains("_step");
    let frame = |line: &str| line.starts_with(opens) || line == "end" || line == "}";
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| (node(line) || frame(line)) && !line.contains("->"))
        .map(|line| {
            line.split(['[', '(', '{'])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn drawings_frame_each_process() {
    let dot = render_plan(&apart(), PlanFormat::Dot).expect("renders");
    let expected = [
        "subgraph cluster_0",
        "subgraph cluster_0_0",
        "p0_in0",
        "p0_step0",
        "p0_out0",
        "p0_out1",
        "}",
        "subgraph cluster_0_1",
        "p0_step1",
        "}",
        "subgraph cluster_0_2",
        "p0_step2",
        "}",
        "}",
        "}",
    ];
    assert_eq!(frames(&dot, "subgraph"), expected, "{dot}");
    let mermaid = render_plan(&apart(), PlanFormat::Mermaid).expect("renders");
    let expected = expected.map(|line| match line {
        "subgraph cluster_0" => "subgraph p0".to_owned(),
        "}" => "end".to_owned(),
        other => other.replace("cluster_0_", "p0_process"),
    });
    // A flowchart as a whole has no end.
    let whole = expected.len() - 1;
    assert_eq!(frames(&mermaid, "subgraph"), expected[..whole], "{mermaid}");
    for text in [dot, mermaid] {
        for label in ["\"localhost/main\"", "\"localhost/heads\"", "\"edge/main\""] {
            assert_eq!(text.matches(label).count(), 1, "{label}\n{text}");
        }
        for route in ["inproc handle", "ipc shared-memory slot", "tcp bytes"] {
            assert!(text.contains(route), "{text}");
        }
    }
}

/// Two hosts, an edge between them that is encoded, and one that would be if it left its host.
fn encoded_plan() -> Plan {
    let text = "[hosts.front]\naddress = \"127.0.0.1\"\n[hosts.back]\naddress = \"127.0.0.2\"\n\
        [blocks.near]\n\
        mock = { inputs = [{ name = \"x\", datatype = \"FP32\", shape = [1, 4] }], \
        outputs = [{ name = \"a\", datatype = \"FP32\", shape = [1, 4] }] }\n\
        [blocks.far]\nhost = \"back\"\n\
        mock = { inputs = [{ name = \"a\", datatype = \"FP32\", shape = [1, 4] }], \
        outputs = [{ name = \"y\", datatype = \"FP32\", shape = [1, 4] }] }\n\
        [pipelines.p]\nflow = [\"near\", \"far\"]\n[pipelines.p.wire]\n\
        \"x -> near.x\" = { dtype = \"FP16\" }\n\
        \"near.a -> far.a\" = { dtype = \"BF16\", compress = \"lz4\" }\n\
        \"far.y -> y\" = { compress = \"zstd\" }\n";
    let spec = crate::config::load_text(text).expect("sound").spec;
    let signatures: Vec<_> = spec
        .blocks
        .iter()
        .map(|block| match &block.source {
            SourceSpec::Mock(mock) => Some(mock.signature.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    compile(&spec, &signatures, Epoch(1)).expect("sound")
}

#[test]
fn an_encoded_edge_says_so_and_one_that_stays_on_its_host_that_it_is_not() {
    let plan = encoded_plan();
    let text = render_plan(&plan, PlanFormat::Text).expect("renders");
    let start = text.find("  edges").expect("edges");
    let end = text.find("\nblocks").expect("blocks");
    insta::assert_snapshot!(&text[start..end], @r"
    edges
      x       ->  near.x  FP32[1, 4]  inproc handle          same process, same device; FP16 between hosts only
      near.a  ->  far.a   FP32[1, 4]  tcp bytes as BF16 lz4  different hosts
      far.y   ->  y       FP32[1, 4]  tcp bytes as zstd      different hosts
    ");
    let json = render_plan(&plan, PlanFormat::Json).expect("renders");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let edges = &value["pipelines"][0]["edges"];
    let encoding = |dtype: Option<&str>, compress: Option<&str>, used: bool| serde_json::json!({ "dtype": dtype, "compress": compress, "used": used });
    assert_eq!(edges[0]["encoding"], encoding(Some("FP16"), None, false));
    assert_eq!(
        edges[1]["encoding"],
        encoding(Some("BF16"), Some("lz4"), true)
    );
    assert_eq!(edges[2]["encoding"], encoding(None, Some("zstd"), true));
    for format in [PlanFormat::Dot, PlanFormat::Mermaid] {
        let text = render_plan(&plan, format).expect("renders");
        for part in [
            "tcp bytes as BF16 lz4",
            "tcp bytes as zstd",
            "FP16 between hosts only",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
    let plain: serde_json::Value = serde_json::from_str(&render(PlanFormat::Json)).expect("JSON");
    assert!(plain["pipelines"][0]["edges"][0]["encoding"].is_null());
}
