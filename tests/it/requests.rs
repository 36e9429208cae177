//! Requests through pipelines of mock blocks: one reply each, bounded, whatever the blocks do.

use std::time::Duration;

use blockflow::actors::{InferRequest, PipelineState};
use blockflow::types::{
    BatchSpec, Dim, EdgeSpec, FailureKind, FlowSpec, GraphSpec, MockFailure, PipelineSpec,
    RestartSpec, ShapeSpec, Spec,
};
use proptest::prelude::*;

use crate::support::{ask, behaving, chain, mock, row, spec, start, submit, until, wait};

const WIDTH: usize = 8;
const LONG: Duration = Duration::from_secs(20);

fn fixed() -> ShapeSpec {
    ShapeSpec::fixed(&[1, WIDTH])
}

fn batched() -> ShapeSpec {
    ShapeSpec(vec![Dim::symbol("batch"), Dim::Fixed(WIDTH)])
}

/// A random block of a random pipeline.
#[derive(Debug, Clone)]
struct Node {
    /// Per input: `None` is the pipeline's input, else an earlier node, by distance.
    inputs: Vec<Option<prop::sample::Index>>,
    latency_us: u64,
    failure: Option<MockFailure>,
    instances: usize,
    queue_max: usize,
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let failures = prop_oneof![
        4 => Just(None),
        1 => (2_u64..6).prop_map(|every| Some(MockFailure::Panic { every })),
        1 => (2_u64..6).prop_map(|every| Some(MockFailure::Error { every })),
    ];
    let inputs = prop::collection::vec(
        prop::option::weighted(0.8, any::<prop::sample::Index>()),
        1..4,
    );
    let node = (inputs, 0_u64..1500, failures, 1_usize..3, 1_usize..4).prop_map(
        |(inputs, latency_us, failure, instances, queue_max)| Node {
            inputs,
            latency_us,
            failure,
            instances,
            queue_max,
        },
    );
    prop::collection::vec(node, 1..7)
}

/// Returns the specification, and for each output of the pipeline how often 1 is added on the way to it.
fn dag(nodes: &[Node]) -> (Spec, Vec<u8>) {
    let mut blocks = Vec::new();
    let mut edges = Vec::new();
    let mut depth: Vec<u8> = Vec::new();
    let mut used = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        let name = format!("b{index}");
        let latency = Duration::from_micros(node.latency_us);
        let mut block = behaving(
            mock(&name, node.inputs.len(), fixed()),
            latency,
            node.failure,
        );
        block.instances = node.instances;
        block.queue_max = node.queue_max;
        blocks.push(block);
        for (port, from) in node.inputs.iter().enumerate() {
            let from = from.filter(|_| index > 0).map(|from| from.index(index));
            if let Some(from) = from {
                used[from] = true;
            }
            if port == 0 {
                // A mock's output repeats its first input.
                depth.push(1 + from.map_or(0, |from| depth[from]));
            }
            edges.push(EdgeSpec {
                from: from.map_or((None, "x".into()), |from| {
                    (Some(format!("b{from}")), "out".into())
                }),
                to: (Some(name.clone()), format!("in{port}")),
            });
        }
    }
    let mut expected = Vec::new();
    for (index, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
        edges.push(EdgeSpec {
            from: (Some(format!("b{index}")), "out".into()),
            to: (None, format!("y{index}")),
        });
        expected.push(depth[index]);
    }
    let flow = FlowSpec::Graph(GraphSpec {
        steps: Vec::new(),
        edges,
    });
    let pipeline = PipelineSpec {
        name: "dag".into(),
        flow,
        deadline: LONG,
    };
    (spec(blocks, vec![pipeline]), expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn req_1_and_req_3_random_graphs_answer_each_request_once_within_bounds(
        nodes in nodes(), in_flight_max in 1_usize..12, dropped in 0_u8..4
    ) {
        let (mut spec, expected) = dag(&nodes);
        spec.limits.in_flight_max = in_flight_max;
        let runtime = start(&spec);
        let gateway = runtime.gateway();
        std::thread::scope(|scope| {
            for client in 0..4_u8 {
                let expected = &expected;
                scope.spawn(move || {
                    for request in 0..10_u8 {
                        let value = client * 10 + request;
                        let ticket = match submit(gateway, 0, vec![row(&[value; WIDTH])]) {
                            Ok(ticket) => ticket,
                            Err(failure) => {
                                assert_eq!(failure.kind, FailureKind::Overloaded, "{failure}");
                                continue;
                            }
                        };
                        assert!(gateway.in_flight() <= in_flight_max);
                        if request % 4 < dropped {
                            continue;
                        }
                        match wait(ticket) {
                            Ok(reply) => {
                                let outputs: Vec<_> = reply.outputs.iter().map(|tensor| tensor.bytes().to_vec()).collect();
                                let right: Vec<_> = expected.iter().map(|depth| vec![value + depth; WIDTH]).collect();
                                assert_eq!(outputs, right);
                            }
                            Err(failure) => {
                                assert_eq!(failure.kind, FailureKind::BlockFailed, "{failure}");
                                assert!(failure.block.is_some(), "{failure}");
                            }
                        }
                    }
                });
            }
        });
        until("every slot is given back", || gateway.in_flight() == 0);
        let report = runtime.stop(LONG);
        prop_assert!(report.stragglers.is_empty(), "{:?}", report);
        prop_assert!(report.threads_ended);
    }

    #[test]
    fn req_4_batched_requests_get_what_they_would_get_alone(
        requests in prop::collection::vec((1_usize..5, any::<u8>()), 1..20), rows_max in 1_usize..9
    ) {
        let mut blocks = vec![mock("a", 1, batched()), mock("b", 1, batched())];
        for block in &mut blocks {
            block.batch = BatchSpec { rows_max, wait: Duration::from_millis(2) };
        }
        let runtime = start(&spec(blocks, vec![chain("p", &["a", "b"], LONG)]));
        let tickets: Vec<_> = requests
            .iter()
            .map(|&(rows, value)| {
                let bytes = vec![value; rows * WIDTH];
                let tensor = blockflow::types::Tensor::copy_of(
                    blockflow::types::DType::U8, vec![rows, WIDTH], &bytes).unwrap();
                submit(runtime.gateway(), 0, vec![tensor]).unwrap()
            })
            .collect();
        for (&(rows, value), ticket) in requests.iter().zip(tickets) {
            let outputs = wait(ticket).unwrap().outputs;
            prop_assert_eq!(outputs[0].shape(), &[rows, WIDTH]);
            prop_assert_eq!(outputs[0].bytes(), vec![value.wrapping_add(2); rows * WIDTH]);
        }
        runtime.stop(LONG);
    }
}

