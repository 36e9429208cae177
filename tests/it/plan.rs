//! Wiring mistakes: each is found, all of a configuration at once, and a sound one becomes a sound plan.

use std::time::Duration;

use blockflow::plan::{EdgeFrom, EdgeTo, Plan, compile, compile_sound};
use blockflow::types::{
    BatchSpec, BlockSpec, CudaSpec, DType, Device, DeviceChoice, Dim, EdgeSpec, Epoch, FlowSpec,
    GraphSpec, LimitsSpec, LogFormat, LogSpec, MockSpec, PipelineSpec, Problem, ProofSpec,
    ReloadSpec, RestartSpec, ServerSpec, ShapeSpec, Signature, SourceSpec, Spec, StuckSpec,
    TENSORS_MAX, TensorSpec, Unsound,
};

/// Reads `"x FP32 batch 4, y INT64 3"` as tensors.
pub(crate) fn tensors(text: &str) -> Vec<TensorSpec> {
    let tensor = |text: &str| {
        let mut words = text.split_whitespace();
        let name = words.next().expect("a name");
        let dtype: DType = words
            .next()
            .expect("a datatype")
            .parse()
            .expect("a datatype");
        let dims = words.map(|word| match word.parse() {
            Ok(size) => Dim::Fixed(size),
            Err(_) if word == "?" => Dim::Any,
            Err(_) => Dim::symbol(word),
        });
        TensorSpec::new(name, dtype, ShapeSpec(dims.collect()))
    };
    text.split(',')
        .filter(|text| !text.trim().is_empty())
        .map(tensor)
        .collect()
}

/// Reads `"inputs => outputs"`.
pub(crate) fn signature(text: &str) -> Signature {
    let (inputs, outputs) = text.split_once("=>").expect("an arrow");
    Signature {
        inputs: tensors(inputs),
        outputs: tensors(outputs),
    }
}

pub(crate) fn mock(name: &str, signature: &Signature) -> BlockSpec {
    BlockSpec {
        name: name.to_owned(),
        source: SourceSpec::Mock(MockSpec {
            signature: signature.clone(),
            latency: Duration::ZERO,
            weight_bytes: 0,
            failure: None,
        }),
        host: None,
        process: None,
        device: Device::Cpu,
        device_choice: DeviceChoice::Named,
        cuda: CudaSpec::default(),
        threads: 1,
        instances: 1,
        batch: BatchSpec {
            rows_max: 1,
            wait: Duration::ZERO,
        },
        restart: RestartSpec {
            budget: 1,
            window: Duration::from_secs(1),
            backoff_min: Duration::from_millis(1),
            backoff_max: Duration::from_millis(1),
        },
        proof: ProofSpec::default(),
        stuck: StuckSpec::default(),
        queue_max: 1,
    }
}

pub(crate) fn edge(text: &str) -> EdgeSpec {
    let end = |text: &str| match text.trim().split_once('.') {
        Some((step, tensor)) => (Some(step.to_owned()), tensor.to_owned()),
        None => (None, text.trim().to_owned()),
    };
    let (from, to) = text.split_once("->").expect("an arrow");
    EdgeSpec {
        from: end(from),
        to: end(to),
    }
}

pub(crate) fn chain(blocks: &[&str]) -> FlowSpec {
    FlowSpec::Chain(blocks.iter().map(|name| (*name).to_owned()).collect())
}

/// Reads one edge from each text; `step = block` names a step.
pub(crate) fn graph(texts: &[&str]) -> FlowSpec {
    let mut graph = GraphSpec::default();
    for text in texts {
        match text.split_once(" = ") {
            Some((step, block)) => graph.steps.push((step.to_owned(), block.to_owned())),
            None => graph.edges.push(edge(text)),
        }
    }
    FlowSpec::Graph(graph)
}

/// Builds a configuration of mocks and its signatures.
pub(crate) fn spec(
    blocks: &[(&str, &str)],
    flows: Vec<FlowSpec>,
) -> (Spec, Vec<Option<Signature>>) {
    let signatures: Vec<_> = blocks.iter().map(|(_, text)| signature(text)).collect();
    let named = blocks.iter().zip(&signatures);
    let pipelines = flows
        .into_iter()
        .enumerate()
        .map(|(index, flow)| PipelineSpec {
            name: format!("p{index}"),
            flow,
            deadline: Duration::from_secs(1),
            wire: Vec::new(),
        });
    let spec = Spec {
        server: ServerSpec {
            http: "127.0.0.1:0".parse().expect("an address"),
            host: None,
            workers: 1,
            body_bytes_max: 1 << 20,
            drain: Duration::ZERO,
        },
        limits: LimitsSpec { in_flight_max: 1 },
        log: LogSpec {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        },
        devices: Vec::new(),
        reload: ReloadSpec::default(),
        hosts: Vec::new(),
        blocks: named
            .map(|((name, _), signature)| mock(name, signature))
            .collect(),
        pipelines: pipelines.collect(),
    };
    (spec, signatures.into_iter().map(Some).collect())
}

