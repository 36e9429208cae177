//! Runs that a device does by itself: what is replayed is what would have been launched, and where nothing can be captured all
//! goes on as before.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use blockflow::engine::torch::{allocator_memory, give_back_memory};
use blockflow::engine::{
    BlockSource, Capture, EngineError, Ledger, Prepared, Seat, Session, Store, Timeline, prepare,
    prepare_for, set_devices, warm_up,
};
use blockflow::graph::{
    AtenArgument, AtenOp, AtenOutput, AtenPlace, Binary, Graph, Index, Op, PadMode, Unary,
};
use blockflow::telemetry::metrics;
use blockflow::types::{
    CudaGraphs, CudaSpec, DType, Device, DeviceSpec, Dim, EagerReason, GraphEngine, Passes,
    ProofSpec, Signature, Tensor,
};

use crate::cuda_rehearsal::{DIGITS, GPU, host, images, network, prepared, run};
use crate::engine_support::{Builder, f32s, fixed, i64s, signature};
use crate::sim::held;
use crate::support::cuda::{device_or_skip, on_stage, rehearse, rehearse_with};
use crate::support::files::Files;
use crate::support::server::{BINARY, Server};
use crate::support::until;

/// Returns a session that has captured runs on images of so many rows.
fn captured(prepared: &dyn Prepared, rows: &[usize]) -> Box<dyn Session> {
    let mut session = prepared.session().unwrap();
    for &rows in rows {
        let zeros = images(rows, 0);
        run(&mut session, std::slice::from_ref(&zeros));
        let done = session.capture(&[zeros]).unwrap();
        assert!(
            matches!(done, Capture::Done { bytes } if bytes > 0),
            "{done:?}"
        );
    }
    session
}

fn assert_same(seen: &[Tensor], expected: &[Tensor], told: &str) {
    assert_eq!(seen.len(), expected.len(), "{told}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(seen.shape(), expected.shape(), "{told}");
        assert_eq!(seen.bytes(), expected.bytes(), "{told}");
    }
}

fn assert_nothing_is_held() {
    assert_eq!(Store::of(GPU).usage().bytes, 0);
    let memory = Ledger::of(GPU).memory();
    assert_eq!((memory.weights, memory.workspace), (0, 0));
    assert_eq!(allocator_memory(0).unwrap().used, 0);
    // Nor is anything kept for graphs that are no more.
    give_back_memory();
    assert_eq!(allocator_memory(0).unwrap().taken, 0);
}