#[test]
fn a_block_that_panics_on_every_third_run_costs_only_those_requests() {
    let block = behaving(
        mock("shaky", 1, fixed()),
        Duration::ZERO,
        Some(MockFailure::Panic { every: 3 }),
    );
    let runtime = start(&spec(
        vec![block, mock("sound", 1, fixed())],
        vec![chain("p", &["shaky", "sound"], LONG)],
    ));
    let (mut answered, mut failed) = (0, 0);
    for _ in 0..30 {
        match ask(runtime.gateway(), 0, vec![row(&[1; WIDTH])]) {
            Ok(outputs) => {
                assert_eq!(outputs[0].bytes(), [3; WIDTH]);
                answered += 1;
            }
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::BlockFailed);
                assert_eq!(failure.block.as_deref(), Some("shaky"));
                assert!(failure.cause.contains("panicked"), "{failure}");
                failed += 1;
            }
        }
    }
    assert!(
        failed >= 8 && answered >= 15,
        "{answered} answered, {failed} failed"
    );
}

#[test]
fn a_batch_that_fails_is_run_again_one_by_one() {
    let failure = Some(MockFailure::Error { every: 2 });
    let mut block = behaving(mock("odd", 1, batched()), Duration::from_millis(5), failure);
    block.batch = BatchSpec {
        rows_max: 4,
        wait: Duration::from_millis(50),
    };
    let runtime = start(&spec(vec![block], vec![chain("p", &["odd"], LONG)]));
    let tickets: Vec<_> = (0..16)
        .map(|value| submit(runtime.gateway(), 0, vec![row(&[value; WIDTH])]).unwrap())
        .collect();
    let mut answered = 0;
    for (value, ticket) in (0..16_u8).zip(tickets) {
        if let Ok(reply) = wait(ticket) {
            assert_eq!(reply.outputs[0].bytes(), [value + 1; WIDTH]);
            answered += 1;
        }
    }
    assert!(answered >= 8, "only {answered} of 16 were answered");
}