fn plan(blocks: &[(&str, &str)], flow: FlowSpec) -> Result<Plan, Vec<String>> {
    let (spec, signatures) = spec(blocks, vec![flow]);
    compile(&spec, &signatures, Epoch(1)).map_err(|problems| lines(&problems))
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

const BACKBONE: (&str, &str) = ("backbone", "image FP32 batch 4 => features FP32 batch 8");
const HEAD: (&str, &str) = ("head", "features FP32 n 8 => logits FP32 n 2");

#[test]
fn a_chain_connects_equal_names_and_takes_its_signature_from_both_ends() {
    let plan = plan(&[BACKBONE, HEAD], chain(&["backbone", "head"])).expect("sound");
    let pipeline = &plan.pipelines[0];
    assert_eq!(
        pipeline.signature,
        signature("image FP32 batch 4 => logits FP32 batch 2")
    );
    let ends: Vec<_> = pipeline
        .edges
        .iter()
        .map(|edge| (edge.from, edge.to))
        .collect();
    assert_eq!(
        ends,
        [
            (EdgeFrom::Input(0), EdgeTo::Step { step: 0, input: 0 }),
            (
                EdgeFrom::Step { step: 0, output: 0 },
                EdgeTo::Step { step: 1, input: 0 }
            ),
            (EdgeFrom::Step { step: 1, output: 0 }, EdgeTo::Output(0)),
        ]
    );
}

#[test]
fn a_single_output_meets_a_single_input_whatever_their_names() {
    let blocks = [("a", "x FP32 4 => y FP32 4"), ("b", "u FP32 4 => v FP32 4")];
    let plan = plan(&blocks, chain(&["a", "b"])).expect("sound");
    assert_eq!(
        plan.pipelines[0].signature,
        signature("x FP32 4 => v FP32 4")
    );
}

#[test]
fn a_graph_is_put_in_order_and_its_input_feeds_several_steps() {
    let blocks = [
        ("join", "l FP32 n 8, r FP32 n 2 => y FP32 n 1"),
        BACKBONE,
        ("side", "image FP32 rows ? => out FP32 rows 2"),
    ];
    let flow = graph(&[
        "left.features -> join.l",
        "side.out -> join.r",
        "picture -> left.image",
        "picture -> side.image",
        "join.y -> answer",
        "left = backbone",
    ]);
    let plan = plan(&blocks, flow).expect("sound");
    let pipeline = &plan.pipelines[0];
    let steps: Vec<_> = pipeline
        .steps
        .iter()
        .map(|step| (step.name.as_str(), step.block))
        .collect();
    assert_eq!(steps, [("left", 1), ("side", 2), ("join", 0)]);
    assert_eq!(
        pipeline.signature,
        signature("picture FP32 batch 4 => answer FP32 batch 1")
    );
}

#[test]
fn a_block_may_be_two_steps_of_one_pipeline() {
    let flow = graph(&["x -> l.x", "l.x -> r.x", "r.x -> x", "l = same", "r = same"]);
    let plan = plan(&[("same", "x FP32 n => x FP32 n")], flow).expect("sound");
    let steps: Vec<_> = plan.pipelines[0]
        .steps
        .iter()
        .map(|step| step.block)
        .collect();
    assert_eq!(steps, [0, 0]);
}

#[test]
fn a_size_travels_through_blocks_to_the_signature_of_the_pipeline() {
    let blocks = [
        ("decode", "image BYTES 1 => pixels FP32 1 4"),
        ("backbone", "image FP32 batch 4 => features FP32 batch 8"),
        ("head", "features FP32 n 8 => logits FP32 n 2"),
    ];
    let plan = plan(&blocks, chain(&["decode", "backbone", "head"])).expect("sound");
    assert_eq!(
        plan.pipelines[0].signature,
        signature("image BYTES 1 => logits FP32 1 2")
    );
}

#[test]
fn unrelated_symbols_of_one_name_get_different_names() {
    let flow = graph(&["x -> a.x", "u -> b.x", "a.y -> y", "b.y -> v"]);
    let blocks = [("a", "x FP32 n => y FP32 n"), ("b", "x FP32 n => y FP32 n")];
    let plan = plan(&blocks, flow).expect("sound");
    assert_eq!(
        plan.pipelines[0].signature,
        signature("x FP32 n, u FP32 n_2 => y FP32 n, v FP32 n_2")
    );
}

#[test]
fn each_wiring_mistake_is_reported_once_at_its_key() {
    let double = ("double", "a FP32 n, b FP32 n => a FP32 n, b FP32 n");
    let cases: Vec<(FlowSpec, &[&str])> = vec![
        (chain(&[]), &["pipelines.p0.flow: is an empty list"]),
        (
            chain(&["backbnoe", "head"]),
            &[
                "pipelines.p0.flow[0]: is \"backbnoe\", which is no block; did you mean \"backbone\"?",
            ],
        ),
        (
            chain(&["zzz"]),
            &["is \"zzz\", which is no block; expected one of \"backbone\", \"head\""],
        ),
        (
            chain(&["head", "head"]),
            &["pipelines.p0.flow[1]: uses \"head\" a second time; write the pipeline with edges"],
        ),
        (
            chain(&["head", "double"]),
            &[
                "pipelines.p0.flow[1]: input double.a matches no output of head (logits); write the pipeline with edges: \"head.… -> double.a\"",
                "pipelines.p0.flow[1]: input double.b matches no output of head",
            ],
        ),
        (
            chain(&["head", "backbone"]),
            &[
                "pipelines.p0.flow[1]: head.logits is FP32[n, 2], backbone.image is FP32[batch, 4]; expected the same size in dimension 1, which is 2 and 4, on both sides",
            ],
        ),
        (
            chain(&["head", "bytes"]),
            &[
                "head.logits is FP32[n, 2], bytes.x is BYTES[1]; expected the same datatype on both sides",
            ],
        ),
        (
            chain(&["head", "flat"]),
            &[
                "head.logits is FP32[n, 2], flat.x is FP32[n]; expected the same number of dimensions",
            ],
        ),
        (graph(&[]), &["pipelines.p0.edges: is an empty list"]),
        (
            graph(&["x -> y"]),
            &["pipelines.p0.edges[0]: leads from \"x\" to \"y\" through no step"],
        ),
        (
            graph(&["x -> haed.features", "haed.logits -> y"]),
            &["pipelines.p0.edges[0]: \"haed\" is no step and no block; did you mean \"head\"?"],
        ),
        (
            graph(&["x -> head.feature", "head.logit -> y"]),
            &[
                "pipelines.p0.edges[0]: \"head\" has no input \"feature\"; did you mean \"features\"?",
                "pipelines.p0.edges[1]: \"head\" has no output \"logit\"; did you mean \"logits\"?",
            ],
        ),
        (
            graph(&["x -> s.features", "s.logits -> y", "s = heads"]),
            &["pipelines.p0.steps.s: is \"heads\", which is no block; did you mean \"head\"?"],
        ),
        (
            graph(&["x -> head.features", "head.logits -> y", "s = head"]),
            &["pipelines.p0.steps.s: is used by no edge"],
        ),
        (
            graph(&["x -> flat.features", "flat.logits -> y", "flat = head"]),
            &["pipelines.p0.steps.flat: gives block \"head\" the name of another block"],
        ),
        (
            graph(&["x -> double.a", "double.a -> y"]),
            &["pipelines.p0.edges: double.b has no producer; add an edge \"… -> double.b\""],
        ),
        (
            graph(&[
                "x -> double.a",
                "y -> double.b",
                "z -> double.b",
                "double.a -> z",
            ]),
            &[
                "pipelines.p0.edges[2]: gives double.b a second producer; keep this one or pipelines.p0.edges[1]",
            ],
        ),
        (
            graph(&[
                "x -> double.a",
                "y -> double.b",
                "double.a -> z",
                "double.b -> z",
            ]),
            &[
                "pipelines.p0.edges[3]: gives z a second producer; keep this one or pipelines.p0.edges[2]",
            ],
        ),
        (
            graph(&["x -> head.features"]),
            &[
                "pipelines.p0.edges: has no output; add an edge such as \"step.output -> answer\"",
                "pipelines.p0.edges: nothing that step \"head\" makes is used; connect one of its outputs (logits)",
            ],
        ),
        (
            graph(&[
                "x -> double.a",
                "flat.y -> double.b",
                "double.a -> flat.x",
                "double.b -> y",
            ]),
            &[
                "pipelines.p0.edges: has a cycle: double -> flat -> double; remove one of these edges",
            ],
        ),
        (
            graph(&["x -> double.a", "double.b -> double.b", "double.a -> y"]),
            &["pipelines.p0.edges: has a cycle: double -> double"],
        ),
        (
            graph(&[
                "x -> head.features",
                "x -> backbone.image",
                "head.logits -> a",
                "backbone.features -> b",
            ]),
            &[
                "pipelines.p0.edges[1]: x feeds both: head.features is FP32[n, 8], backbone.image is FP32[batch, 4]; expected",
            ],
        ),
        (
            graph(&[
                "x -> any.x",
                "x -> head.features",
                "x -> backbone.image",
                "any.y -> y",
                "head.logits -> a",
                "backbone.features -> b",
            ]),
            &[
                "pipelines.p0.edges[2]: x feeds both: head.features is FP32[n, 8], backbone.image is FP32[batch, 4]",
            ],
        ),
        (
            graph(&[
                "x -> five.x",
                "five.y -> flat.x",
                "flat.y -> six.x",
                "six.y -> y",
            ]),
            &[
                "pipelines.p0.edges[2]: flat.y is FP32[n], six.x is FP32[6]; expected the same size in dimension 0, which is 5 and 6, on both sides",
            ],
        ),
        (
            chain(&["source"]),
            &["pipelines.p0.flow: step \"source\" has no inputs, so nothing would ever start it"],
        ),
    ];
    let blocks = [
        BACKBONE,
        HEAD,
        double,
        ("bytes", "x BYTES 1 => y FP32 1"),
        ("flat", "x FP32 n => y FP32 n"),
        ("any", "x FP32 ? ? => y FP32 1"),
        ("five", "x FP32 1 => y FP32 5"),
        ("six", "x FP32 6 => y FP32 1"),
        ("source", " => y FP32 1"),
    ];
    for (flow, expected) in cases {
        let text = format!("{flow:?}");
        let lines = plan(&blocks, flow).expect_err(&text);
        assert_eq!(lines.len(), expected.len(), "{text}\n{lines:#?}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(
                line.contains(expected),
                "{text}\nreported {line}\nexpected {expected}"
            );
        }
    }
}