#[test]
fn replays_give_what_launches_give() {
    rehearse("cuda_graphs::inside_replays_give_what_launches_give");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_replays_give_what_launches_give() {
    replays_are_as_launches();
    assert_nothing_is_held();
}

#[test]
fn replays_give_what_launches_give_on_a_device() {
    if device_or_skip().is_some() {
        replays_are_as_launches();
    }
}

fn replays_are_as_launches() {
    let prepared = prepared(&network(), GPU).unwrap();
    let mut launched = prepared.session().unwrap();
    let mut replayed = captured(prepared.as_ref(), &[4, 2, 1]);
    // What comes out is kept on the device while the session goes on, and read at the end.
    let mut kept = Vec::new();
    for round in 0..12 {
        let rows = [1, 2, 4, 3][round % 4];
        let image = images(rows, round);
        let outputs = run(&mut replayed, std::slice::from_ref(&image));
        assert_eq!(replayed.replayed(), Some(rows != 3), "{rows} rows");
        kept.push((image, outputs));
    }
    for (round, (image, outputs)) in kept.into_iter().enumerate() {
        let expected = host(&run(&mut launched, &[image]));
        assert_same(&host(&outputs), &expected, &format!("round {round}"));
    }
    assert_eq!(launched.replayed(), None);
    replayed.forget_capture();
    let image = images(1, 5);
    let expected = host(&run(&mut launched, std::slice::from_ref(&image)));
    assert_same(
        &host(&run(&mut replayed, &[image])),
        &expected,
        "launched again",
    );
    assert_eq!(replayed.replayed(), Some(false));
}

#[test]
fn inputs_come_from_other_sessions_and_outputs_go_to_them() {
    rehearse("cuda_graphs::inside_inputs_come_from_other_sessions");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_inputs_come_from_other_sessions() {
    let graph = network();
    let cut = ["features".to_owned()];
    let parts = [
        graph.segment(None, Some(&cut)).unwrap(),
        graph
            .segment(Some(&cut), Some(&["digit_logits".to_owned()]))
            .unwrap(),
    ];
    let [backbone, head] = parts.each_ref().map(|part| prepared(part, GPU).unwrap());
    let mut plain = [&backbone, &head].map(|part| part.session().unwrap());
    let mut first = captured(backbone.as_ref(), &[1, 2]);
    let mut second = head.session().unwrap();
    for rows in [2, 1] {
        let features = run(&mut first, &[images(rows, 0)]);
        run(&mut second, &features);
        let done = second.capture(&features).unwrap();
        assert!(matches!(done, Capture::Done { .. }), "{done:?}");
    }
    let mut kept = Vec::new();
    for round in 0..6 {
        let image = images(1, round);
        let features = run(&mut first, std::slice::from_ref(&image));
        kept.push((image, features.clone(), run(&mut second, &features)));
    }
    for (image, _, seen) in &kept {
        let features = run(&mut plain[0], std::slice::from_ref(image));
        let expected = host(&run(&mut plain[1], &features));
        assert_same(&host(seen), &expected, "one by one");
    }
    // A batch put together of what several replays gave.
    let joined = Tensor::join_rows(&[&kept[3].1[0], &kept[5].1[0]]).unwrap();
    let batch = host(&run(&mut second, std::slice::from_ref(&joined)));
    assert_eq!(second.replayed(), Some(true));
    assert_same(&batch, &host(&run(&mut plain[1], &[joined])), "a batch");
}

/// Prepares a graph of inputs and outputs of these types on the device.
fn made(graph: &Graph, of: &Signature, passes: Passes) -> std::sync::Arc<dyn Prepared> {
    let source = BlockSource::Graph {
        graph,
        signature: of.clone(),
        engine: GraphEngine::Aten,
        passes,
    };
    prepare(source, 1, GPU).unwrap()
}

/// Runs a graph on an input and asks for a capture of that; then runs it on others.
fn attempt(graph: &Graph, of: &Signature, inputs: &[Tensor]) -> Capture {
    let prepared = made(graph, of, Passes::default());
    let [mut launched, mut session] = [(); 2].map(|()| prepared.session().unwrap());
    run(&mut session, &inputs[..1]);
    let capture = session.capture(&inputs[..1]).unwrap();
    for input in inputs.iter().cycle().take(5) {
        let [seen, expected] = [&mut session, &mut launched]
            .map(|session| host(&run(session, std::slice::from_ref(input))));
        assert_same(&seen, &expected, "after the attempt");
    }
    capture
}

fn why(capture: &Capture) -> Option<EagerReason> {
    match capture {
        Capture::Refused { why, .. } => Some(*why),
        _ => None,
    }
}

#[test]
fn what_follows_from_sizes_is_captured_and_what_follows_from_data_is_not() {
    rehearse("cuda_graphs::inside_what_follows_from_sizes");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_follows_from_sizes() {
    let row = fixed(&[1, 3]);
    let of = |outputs: &[(DType, &[_])]| signature(&[(DType::F32, &row)], outputs);
    let inputs = [
        f32s(&[1, 3], &[1.0, 0.0, 2.0]),
        f32s(&[1, 3], &[-4.0, 5.0, 0.5]),
    ];

    // A size is brought to the device, where it is computed with.
    let mut builder = Builder::new();
    let input = builder.input();
    let all = builder.node(
        Op::Shape {
            start: 1,
            end: None,
        },
        &[input],
    );
    let number = builder.node(Op::Cast { to: DType::F32 }, &[all]);
    let sum = builder.node(Op::Binary(Binary::Add), &[input, number]);
    let graph = builder.finish(&[sum, all]);
    let one = fixed(&[1]);
    let done = attempt(
        &graph,
        &of(&[(DType::F32, &row), (DType::I64, &one)]),
        &inputs,
    );
    assert!(matches!(done, Capture::Done { .. }), "{done:?}");

    // The input itself, and a weight, are given out.
    let mut builder = Builder::new();
    let input = builder.input();
    let weight = builder.constant(f32s(&[1, 3], &[7.0, 8.0, 9.0]));
    let sum = builder.node(Op::Binary(Binary::Add), &[input, weight]);
    let graph = builder.finish(&[input, sum, weight]);
    let three = [(DType::F32, &row[..]); 3];
    let done = attempt(&graph, &of(&three), &inputs);
    assert!(matches!(done, Capture::Done { .. }), "{done:?}");

    // Kernels that bring numbers to the device themselves: a slope, and where elements are mirrored.
    let mut builder = Builder::new();
    let input = builder.input();
    let leaky = builder.node(Op::Unary(Unary::LeakyRelu { alpha: 0.25 }), &[input]);
    let pads = i64s(&[4], &[0, 2, 0, 1]);
    let pads = builder.constant(pads);
    let mirrored = builder.node(Op::Pad(PadMode::Reflect), &[leaky, pads]);
    let graph = builder.finish(&[mirrored]);
    let wide = fixed(&[1, 6]);
    let done = attempt(&graph, &of(&[(DType::F32, &wide)]), &inputs);
    assert!(matches!(done, Capture::Done { .. }), "{done:?}");

    let mut builder = Builder::new();
    let input = builder.input();
    let places = builder.node(Op::Index(Index::NonZero), &[input]);
    let graph = builder.finish(&[places]);
    let open = blockflow::types::ShapeSpec(vec![
        blockflow::types::Dim::Fixed(2),
        blockflow::types::Dim::Any,
    ]);
    let refused = attempt(&graph, &of(&[(DType::I64, &open.0)]), &inputs);
    assert_eq!(why(&refused), Some(EagerReason::DataSizes), "{refused:?}");

    let mut builder = Builder::new();
    let input = builder.input();
    let table = builder.constant(f32s(&[3, 1], &[0.5, 1.5, 2.5]));
    let index = builder.node(Op::Cast { to: DType::I64 }, &[input]);
    let picked = builder.node(Op::Gather { axis: 0 }, &[table, index]);
    let graph = builder.finish(&[picked]);
    let picked = fixed(&[1, 3, 1]);
    let inputs = [f32s(&[1, 3], &[1., 0., 2.]), f32s(&[1, 3], &[2., 2., 0.])];
    let refused = attempt(&graph, &of(&[(DType::F32, &picked)]), &inputs);
    assert_eq!(why(&refused), Some(EagerReason::HostBetween), "{refused:?}");
    assert!(format!("{refused:?}").contains("Gather"), "{refused:?}");
    assert_nothing_is_held();
}

#[test]
fn a_capture_that_fails_leaves_nothing_behind() {
    for trouble in ["begin", "middle", "end"] {
        let test = "cuda_graphs::inside_a_capture_that_fails";
        rehearse_with(test, &[("REHEARSAL_CAPTURE", trouble)]);
    }
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_capture_that_fails() {
    let prepared = prepared(&network(), GPU).unwrap();
    let mut launched = prepared.session().unwrap();
    let mut session = prepared.session().unwrap();
    let image = images(2, 3);
    let expected = host(&run(&mut launched, std::slice::from_ref(&image)));
    run(&mut session, std::slice::from_ref(&image));
    drop(host(&run(&mut session, std::slice::from_ref(&image))));
    let before = allocator_memory(0).unwrap();
    for _ in 0..3 {
        let refused = session.capture(std::slice::from_ref(&image)).unwrap();
        assert_eq!(why(&refused), Some(EagerReason::Failed), "{refused:?}");
        let seen = host(&run(&mut session, std::slice::from_ref(&image)));
        assert_same(&seen, &expected, "launched");
        assert_eq!(session.replayed(), None);
        drop(seen);
    }
    let after = allocator_memory(0).unwrap();
    assert_eq!(after.used, before.used);
    drop((session, launched, prepared));
    assert_nothing_is_held();
}

#[test]
fn sessions_capture_beside_others_that_run() {
    rehearse("cuda_graphs::inside_sessions_capture_beside_others");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_sessions_capture_beside_others() {
    let prepared = prepared(&network(), GPU).unwrap();
    // One that draws numbers is not captured itself, and goes on meanwhile.
    let row = fixed(&[1, 3]);
    let mut builder = Builder::new();
    let input = builder.input();
    let drawn = builder.node(
        Op::Aten(AtenOp {
            name: "aten::bernoulli".to_owned(),
            overload: String::new(),
            arguments: vec![(AtenPlace::Position(0), AtenArgument::Input(0))],
            outputs: vec![AtenOutput::default()],
        }),
        &[input],
    );
    let graph = builder.finish(&[drawn]);
    let of = signature(&[(DType::F32, &row)], &[(DType::F32, &row)]);
    let drawing = made(&graph, &of, Passes::default());
    let over = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (drawing, over) = (&drawing, &over);
        scope.spawn(move || {
            let mut session = drawing.session().unwrap();
            let chances = [f32s(&[1, 3], &[1.0, 0.0, 1.0])];
            while over.load(Ordering::Relaxed) < 4 {
                assert_same(&host(&run(&mut session, &chances)), &chances, "drawn");
            }
            let refused = session.capture(&chances).unwrap();
            assert_eq!(why(&refused), Some(EagerReason::Random), "{refused:?}");
        });
        for thread in 0..4 {
            let prepared = prepared.clone();
            scope.spawn(move || {
                let _over = Over(over);
                for round in 0..4 {
                    let mut launched = prepared.session().unwrap();
                    // Half of them capture while the others run.
                    let mut session = match (thread + round) % 2 {
                        0 => captured(prepared.as_ref(), &[2, 1]),
                        _ => prepared.session().unwrap(),
                    };
                    for seed in 0..3 {
                        let image = images(1 + seed % 2, seed + 7 * thread);
                        let seen = host(&run(&mut session, std::slice::from_ref(&image)));
                        let expected = host(&run(&mut launched, &[image]));
                        assert_same(&seen, &expected, "beside others");
                    }
                }
            });
        }
    });
    drop((prepared, drawing));
    assert_nothing_is_held();
}

/// Counts a thread that is over, however it ends.
struct Over<'a>(&'a AtomicUsize);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn runs_are_counted_and_noted_where_they_are_ones_of_a_block() {
    rehearse("cuda_graphs::inside_runs_are_counted_and_noted");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_runs_are_counted_and_noted() {
    let graph = network();
    let source = BlockSource::Graph {
        graph: &graph,
        signature: graph.signature().unwrap(),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    let seat = Seat {
        block: "counted",
        device: GPU,
        rows_max: 1,
        cuda: CudaSpec::default(),
    };
    let block = prepare_for(source, 1, seat).unwrap();
    let mut session = block.session().unwrap();
    let image = images(1, 0);
    run(&mut session, std::slice::from_ref(&image));
    session.capture(std::slice::from_ref(&image)).unwrap();
    let replays = || metrics::block("counted").cuda_graph_replays.get();
    run(&mut session, std::slice::from_ref(&image));
    assert_eq!(replays(), 1);
    // What gives nothing is no replay.
    let odd = f32s(&[1, 3], &[0.0; 3]);
    session.run(&[odd]).unwrap_err();
    assert_eq!(replays(), 1);

    // Nobody said of which block the runs of the other session are.
    let mut nameless = prepared(&graph, GPU).unwrap().session().unwrap();
    let timeline = Timeline::begin(GPU).unwrap();
    run(&mut nameless, std::slice::from_ref(&image));
    run(&mut session, std::slice::from_ref(&image));
    run(&mut nameless, std::slice::from_ref(&image));
    let spans = timeline.end().unwrap();
    let names: Vec<_> = spans.iter().map(|span| span.block.as_str()).collect();
    assert_eq!(names, ["counted"]);
}

#[test]
fn captures_that_are_required_need_a_declared_shape() {
    rehearse("cuda_graphs::inside_captures_that_are_required");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_captures_that_are_required() {
    let mut builder = Builder::new();
    let input = builder.input();
    let double = builder.node(Op::Binary(Binary::Add), &[input, input]);
    let graph = builder.finish(&[double]);
    let open = [Dim::Fixed(1), Dim::Any];
    let of = signature(&[(DType::F32, &open)], &[(DType::F32, &open)]);
    let proof = |cuda_graphs| ProofSpec {
        cuda_graphs,
        ..ProofSpec::default()
    };
    let required = proof(CudaGraphs::Required);
    let prepared = made(&graph, &of, Passes::default());
    let mut session = prepared.session().unwrap();
    let refused = warm_up(session.as_mut(), &of, &required).unwrap_err();
    assert!(
        matches!(&refused, EngineError::NotCaptured { cause, .. } if cause.contains("warm declares none")),
        "{refused}"
    );
    warm_up(session.as_mut(), &of, &proof(CudaGraphs::Auto)).unwrap();
    let mut declared = required.clone();
    declared.warm = vec![[("in0".to_owned(), vec![1, 5])].into()];
    warm_up(session.as_mut(), &of, &declared).unwrap();
    run(&mut session, &[f32s(&[1, 5], &[1.0; 5])]);
    assert_eq!(session.replayed(), Some(true));
    // Where there is nothing to capture, nothing is missed.
    let source = BlockSource::Graph {
        graph: &graph,
        signature: of.clone(),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    let on_host = prepare(source, 1, Device::Cpu).unwrap();
    warm_up(on_host.session().unwrap().as_mut(), &of, &required).unwrap();
}

#[test]
fn what_is_captured_is_accounted_for() {
    rehearse("cuda_graphs::inside_what_is_captured_is_accounted_for");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_is_captured_is_accounted_for() {
    let graph = network();
    let prepared = || {
        let source = BlockSource::Graph {
            graph: &graph,
            signature: graph.signature().unwrap(),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        let seat = Seat {
            block: "net",
            device: GPU,
            rows_max: 1,
            cuda: CudaSpec::default(),
        };
        prepare_for(source, 1, seat).unwrap()
    };
    let block = prepared();
    let workspace = || Ledger::of(GPU).memory().workspace;
    let mut session = block.session().unwrap();
    let before = workspace();
    let image = images(1, 0);
    run(&mut session, std::slice::from_ref(&image));
    let Capture::Done { bytes } = session.capture(std::slice::from_ref(&image)).unwrap() else {
        panic!("it is not captured");
    };
    assert_eq!(workspace(), before + bytes);
    // The input alone is as much.
    assert!(bytes > 4 * 64, "{bytes}");
    let again = session.capture(std::slice::from_ref(&image)).unwrap();
    assert_eq!(again, Capture::Done { bytes: 0 });
    session.forget_capture();
    assert_eq!(workspace(), before);
    // Another shape after that takes as much as a session that begins with it.
    let larger = images(4, 0);
    let of_larger = |session: &mut Box<dyn Session>| {
        run(session, std::slice::from_ref(&larger));
        let done = session.capture(std::slice::from_ref(&larger)).unwrap();
        assert!(matches!(done, Capture::Done { .. }), "{done:?}");
        done
    };
    let again = of_larger(&mut session);
    let mut fresh = block.session().unwrap();
    assert_eq!(again, of_larger(&mut fresh));
    drop((session, fresh));
    drop(block);
    assert_nothing_is_held();

    // As much as it takes without, and no more.
    let block = prepared();
    let mut session = block.session().unwrap();
    set_devices(&[DeviceSpec {
        memory_bytes: Some(Ledger::of(GPU).memory().held()),
        ..DeviceSpec::unbounded(GPU)
    }]);
    let expected = host(&run(&mut session, std::slice::from_ref(&image)));
    let refused = session.capture(std::slice::from_ref(&image)).unwrap();
    assert_eq!(why(&refused), Some(EagerReason::NoRoom), "{refused:?}");
    assert_eq!(workspace(), before);
    let seen = host(&run(&mut session, &[image]));
    assert_same(&seen, &expected, "launched");
    // What was refused is not taken for what there is.
    set_devices(&[DeviceSpec::unbounded(GPU)]);
    assert_eq!(of_larger(&mut session), again);
    drop((session, block));
    assert_nothing_is_held();
}

fn text(keys: &str) -> String {
    format!(
        "[blocks.head]\nmodel = \"digits.onnx\"\noutputs = [\"digit_logits\"]\n{keys}\n\
         [pipelines.digits]\nflow = [\"head\"]\ndeadline_ms = 20000\n"
    )
}

fn configuration(keys: &str) -> Files {
    let files = Files::new(&text(keys));
    files.put("digits.onnx", DIGITS);
    files
}

fn started(files: &Files, environment: &[(&str, &str)]) -> Result<Server, String> {
    let mut command = Command::new(BINARY);
    on_stage(&mut command).envs(environment.iter().copied());
    Server::try_start(command, &files.path(), &["--no-watch"])
}

fn answer(server: &Server, seed: usize) -> Vec<u8> {
    let image = images(1, seed);
    let response = server.infer("digits", "image", "FP32", &[1, 1, 8, 8], image.bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    response.binary().to_vec()
}

fn count(server: &Server, name: &str) -> i64 {
    server.metric(&format!("blockflow_block_cuda_{name}"))
}

/// The program itself: what it captures, what it tells of it, and that a swap gives all of it back.
#[test]
fn a_block_replays_and_a_swap_gives_its_memory_back() {
    let on = "device = \"cuda:0\"\ncuda_graphs = true";
    let files = configuration(on);
    let server = started(&files, &[]).unwrap();
    assert_eq!(count(&server, "graphs{block=\"head\"}"), 1);
    let before = count(&server, "graph_replays_total{block=\"head\"}");
    let replayed: Vec<_> = (0..8).map(|seed| answer(&server, seed)).collect();
    assert_eq!(
        count(&server, "graph_replays_total{block=\"head\"}"),
        before + 8
    );
    let held_with = held(&server, "cuda:0", "workspace");
    let off = "device = \"cuda:0\"\ncuda_graphs = false";
    files.write(&text(off));
    let response = server.load("digits");
    assert_eq!(response.status, 200, "{}", response.text());
    until("the old epoch has gone", || {
        count(&server, "graphs{block=\"head\"}") == 0
    });
    until("its memory has gone", || {
        held(&server, "cuda:0", "workspace") < held_with
    });
    for (seed, expected) in replayed.iter().enumerate() {
        assert_eq!(answer(&server, seed), *expected, "{seed}");
    }
    assert_eq!(
        count(&server, "graph_replays_total{block=\"head\"}"),
        before + 8
    );
}

#[test]
fn where_nothing_can_be_captured_a_block_runs_unless_it_may_not() {
    let trouble = [("REHEARSAL_CAPTURE", "end")];
    let server = started(&configuration("device = \"cuda:0\""), &trouble).unwrap();
    answer(&server, 3);
    let failed = "graph_misses_total{block=\"head\",reason=\"failed\"}";
    assert_eq!(count(&server, failed), 1);
    assert_eq!(count(&server, "graphs{block=\"head\"}"), 0);
    let required = configuration("device = \"cuda:0\"\ncuda_graphs = true");
    let told = started(&required, &trouble).err().unwrap();
    assert!(
        told.contains("cuda_graphs is true") && told.contains("capture"),
        "{told}"
    );
}

#[test]
fn what_is_captured_is_explained() {
    let explained = |keys: &str| {
        let files = configuration(&format!("device = \"cuda:0\"\n{keys}"));
        let mut command = Command::new(BINARY);
        on_stage(&mut command).arg("explain").arg(files.path());
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}");
        let (_, graphs) = told.split_once("\ncuda graphs\n").expect(&told);
        graphs.trim().to_owned()
    };
    assert_eq!(explained(""), "head  runs on 1 declared shape");
    let warm = "warm = [{ image = [2, 1, 8, 8] }, { image = [4, 1, 8, 8] }]";
    assert_eq!(explained(warm), "head  runs on 3 declared shapes");
    let same = "warm = [{ image = [1, 1, 8, 8] }, { image = [4, 1, 8, 8] }]";
    assert_eq!(explained(same), "head  runs on 2 declared shapes");
    assert_eq!(
        explained("cuda_graphs = false"),
        "head  none: cuda_graphs is false"
    );
}