#[test]
fn a_block_is_given_up_loudly_after_its_budget() {
    let failure = Some(MockFailure::Error { every: 2 });
    let mut block = behaving(mock("hopeless", 1, fixed()), Duration::ZERO, failure);
    block.restart = RestartSpec {
        budget: 1,
        ..block.restart
    };
    let runtime = start(&spec(vec![block], vec![chain("p", &["hopeless"], LONG)]));
    let gateway = runtime.gateway();
    let kinds: Vec<_> = (0..8)
        .map(|_| {
            ask(gateway, 0, vec![row(&[0; WIDTH])])
                .map(drop)
                .map_err(|failure| failure.kind)
        })
        .collect();
    assert!(kinds.contains(&Err(FailureKind::BlockFailed)), "{kinds:?}");
    until("the pipeline is not ready", || {
        gateway.state(0) != PipelineState::Ready
    });
    let failure = ask(gateway, 0, vec![row(&[0; WIDTH])]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert!(
        failure.cause.contains("hopeless") && failure.cause.contains("given up"),
        "{failure}"
    );
}

#[test]
fn a_block_that_hangs_past_the_deadline_is_answered_for_at_the_deadline() {
    let failure = Some(MockFailure::Hang {
        every: 2,
        time: Duration::from_millis(600),
    });
    let block = behaving(mock("slow", 1, fixed()), Duration::ZERO, failure);
    let runtime = start(&spec(
        vec![block],
        vec![chain("p", &["slow"], Duration::from_millis(150))],
    ));
    ask(runtime.gateway(), 0, vec![row(&[0; WIDTH])]).unwrap();
    let failure = ask(runtime.gateway(), 0, vec![row(&[0; WIDTH])]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeadlineExceeded);
    until("the block works again", || {
        ask(runtime.gateway(), 0, vec![row(&[1; WIDTH])]).is_ok()
    });
}

#[test]
fn a_deadline_of_the_request_shortens_that_of_the_pipeline() {
    let block = behaving(mock("slow", 1, fixed()), Duration::from_millis(300), None);
    let runtime = start(&spec(vec![block], vec![chain("p", &["slow"], LONG)]));
    let request = InferRequest {
        pipeline: 0,
        inputs: vec![row(&[0; WIDTH])],
        deadline: Some(Duration::from_millis(20)),
    };
    let failure = wait(runtime.gateway().submit(request).unwrap()).unwrap_err();
    assert_eq!(failure.kind, FailureKind::DeadlineExceeded);
    assert!(failure.cause.contains("20 ms"), "{failure}");
}

#[test]
fn requests_beyond_the_bound_are_refused_and_the_others_answered() {
    let block = behaving(mock("slow", 1, fixed()), Duration::from_millis(50), None);
    let mut spec = spec(vec![block], vec![chain("p", &["slow"], LONG)]);
    spec.limits.in_flight_max = 3;
    let runtime = start(&spec);
    let results: Vec<_> = (0..10)
        .map(|_| submit(runtime.gateway(), 0, vec![row(&[0; WIDTH])]))
        .collect();
    let (admitted, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((admitted.len(), refused.len()), (3, 7));
    for failure in refused.into_iter().filter_map(Result::err) {
        assert_eq!(failure.kind, FailureKind::Overloaded);
        assert!(failure.cause.contains("in_flight_max"), "{failure}");
    }
    for ticket in admitted.into_iter().flatten() {
        wait(ticket).unwrap();
    }
}

#[test]
fn a_dropped_ticket_frees_its_place_before_the_block_is_done() {
    let block = behaving(mock("slow", 1, fixed()), Duration::from_millis(400), None);
    let runtime = start(&spec(vec![block], vec![chain("p", &["slow"], LONG)]));
    let gateway = runtime.gateway();
    let running = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    let waiting = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    drop(waiting);
    until("the cancelled request is gone", || gateway.in_flight() == 1);
    wait(running).unwrap();
}

#[test]
fn wrong_tensors_are_refused_before_anything_runs() {
    let runtime = start(&spec(
        vec![mock("a", 1, fixed())],
        vec![chain("p", &["a"], LONG)],
    ));
    for inputs in [
        vec![],
        vec![row(&[0; 4])],
        vec![row(&[0; WIDTH]), row(&[0; WIDTH])],
    ] {
        let failure = submit(runtime.gateway(), 0, inputs).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
    }
    assert!(ask(runtime.gateway(), 0, vec![row(&[0; WIDTH])]).is_ok());
}

#[test]
fn a_stop_answers_what_is_in_flight_and_names_what_is_not_done_in_time() {
    let block = behaving(mock("slow", 1, fixed()), Duration::from_millis(200), None);
    let runtime = start(&spec(
        vec![block.clone()],
        vec![chain("p", &["slow"], LONG)],
    ));
    let ticket = submit(runtime.gateway(), 0, vec![row(&[0; WIDTH])]).unwrap();
    let report = runtime.stop(LONG);
    assert!(report.stragglers.is_empty(), "{report:?}");
    assert!(wait(ticket).is_ok());

    let runtime = start(&spec(vec![block], vec![chain("p", &["slow"], LONG)]));
    let gateway = runtime.gateway().clone();
    let ticket = submit(&gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    let report = runtime.stop(Duration::from_millis(1));
    assert_eq!(report.stragglers.len(), 1);
    assert!(report.stragglers[0].contains("\"p\""), "{report:?}");
    assert_eq!(wait(ticket).unwrap_err().kind, FailureKind::ShuttingDown);
    let failure = submit(&gateway, 0, vec![row(&[0; WIDTH])]).unwrap_err();
    assert_eq!(failure.kind, FailureKind::ShuttingDown);
}

#[test]
fn pipelines_that_use_blocks_in_opposite_orders_do_not_block_each_other() {
    let mut blocks = vec![mock("a", 1, fixed()), mock("b", 1, fixed())];
    for block in &mut blocks {
        block.queue_max = 1;
    }
    let pipelines = vec![
        chain("there", &["a", "b"], LONG),
        chain("back", &["b", "a"], LONG),
    ];
    let runtime = start(&spec(blocks, pipelines));
    for _ in 0..20 {
        let tickets: Vec<_> = (0..64)
            .map(|index| submit(runtime.gateway(), index % 2, vec![row(&[0; WIDTH])]).unwrap())
            .collect();
        for ticket in tickets {
            assert_eq!(wait(ticket).unwrap().outputs[0].bytes(), [2; WIDTH]);
        }
    }
}