#[test]
fn all_pipelines_are_checked_at_once() {
    let (spec, signatures) = spec(
        &[BACKBONE, HEAD],
        vec![chain(&["hed"]), graph(&["x -> hed.y"])],
    );
    let lines = lines(&compile(&spec, &signatures, Epoch(1)).expect_err("two problems"));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("pipelines.p0.flow[0]")
            && lines[1].starts_with("pipelines.p1.edges[0]")
    );
}

#[test]
fn a_specification_without_pipelines_is_a_plan_that_serves_nothing() {
    let (spec, signatures) = spec(&[BACKBONE], vec![]);
    let plan = compile(&spec, &signatures, Epoch(1)).expect("nothing is wrong with it");
    assert_eq!((plan.blocks.len(), plan.pipelines.len()), (1, 0));
}

#[test]
fn a_block_that_no_pipeline_uses_is_allowed() {
    let plan = plan(&[BACKBONE, HEAD], chain(&["head"])).expect("sound");
    assert_eq!(plan.blocks.len(), 2);
}

#[test]
fn requests_are_joined_only_where_the_first_dimension_allows_it() {
    for (text, allowed) in [
        ("x FP32 n 4 => y FP32 n", true),
        ("x FP32 n => y FP32 m", false),
        ("x FP32 1 4 => y FP32 1", false),
        ("x BYTES n => y FP32 n", false),
        ("x FP32 => y FP32", false),
        ("x FP32 ? => y FP32 ?", false),
    ] {
        let (mut spec, signatures) = spec(&[("a", text)], vec![chain(&["a"])]);
        spec.blocks[0].batch.rows_max = 16;
        let compiled = compile(&spec, &signatures, Epoch(1)).map_err(|problems| lines(&problems));
        assert_eq!(compiled.is_ok(), allowed, "{text}: {compiled:?}");
        if let Err(lines) = compiled {
            assert!(
                lines[0].starts_with("blocks.a.batch.max: is 16, but the first dimension"),
                "{lines:?}"
            );
        }
    }
}

