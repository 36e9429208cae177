//! Requests through pipelines of mock blocks: one reply each, bounded, whatever the blocks do.

use std::time::Duration;

use blockflow::actors::{InferRequest, PipelineState};
use blockflow::telemetry::metrics;
use blockflow::types::{
    BatchSpec, DType, Dim, Failure, FailureKind, MockFailure, RestartSpec, ShapeSpec, Signature,
    Spec, Tensor, TensorSpec,
};
use proptest::prelude::*;

use crate::support::{
    ask, behaving, chain, graph, mock, mock_of, row, spec, start, submit, until, wait,
};

const WIDTH: usize = 8;
const LONG: Duration = Duration::from_secs(20);
/// Longer than any test waits.
const HOPELESS: Duration = Duration::from_secs(40);

fn fixed() -> ShapeSpec {
    ShapeSpec::fixed(&[1, WIDTH])
}

fn batched() -> ShapeSpec {
    ShapeSpec(vec![Dim::symbol("batch"), Dim::Fixed(WIDTH)])
}

/// Returns how many envelopes the instances of a block have taken off their sockets.
fn received(block: &str) -> u64 {
    metrics::block(block).envelopes_received.get()
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
            let from = from.map_or("x".into(), |from| format!("b{from}.out"));
            edges.push(format!("{from} -> {name}.in{port}"));
        }
    }
    let mut expected = Vec::new();
    for (index, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
        edges.push(format!("b{index}.out -> y{index}"));
        expected.push(depth[index]);
    }
    let edges: Vec<_> = edges.iter().map(String::as_str).collect();
    let pipeline = graph("dag", &edges, LONG);
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
                let tensor = Tensor::copy_of(DType::U8, vec![rows, WIDTH], &bytes).unwrap();
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
fn dropped_tickets_free_their_places_while_the_block_runs() {
    // Neither the end of the run nor the deadline can free a place while this test waits.
    let name = "slow_of_dropped_tickets";
    let block = behaving(mock(name, 1, fixed()), 2 * HOPELESS, None);
    let runtime = start(&spec(vec![block], vec![chain("p", &[name], 4 * HOPELESS)]));
    let gateway = runtime.gateway();
    let running = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    until("the first request runs", || received(name) == 1);
    let waiting = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    assert_eq!(gateway.in_flight(), 2);
    drop(waiting);
    until("the waiting request is gone", || gateway.in_flight() == 1);
    drop(running);
    until("the running request is gone", || gateway.in_flight() == 0);
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

/// A step `pair` with two inputs of as many rows, of which the second has one row whatever the request has.
fn unequal(rows_max: usize) -> Spec {
    let tensor = |name: &str, rows: Dim| {
        TensorSpec::new(name, DType::U8, ShapeSpec(vec![rows, Dim::Fixed(WIDTH)]))
    };
    let one_row = mock_of(
        "one_row",
        Signature {
            inputs: vec![tensor("in0", Dim::symbol("batch"))],
            outputs: vec![tensor("out", Dim::Any)],
        },
    );
    let mut pair = mock("pair", 2, batched());
    pair.restart.budget = 0;
    pair.batch = BatchSpec {
        rows_max,
        wait: Duration::from_millis(50),
    };
    let edges = [
        "x -> one_row.in0",
        "x -> pair.in0",
        "one_row.out -> pair.in1",
        "pair.out -> y",
    ];
    spec(vec![one_row, pair], vec![graph("p", &edges, LONG)])
}

fn rows_of(rows: usize, value: u8) -> Tensor {
    Tensor::copy_of(DType::U8, vec![rows, WIDTH], &vec![value; rows * WIDTH]).unwrap()
}

type Outcome = Result<(Vec<usize>, Vec<u8>), FailureKind>;

fn outcome(reply: Result<Vec<Tensor>, Failure>) -> Outcome {
    reply
        .map(|outputs| (outputs[0].shape().to_vec(), outputs[0].bytes().to_vec()))
        .map_err(|failure| failure.kind)
}

/// Sends requests of so many rows, the value of each its number, one after the other or all at once.
fn outcomes(spec: &Spec, requests: &[usize], at_once: bool) -> Vec<Outcome> {
    let runtime = start(spec);
    let gateway = runtime.gateway();
    let inputs = requests.iter().zip(0..);
    let inputs = inputs.map(|(&rows, value)| vec![rows_of(rows, value)]);
    if at_once {
        let tickets: Vec<_> = inputs.map(|inputs| submit(gateway, 0, inputs)).collect();
        let replies = tickets
            .into_iter()
            .map(|ticket| wait(ticket?).map(|reply| reply.outputs));
        replies.map(outcome).collect()
    } else {
        inputs
            .map(|inputs| outcome(ask(gateway, 0, inputs)))
            .collect()
    }
}

#[test]
fn req_4_inputs_of_unequal_rows_are_never_evened_out_by_another_request() {
    // Two rows and one, none and one: together the inputs have as many rows, and none of them fits.
    let requests = [2, 0, 1, 2, 0, 1, 1];
    let alone = outcomes(&unequal(1), &requests, false);
    for (value, (rows, outcome)) in (0_u8..).zip(requests.iter().zip(&alone)) {
        if *rows == 1 {
            assert_eq!(*outcome, Ok((vec![1, WIDTH], vec![value + 1; WIDTH])));
        } else {
            assert!(outcome.is_err(), "{rows} rows: {outcome:?}");
        }
    }
    assert_eq!(outcomes(&unequal(64), &requests, true), alone);
}

#[test]
fn req_4_requests_without_rows_get_in_a_batch_what_they_get_alone() {
    let spec = |rows_max| {
        let mut block = mock("a", 1, batched());
        block.batch = BatchSpec {
            rows_max,
            wait: Duration::from_millis(50),
        };
        spec(vec![block], vec![chain("p", &["a"], LONG)])
    };
    for requests in [&[0, 0, 0][..], &[0, 2, 0, 1, 0]] {
        let alone = outcomes(&spec(1), requests, false);
        assert_eq!(outcomes(&spec(64), requests, true), alone);
    }
}

#[test]
fn requests_that_do_not_fit_cost_a_block_nothing() {
    let runtime = start(&unequal(1));
    let gateway = runtime.gateway();
    for _ in 0..100 {
        let failure = ask(gateway, 0, vec![rows_of(2, 0)]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid, "{failure}");
        assert_eq!(failure.block.as_deref(), Some("pair"), "{failure}");
    }
    assert_eq!(gateway.state(0), PipelineState::Ready);
    assert!(ask(gateway, 0, vec![rows_of(1, 0)]).is_ok());
}

#[test]
fn a_block_that_errs_within_its_budget_fails_those_requests_and_no_more() {
    let failure = Some(MockFailure::Error { every: 2 });
    let block = behaving(mock("moody", 1, fixed()), Duration::ZERO, failure);
    let runtime = start(&spec(vec![block], vec![chain("p", &["moody"], LONG)]));
    let gateway = runtime.gateway();
    let mut failed = 0;
    for _ in 0..100 {
        if let Err(failure) = ask(gateway, 0, vec![row(&[0; WIDTH])]) {
            assert_eq!(failure.kind, FailureKind::BlockFailed, "{failure}");
            assert!(failure.cause.contains("as declared"), "{failure}");
            failed += 1;
        }
    }
    assert_eq!(failed, 50);
    assert_eq!(gateway.state(0), PipelineState::Ready);
}

#[test]
fn a_second_request_goes_to_the_instance_that_is_free() {
    let name = "one_of_two_instances";
    let mut block = behaving(mock(name, 1, fixed()), 2 * HOPELESS, None);
    block.instances = 2;
    block.queue_max = 1;
    let pipelines = vec![
        chain("p", &[name], 4 * HOPELESS),
        chain("quick", &["quick"], LONG),
    ];
    let runtime = start(&spec(vec![block, mock("quick", 1, fixed())], pipelines));
    let gateway = runtime.gateway();
    let _first = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    until("one instance runs", || received(name) == 1);
    // The gateway takes up whatever credit has come back by now.
    ask(gateway, 1, vec![row(&[0; WIDTH])]).unwrap();
    let _second = submit(gateway, 0, vec![row(&[0; WIDTH])]).unwrap();
    // An instance in a run takes nothing off its socket, so this is the other one.
    until("the other instance runs too", || received(name) == 2);
}

#[test]
fn req_1_submissions_that_race_a_stop_are_answered_or_refused() {
    for round in 0..30 {
        let block = behaving(mock("racer", 1, fixed()), Duration::from_micros(200), None);
        let runtime = start(&spec(vec![block], vec![chain("p", &["racer"], LONG)]));
        let gateway = runtime.gateway().clone();
        let submitting = || {
            let mut tickets = Vec::new();
            loop {
                match submit(&gateway, 0, vec![row(&[0; WIDTH])]) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(failure) if failure.kind == FailureKind::Overloaded => {
                        std::thread::yield_now();
                    }
                    Err(failure) => {
                        assert_eq!(failure.kind, FailureKind::ShuttingDown, "{failure}");
                        return tickets;
                    }
                }
            }
        };
        let (tickets, report) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(submitting)).collect();
            until("requests are in flight", || gateway.in_flight() > 0);
            let report = runtime.stop(Duration::from_millis(round % 3));
            let tickets = clients.into_iter().map(|client| client.join().unwrap());
            (tickets.flatten().collect::<Vec<_>>(), report)
        });
        assert!(!tickets.is_empty());
        for ticket in tickets {
            if let Err(failure) = wait(ticket) {
                assert_eq!(failure.kind, FailureKind::ShuttingDown, "{failure}");
            }
        }
        assert_eq!(gateway.in_flight(), 0);
        assert!(report.threads_ended);
    }
}

#[test]
fn a_stop_does_not_work_off_a_deep_backlog() {
    let latency = Duration::from_millis(150);
    let blocks: Vec<_> = ["deep_a", "deep_b", "deep_c"]
        .map(|name| {
            let mut block = behaving(mock(name, 1, fixed()), latency, None);
            block.queue_max = 64;
            block
        })
        .into();
    let runtime = start(&spec(
        blocks,
        vec![chain("p", &["deep_a", "deep_b", "deep_c"], LONG)],
    ));
    let gateway = runtime.gateway().clone();
    let tickets: Vec<_> = (0..64)
        .map(|_| submit(&gateway, 0, vec![row(&[0; WIDTH])]).unwrap())
        .collect();
    until("the backlog has reached the first block", || {
        received("deep_a") >= 1
    });
    let report = runtime.stop(Duration::ZERO);
    assert_eq!(report.stragglers.len(), tickets.len());
    assert!(report.threads_ended, "{report:?}");
    for ticket in tickets {
        assert_eq!(wait(ticket).unwrap_err().kind, FailureKind::ShuttingDown);
    }
    assert_eq!(gateway.in_flight(), 0);
}
