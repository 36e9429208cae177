//! Random configurations: compiling never panics, and what it accepts keeps the invariants of a plan.

use std::collections::BTreeSet;

use blockflow::plan::{EdgeFrom, EdgeTo, Plan, PlannedPipeline, Route, compile};
use blockflow::types::{Epoch, FlowSpec, GraphSpec, Signature, Spec, TensorSpec};
use proptest::prelude::*;

use crate::plan::{edge, spec};

/// Blocks that fit each other often enough for random graphs to be accepted.
const BLOCKS: [(&str, &str); 5] = [
    ("one", "a FP32 n 4 => a FP32 n 4"),
    ("two", "a FP32 n 4, b FP32 n 4 => a FP32 n 4, b FP32 n 4"),
    ("any", "a FP32 ? ? => a FP32 ? 4"),
    ("fixed", "a FP32 2 4 => b FP32 2 4"),
    ("odd", "a INT64 n => b FP32 n 4"),
];

/// A graph whose edges mostly lead forward: each input of each step gets one producer from among earlier ones.
fn forward() -> impl Strategy<Value = FlowSpec> {
    let blocks = prop::collection::vec(0..BLOCKS.len(), 1..12);
    (
        blocks,
        any::<u64>(),
        prop::collection::vec(any::<u16>(), 64),
    )
        .prop_map(|(blocks, mistake, picks)| {
            let mut picks = picks.into_iter().cycle().map(usize::from);
            let mut pick = move |count: usize| picks.next().expect("it cycles") % count;
            let mut graph = GraphSpec::default();
            let mut producers = vec!["input".to_owned(), "other".to_owned()];
            let mut unused = BTreeSet::new();
            for (index, block) in blocks.iter().enumerate() {
                let (name, signature) = BLOCKS[*block];
                let step = format!("s{index}");
                graph.steps.push((step.clone(), name.to_owned()));
                let (inputs, outputs) = signature.split_once("=>").expect("an arrow");
                for input in inputs
                    .split(',')
                    .filter_map(|text| text.split_whitespace().next())
                {
                    let from = &producers[pick(producers.len())];
                    unused.remove(from);
                    graph.edges.push(edge(&format!("{from} -> {step}.{input}")));
                }
                for output in outputs
                    .split(',')
                    .filter_map(|text| text.split_whitespace().next())
                {
                    producers.push(format!("{step}.{output}"));
                    unused.insert(format!("{step}.{output}"));
                }
            }
            for (index, from) in unused.iter().enumerate() {
                graph.edges.push(edge(&format!("{from} -> y{index}")));
            }
            if mistake % 4 == 0 {
                let place = pick(graph.edges.len());
                graph.edges.remove(place);
            }
            let count = graph.edges.len();
            if count > 1 {
                graph.edges.swap(pick(count), pick(count));
            }
            FlowSpec::Graph(graph)
        })
}

/// Any edges between any names, so that most are wrong.
fn wild() -> impl Strategy<Value = FlowSpec> {
    let end = prop::sample::select(vec![
        "x", "y", "one.a", "two.a", "two.b", "any.a", "s.a", "s.b", "no.a", "one.z",
    ]);
    let edges = prop::collection::vec((end.clone(), end), 0..12);
    let steps = prop::collection::vec(prop::sample::select(vec!["one", "fixed", "nothing"]), 0..2);
    (edges, steps).prop_map(|(edges, steps)| {
        FlowSpec::Graph(GraphSpec {
            steps: steps
                .into_iter()
                .map(|block| ("s".to_owned(), block.to_owned()))
                .collect(),
            edges: edges
                .into_iter()
                .map(|(from, to)| edge(&format!("{from} -> {to}")))
                .collect(),
        })
    })
}

fn chains() -> impl Strategy<Value = FlowSpec> {
    let names = prop::sample::select(vec!["one", "two", "any", "fixed", "odd", "nothing"]);
    prop::collection::vec(names, 0..5)
        .prop_map(|names| FlowSpec::Chain(names.into_iter().map(str::to_owned).collect()))
}

fn check(plan: &Plan) {
    for pipeline in &plan.pipelines {
        check_pipeline(plan, pipeline);
    }
}

fn check_pipeline(plan: &Plan, pipeline: &PlannedPipeline) {
    let block = |step: usize| &plan.blocks[pipeline.steps[step].block];
    let mut produced = BTreeSet::new();
    for edge in &pipeline.edges {
        assert!(produced.insert(edge.to), "{:?} has two producers", edge.to);
        let gateway = &plan.gateway;
        let (maker, from) = match edge.from {
            EdgeFrom::Input(place) => (gateway.clone(), &pipeline.signature.inputs[place]),
            EdgeFrom::Step { step, output } => (
                block(step).placement.clone(),
                &block(step).signature.outputs[output],
            ),
        };
        let (taker, to) = match edge.to {
            EdgeTo::Output(place) => (gateway.clone(), &pipeline.signature.outputs[place]),
            EdgeTo::Step { step, input } => (
                block(step).placement.clone(),
                &block(step).signature.inputs[input],
            ),
        };
        agrees(from, to);
        assert_eq!(edge.route, Route::between(&maker, &taker));
        if let (EdgeFrom::Step { step: from, .. }, EdgeTo::Step { step: to, .. }) =
            (edge.from, edge.to)
        {
            assert!(from < to, "step {from} comes after step {to}");
        }
    }
    let wanted: BTreeSet<_> = (0..pipeline.steps.len())
        .flat_map(|step| {
            (0..block(step).signature.inputs.len()).map(move |input| EdgeTo::Step { step, input })
        })
        .chain((0..pipeline.signature.outputs.len()).map(EdgeTo::Output))
        .collect();
    assert_eq!(produced, wanted);
    assert!(!pipeline.signature.inputs.is_empty() && !pipeline.signature.outputs.is_empty());
    let used: BTreeSet<_> = pipeline.edges.iter().map(|edge| edge.from).collect();
    for place in 0..pipeline.signature.inputs.len() {
        assert!(used.contains(&EdgeFrom::Input(place)));
    }
}

fn agrees(from: &TensorSpec, to: &TensorSpec) {
    assert_eq!(from.dtype, to.dtype);
    assert!(from.shape.compatible(&to.shape), "{from} and {to}");
}

fn compile_one(flow: FlowSpec, hidden: Option<usize>) -> (Result<Plan, usize>, Spec) {
    let (spec, mut signatures): (Spec, Vec<Option<Signature>>) = spec(&BLOCKS, vec![flow]);
    if let Some(hidden) = hidden {
        signatures[hidden] = None;
    }
    (
        compile(&spec, &signatures, Epoch(7)).map_err(|problems| problems.len()),
        spec,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_plan_keeps_its_invariants(
        flow in prop_oneof![4 => forward(), 2 => wild(), 1 => chains()],
    ) {
        match compile_one(flow, None).0 {
            Ok(plan) => check(&plan),
            Err(problems) => prop_assert!(problems > 0, "refused without a reason"),
        }
    }

    #[test]
    fn an_unread_model_never_makes_a_plan(
        flow in prop_oneof![forward(), wild(), chains()],
        hidden in 0..BLOCKS.len(),
    ) {
        prop_assert!(compile_one(flow, Some(hidden)).0.is_err());
    }
}

#[test]
fn random_graphs_are_accepted_often_enough_to_mean_something() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let accepted = (0..400)
        .filter(|_| {
            let flow = forward().new_tree(&mut runner).expect("a graph").current();
            compile_one(flow, None).0.is_ok()
        })
        .count();
    assert!((40..360).contains(&accepted), "{accepted} of 400 accepted");
}