#[test]
fn a_block_without_signature_causes_no_follow_up_problems() {
    let flows = || {
        vec![
            chain(&["backbone", "head"]),
            graph(&[
                "x -> backbone.anything",
                "backbone.other -> head.features",
                "head.logits -> y",
            ]),
        ]
    };
    for missing in [0, 1] {
        let (spec, mut signatures) = spec(&[BACKBONE, HEAD], flows());
        signatures[missing] = None;
        let problems = compile(&spec, &signatures, Epoch(1)).expect_err("a model was not read");
        let about_names = problems
            .iter()
            .filter(|problem| problem.seen.contains("has no"));
        assert_eq!(
            problems.len(),
            about_names.count(),
            "{:#?}",
            lines(&problems)
        );
        assert_eq!(problems.is_empty(), missing == 0, "{:#?}", lines(&problems));
    }
}

#[test]
fn what_does_not_depend_on_an_unread_model_is_still_checked() {
    let flow = graph(&[
        "x -> backbone.image",
        "backbone.features -> head.feature",
        "hed.y -> y",
    ]);
    let (spec, mut signatures) = spec(&[BACKBONE, HEAD], vec![flow]);
    signatures[0] = None;
    let lines = lines(&compile(&spec, &signatures, Epoch(1)).expect_err("two problems"));
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].contains("\"head\" has no input \"feature\""),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("\"hed\" is no step and no block"),
        "{lines:#?}"
    );
}

