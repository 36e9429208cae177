//! Encodings of edges in a plan: which edge is meant, what fits its tensor, and where it has an effect.

use blockflow::plan::{Plan, Wiring, compile};
use blockflow::types::{
    Compress, Encoding, Epoch, FlowSpec, HostSpec, Narrow, PipelineId, Problem, StepId, WireSpec,
};

use crate::plan::{chain, graph, spec};

const BOTH: Encoding = Encoding::of(Some(Narrow::BF16), Some(Compress::Lz4));

fn wire(edge: &str, encoding: Encoding) -> WireSpec {
    WireSpec {
        edge: edge.to_owned(),
        encoding,
    }
}

/// Compiles a pipeline over blocks `near` (FP32 `x` to FP32 `a` and INT64 `n`) and `far`, of which `far` may be on another host.
fn planned(flow: FlowSpec, wire: Vec<WireSpec>, host: Option<&str>) -> Result<Plan, Vec<Problem>> {
    let blocks = [
        (
            "near",
            "x FP32 1 4 => a FP32 1 4, n INT64 1, t BYTES 1, d FP64 1",
        ),
        (
            "far",
            "a FP32 1 4, n INT64 1, t BYTES 1, d FP64 1 => y FP32 1 4",
        ),
    ];
    let (mut spec, signatures) = spec(&blocks, vec![flow]);
    let back = HostSpec {
        name: "back".into(),
        address: [127, 0, 0, 2].into(),
        ..HostSpec::local()
    };
    spec.hosts = vec![HostSpec::local(), back];
    spec.blocks[1].host = host.map(str::to_owned);
    spec.pipelines[0].wire = wire;
    compile(&spec, &signatures, Epoch(1))
}

fn flow() -> FlowSpec {
    chain(&["near", "far"])
}

fn encodings(plan: &Plan) -> Vec<(String, Encoding, Encoding)> {
    let pipeline = &plan.pipelines[0];
    let edges = pipeline.edges.iter().map(|edge| {
        let from = plan.producer_name(pipeline, edge);
        let name = format!("{from} -> {}", plan.consumer_name(pipeline, edge));
        (name, edge.encoding, edge.encoded())
    });
    edges.filter(|(_, asked, _)| !asked.is_plain()).collect()
}

#[test]
fn edges_of_a_chain_and_of_a_graph_are_found_by_the_names_that_explain_shows() {
    let edges = [
        "x -> first.x",
        "first.a -> far.a",
        "first.n -> far.n",
        "first.t -> far.t",
        "first.d -> far.d",
        "far.y -> answer",
        "first = near",
    ];
    for (flow, named) in [
        (flow(), ["x -> near.x", "near.a -> far.a", "far.y -> y"]),
        (
            graph(&edges),
            ["x -> first.x", "first.a -> far.a", "far.y -> answer"],
        ),
    ] {
        let asked = named.map(|edge| wire(edge, BOTH)).to_vec();
        let plan = planned(flow, asked, Some("back")).unwrap();
        let [input, middle, output] = named.map(str::to_owned);
        // The first stays on the host of the gateway.
        let expected = [
            (input, BOTH, Encoding::PLAIN),
            (middle, BOTH, BOTH),
            (output, BOTH, BOTH),
        ];
        assert_eq!(encodings(&plan), expected);
        let told: Vec<_> = Wiring::of(&plan).encodings.into_iter().collect();
        let pipeline = PipelineId(0);
        let expected = [
            ((pipeline, StepId(1), 0), BOTH),
            ((pipeline, StepId::GATEWAY, 0), BOTH),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn an_input_that_enters_on_another_host_is_encoded_too() {
    let blocks = [("far", "x FP32 1 4 => y FP32 1 4")];
    let (mut spec, signatures) = spec(&blocks, vec![chain(&["far"])]);
    let back = HostSpec {
        name: "back".into(),
        address: [127, 0, 0, 2].into(),
        ..HostSpec::local()
    };
    spec.hosts = vec![HostSpec::local(), back];
    spec.blocks[0].host = Some("back".into());
    spec.pipelines[0].wire = vec![wire("x -> far.x", BOTH)];
    let plan = compile(&spec, &signatures, Epoch(1)).unwrap();
    let told = Wiring::of(&plan).encodings;
    assert_eq!(told.get(&(PipelineId(0), StepId(0), 0)), Some(&BOTH));
    assert_eq!(told.len(), 1);
}

#[test]
fn an_edge_that_stays_on_its_host_is_accepted_and_sent_as_it_is() {
    let asked = vec![wire("near.a -> far.a", BOTH)];
    let plan = planned(flow(), asked, None).unwrap();
    let name = "near.a -> far.a".to_owned();
    assert_eq!(encodings(&plan), [(name, BOTH, Encoding::PLAIN)]);
    assert!(Wiring::of(&plan).encodings.is_empty());
}

#[test]
fn compression_alone_fits_every_tensor_of_fixed_size() {
    let compress = Encoding::of(None, Some(Compress::Zstd));
    let named = ["near.d -> far.d", "near.n -> far.n", "near.a -> far.a"];
    let asked = named.map(|edge| wire(edge, compress)).to_vec();
    let plan = planned(flow(), asked, Some("back")).unwrap();
    assert_eq!(encodings(&plan).len(), 3);
}

#[test]
fn what_is_no_edge_or_does_not_fit_its_tensor_is_refused_wherever_the_blocks_are() {
    let narrow = Encoding::of(Some(Narrow::F16), None);
    let compress = Encoding::of(None, Some(Compress::Lz4));
    for (edge, encoding, expected) in [
        (
            "near.b -> far.a",
            narrow,
            "pipelines.p0.wire.near.b -> far.a: is no edge of the pipeline; did you mean \"near.a -> far.a\"?",
        ),
        (
            "somewhere else -> entirely",
            narrow,
            "is no edge of the pipeline; expected one of \"far.y -> y\", \"near.a -> far.a\"",
        ),
        (
            "near.n -> far.n",
            narrow,
            "pipelines.p0.wire.near.n -> far.n.dtype: is \"FP16\", and the edge carries INT64; leave it out",
        ),
        (
            "near.d -> far.d",
            BOTH,
            "near.d -> far.d.dtype: is \"BF16\", and the edge carries FP64; leave it out: only edges of FP32",
        ),
        (
            "near.t -> far.t",
            compress,
            "near.t -> far.t.compress: is \"lz4\", and the edge carries BYTES; leave it out: elements of any",
        ),
    ] {
        for host in [None, Some("back")] {
            let asked = vec![wire(edge, encoding)];
            let problems = planned(flow(), asked, host).expect_err(edge);
            assert_eq!(problems.len(), 1, "{problems:?}");
            let told = problems[0].to_string();
            assert!(told.contains(expected), "{told}");
        }
    }
    let asked = vec![wire("near.t -> far.t", BOTH)];
    assert_eq!(
        planned(flow(), asked, None).expect_err("twice wrong").len(),
        2
    );
}

#[test]
fn a_pipeline_that_is_wrong_otherwise_is_not_blamed_for_edges_that_may_be_there() {
    let asked = vec![wire("nearr.a -> far.a", BOTH)];
    let problems = planned(chain(&["nearr", "far"]), asked, None).expect_err("no block");
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(!told.iter().any(|line| line.contains("wire")), "{told:?}");
}
