//! A plan in words and drawings.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use blockflow::cli::{PlanFormat, render_plan};
use blockflow::plan::{
    Edge, EdgeFrom, EdgeTo, Placement, Plan, PlannedBlock, PlannedPipeline, Route, Step,
};
use blockflow::types::{
    BatchSpec, BlockSpec, DType, Device, Dim, Epoch, GraphEngine, HostSpec, LimitsSpec, Passes,
    RestartSpec, ServerSpec, ShapeSpec, Signature, SourceSpec, TensorSpec,
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
    let edge = |from, to, route| Edge { from, to, route };
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
        server: ServerSpec {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            host: None,
            workers: 1,
            body_bytes_max: 1,
            drain: Duration::from_secs(1),
        },
        limits: LimitsSpec { in_flight_max: 64 },
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
        backbone.features      ->  classify.features  FP32[n, 32]       inproc handle  same process, different devices: the consumer copies
        classify.say "#1" <b>  ->  say "#1" <b>       FP32[n, 10]       inproc handle  same process, different devices: the consumer copies

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
    assert_eq!(
        edge["reason"],
        "same process, different devices: the consumer copies"
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