#[test]
fn more_steps_than_ids_are_refused() {
    let (mut spec, signatures) = spec(&[("a", "x FP32 n => y FP32 n")], vec![graph(&[])]);
    let mut graph = GraphSpec::default();
    for step in 0..=usize::from(u16::MAX) {
        graph.steps.push((format!("s{step}"), "a".to_owned()));
        graph.edges.push(edge(&format!("x -> s{step}.x")));
    }
    spec.pipelines[0].flow = FlowSpec::Graph(graph);
    let problems = lines(&compile(&spec, &signatures, Epoch(1)).expect_err("too many"));
    assert_eq!(
        problems,
        ["pipelines.p0.edges: has 65536 steps; expected at most 65535"]
    );
}

#[test]
fn an_unsound_block_is_known_by_name_and_nothing_that_uses_it_is_wrong() {
    let flows = vec![chain(&["a", "torn"]), chain(&["a", "nowhere"])];
    let (spec, signatures) = spec(&[("a", "x FP32 4 => y FP32 4")], flows);
    let unsound = Unsound {
        hosts: Vec::new(),
        blocks: vec!["torn".to_owned()],
        pipelines: Vec::new(),
    };
    let problems = compile_sound(&spec, &signatures, &unsound, Epoch(1)).expect_err("unsound");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].key, "pipelines.p1.flow[1]");
    let (spec, signatures) = self::spec(&[("a", "x FP32 4 => y FP32 4")], vec![chain(&["a"])]);
    let problems = compile_sound(&spec, &signatures, &unsound, Epoch(1)).expect_err("unsound");
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn more_sockets_than_a_process_has_are_refused_by_the_name_of_instances() {
    let blocks = [("a", "x FP32 4 => y FP32 4"), ("b", "y FP32 4 => z FP32 4")];
    let (mut spec, signatures) = spec(&blocks, vec![chain(&["a", "b"])]);
    (spec.blocks[0].instances, spec.blocks[1].instances) = (28, 28);
    compile(&spec, &signatures, Epoch(1)).expect("28 x 30 + 28 x 2 + 57 sockets are few enough");
    (spec.blocks[0].instances, spec.blocks[1].instances) = (31, 31);
    let problems = compile(&spec, &signatures, Epoch(1)).expect_err("31 x 33 + 31 x 2 + 63");
    assert_eq!(
        lines(&problems),
        [
            "blocks.a.instances: is 31, and the instances of all blocks together need 1148 sockets; \
             lower it, expected at most 1000 sockets"
        ]
    );
}

#[test]
fn more_tensors_than_an_envelope_holds_are_refused() {
    let many = |count: usize| -> Vec<String> {
        (0..count).map(|index| format!("t{index} FP32 1")).collect()
    };
    for (count, sound) in [(TENSORS_MAX, true), (TENSORS_MAX + 1, false)] {
        let text = format!("x FP32 4 => {}", many(count).join(", "));
        let (spec, signatures) = spec(&[("a", &text)], vec![chain(&["a"])]);
        let compiled = compile(&spec, &signatures, Epoch(1));
        let Err(problems) = compiled else {
            assert!(sound);
            continue;
        };
        assert!(!sound);
        assert_eq!(
            lines(&problems),
            ["pipelines.p0: gives the outputs 1025 tensors from one place; expected at most 1024"]
        );
    }
}
