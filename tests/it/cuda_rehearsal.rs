//! CUDA on a machine without any: what waits for what, who has which memory, and what is told when it goes wrong, over a device
//! that does everything as late as it may.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use blockflow::engine::cuda::{
    Context, CudaError, DeviceBuffer, Event, EventKind, IpcEvent, IpcMemory, Presence, Priority,
    Stream, devices, driver_version, keep_until, let_go_after, presence, sweep,
};
use blockflow::engine::torch::{allocator_memory, cuda_available};
use blockflow::engine::{
    BlockSource, EngineError, Ledger, Prepared, Session, Store, check_device, check_place,
    device_pool, prepare, to_host,
};
use blockflow::graph::{Binary, Graph, Op, Reduce, Unary};
use blockflow::types::{
    DType, Device, GraphEngine, MockSpec, Passes, Shape, ShapeSpec, Signature, Tensor, TensorSpec,
};

use crate::engine_support::{Builder, bools, f32s, fixed, i64s, noise, signature, values_f32};
use crate::sim::held;
use crate::support::cuda::{device_or_skip, on_stage, rehearse, rehearse_with};
use crate::support::files::Files;
use crate::support::server::{BINARY, Response, Server};
use crate::support::until;

pub(crate) const GPU: Device = Device::Cuda(0);

/// What the tests of devices need of the checkout.
pub(crate) const DIGITS: &[u8] = include_bytes!("../data/digits/digits.onnx");

/// The bytes at which the rehearsed driver loses its device.
pub(crate) const LOSES: usize = 0x105e << 21;

#[test]
fn streams_events_and_memory_keep_their_order() {
    rehearse("cuda_rehearsal::inside_streams_events_and_memory_keep_their_order");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_streams_events_and_memory_keep_their_order() {
    order_is_kept(&Context::of(0).unwrap());
    handles_go_with_what_they_name(&Context::of(0).unwrap());
    let [only] = devices().unwrap().try_into().unwrap();
    assert_eq!((only.name.as_str(), only.capability), ("Rehearsal", (9, 0)));
    assert!(only.can_ipc && only.peers.is_empty());
    assert_eq!(driver_version().unwrap().to_string(), "13.0");
    let missing = Context::of(1).unwrap_err();
    assert!(
        matches!(
            missing,
            CudaError::NoSuchDevice {
                ordinal: 1,
                found: Presence::Devices(1)
            }
        ),
        "{missing}"
    );
}

#[test]
fn streams_events_and_memory_keep_their_order_on_a_device() {
    if device_or_skip().is_some() {
        order_is_kept(&Context::of(0).unwrap());
    }
}

#[test]
fn a_device_that_hangs_keeps_nothing_of_the_others() {
    let scratch = tempfile::tempdir().unwrap();
    let trouble = scratch.path().join("trouble");
    fs::write(&trouble, "hang 1").unwrap();
    rehearse_with(
        "cuda_rehearsal::inside_a_device_that_hangs_keeps_nothing_of_the_others",
        &[
            ("REHEARSAL_DEVICES", "2"),
            ("REHEARSAL_TROUBLE", trouble.to_str().unwrap()),
        ],
    );
}

#[test]
#[ignore = "runs in a child process, over rehearsed devices"]
fn inside_a_device_that_hangs_keeps_nothing_of_the_others() {
    let [first, second] = [0, 1].map(|ordinal| {
        let context = Context::of(ordinal).unwrap();
        Stream::new(&context, Priority::Normal).unwrap()
    });
    let [slow, other] = [(); 2].map(|()| Arc::new(()));
    for (stream, what) in [(&second, &slow), (&first, &other)] {
        let event = Arc::new(stream.record().unwrap());
        let_go_after(event, Box::new(what.clone()));
    }
    until("what is done is let go", || Arc::strong_count(&other) == 1);
    assert_eq!(Arc::strong_count(&slow), 2);
    fs::remove_file(std::env::var_os("REHEARSAL_TROUBLE").unwrap()).unwrap();
    until("the rest is, too", || Arc::strong_count(&slow) == 1);
}

#[test]
fn pools_that_nobody_has_are_accounted_and_serve_what_is_no_larger() {
    rehearse(
        "cuda_rehearsal::inside_pools_that_nobody_has_are_accounted_and_serve_what_is_no_larger",
    );
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_pools_that_nobody_has_are_accounted_and_serve_what_is_no_larger() {
    const SMALL: usize = 2 << 20;
    const LARGE: usize = 8 << 20;
    let take = |bytes| device_pool("block", GPU, bytes, 0).unwrap();
    let held = || Ledger::of(GPU).memory().held();
    let large = take(LARGE);
    let card = large.card().clone();
    drop(large);
    assert_eq!(held(), LARGE as u64);
    let large = take(SMALL);
    assert_eq!(*large.card(), card);
    assert_eq!(held(), LARGE as u64);
    let small = take(SMALL - 1);
    assert_eq!(small.card().bytes, SMALL as u64);
    assert_eq!(held(), (LARGE + SMALL) as u64);
    drop((small, large));
    assert_eq!(take(1).card().bytes, SMALL as u64);
    // Consumers may have any of them mapped, so none goes.
    let all = || {
        let pools: Vec<_> = (0..12).map(|_| take(SMALL)).collect();
        let handles = pools.iter().map(|pool| pool.card().memory);
        handles.collect::<BTreeSet<_>>()
    };
    let before = all();
    assert_eq!(before.len(), 12);
    assert_eq!(all(), before);
    assert_eq!(held(), (LARGE + 11 * SMALL) as u64);
    // No block's that could have left it behind.
    assert!(Ledger::of(GPU).tenants().is_empty());
}

fn order_is_kept(context: &Arc<Context>) {
    let [first, second] =
        [Priority::Normal, Priority::High].map(|priority| Stream::new(context, priority).unwrap());
    const LENGTH: usize = 100_000;
    let mut buffer = DeviceBuffer::new(context, LENGTH).unwrap();
    let pattern = |round: usize| (0..LENGTH).map(move |place| (place * 7 + round) as u8);
    for round in 0..8 {
        // So much to do before that nothing but the event tells when it is done.
        for _ in 0..8 {
            let block = context.pinned().take(LENGTH).unwrap();
            buffer.fill(0, block, &first).unwrap();
        }
        let mut block = context.pinned().take(LENGTH).unwrap();
        block
            .as_mut_slice()
            .iter_mut()
            .zip(pattern(round))
            .for_each(|(byte, value)| *byte = value);
        let filled = buffer.fill(0, block, &first).unwrap();
        // The block that was just given back is not this one.
        let mut other = context.pinned().take(LENGTH).unwrap();
        other.as_mut_slice().fill(0xff);
        second.wait(&filled).unwrap();
        let mut seen = context.pinned().take(LENGTH).unwrap();
        buffer.read(0, &mut seen, &second).unwrap();
        assert!(
            seen.as_slice().iter().copied().eq(pattern(round)),
            "{round}"
        );
        assert!(filled.is_done().unwrap());
    }
    // Few blocks have gone round.
    assert!(context.pinned().bytes() <= 24 * LENGTH.next_power_of_two());
    assert!(context.pinned().take(usize::MAX).is_none());

    let block = context.pinned().take(10).unwrap();
    let outside = buffer.fill(LENGTH - 9, block, &first).unwrap_err();
    assert!(matches!(outside, CudaError::OutOfRange { .. }), "{outside}");

    let [start, end] = [(); 2].map(|()| Event::new(context, EventKind::Timed).unwrap());
    start.record(&first).unwrap();
    end.record(&first).unwrap();
    end.wait().unwrap();
    assert!(end.since(&start).unwrap().is_some());
    assert!(end.since(&first.record().unwrap()).unwrap().is_none());

    // What is kept until an event goes when it is done and somebody looks.
    let kept = Arc::new(());
    keep_until(first.record().unwrap(), Box::new(kept.clone()));
    first.record().unwrap().wait().unwrap();
    keep_until(first.record().unwrap(), Box::new(()));
    assert_eq!(Arc::strong_count(&kept), 1);

    keep_until(first.record().unwrap(), Box::new(kept.clone()));
    first.record().unwrap().wait().unwrap();
    sweep();
    assert_eq!(Arc::strong_count(&kept), 1);

    // A stream goes to the next who wants one of its priority.
    let address = first.address();
    drop(first);
    assert_eq!(
        Stream::new(context, Priority::Normal).unwrap().address(),
        address
    );

    let own = buffer.ipc_handle().unwrap();
    assert_eq!(
        IpcMemory::open(context, own, LENGTH).unwrap_err(),
        CudaError::OwnHandle
    );
    let event = Event::new(context, EventKind::Interprocess).unwrap();
    let own = event.ipc_handle().unwrap();
    assert_eq!(
        IpcEvent::open(context, own).unwrap_err(),
        CudaError::OwnHandle
    );
    let info = context.memory().unwrap();
    assert!(info.free < info.total);
}

fn handles_go_with_what_they_name(context: &Arc<Context>) {
    let buffer = DeviceBuffer::new(context, 1).unwrap();
    let event = Event::new(context, EventKind::Interprocess).unwrap();
    let [memory, other] = [(); 2].map(|()| buffer.ipc_handle().unwrap());
    assert_eq!(memory, other);
    let raised = event.ipc_handle().unwrap();
    drop((buffer, event));
    // The rehearsed driver opens none, but they are asked for.
    let told = IpcMemory::open(context, memory, 1).unwrap_err();
    assert!(matches!(told, CudaError::Driver { .. }), "{told}");
    let told = IpcEvent::open(context, raised).unwrap_err();
    assert!(matches!(told, CudaError::Driver { .. }), "{told}");
}

pub(crate) fn network() -> Graph {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("digits.onnx");
    fs::write(&path, DIGITS).unwrap();
    Graph::read(&path).unwrap()
}

pub(crate) fn prepared(graph: &Graph, device: Device) -> Result<Arc<dyn Prepared>, EngineError> {
    let source = BlockSource::Graph {
        graph,
        signature: graph.signature().unwrap(),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    prepare(source, 1, device)
}

pub(crate) fn images(rows: usize, seed: usize) -> Tensor {
    let pixels: Vec<f32> = (0..rows * 64)
        .map(|place| ((place * 31 + seed * 17) % 17) as f32)
        .collect();
    let shape: Shape = vec![rows, 1, 8, 8];
    Tensor::copy_of(DType::F32, shape, bytemuck::cast_slice(&pixels)).unwrap()
}

pub(crate) fn run(session: &mut Box<dyn Session>, inputs: &[Tensor]) -> Vec<Tensor> {
    session.run(inputs).unwrap()
}

pub(crate) fn host(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors
        .iter()
        .map(|tensor| to_host(tensor).unwrap().unwrap_or_else(|| tensor.clone()))
        .collect()
}

pub(crate) fn assert_close(seen: &Tensor, expected: &Tensor, told: &str) {
    assert_eq!(seen.shape(), expected.shape(), "{told}");
    let pairs = values_f32(seen).into_iter().zip(values_f32(expected));
    for (seen, expected) in pairs {
        let room = 1e-4 * expected.abs().max(1.0);
        assert!(
            (seen - expected).abs() <= room,
            "{told}: {seen} for {expected}"
        );
    }
}

#[test]
fn a_network_runs_whole_and_split_and_nothing_between_its_parts_is_copied() {
    rehearse("cuda_rehearsal::inside_a_network_runs_whole_and_split");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_network_runs_whole_and_split() {
    check_device(GPU).unwrap();
    network_runs_whole_and_split();
}

#[test]
fn a_network_runs_whole_and_split_on_a_device() {
    if device_or_skip().is_some() {
        network_runs_whole_and_split();
    }
}

fn network_runs_whole_and_split() {
    let graph = network();
    let cut = ["features".to_owned()];
    let parts = [
        graph.segment(None, Some(&cut)).unwrap(),
        graph
            .segment(Some(&cut), Some(&["digit_logits".to_owned()]))
            .unwrap(),
    ];
    let whole = graph
        .segment(None, Some(&["digit_logits".to_owned()]))
        .unwrap();
    let mut on_host = prepared(&whole, Device::Cpu).unwrap().session().unwrap();
    let prepared = [&whole, &parts[0], &parts[1]].map(|graph| prepared(graph, GPU).unwrap());
    let mut sessions = prepared
        .each_ref()
        .map(|prepared| prepared.session().unwrap());
    let [whole, backbone, head] = &mut sessions;
    // Many in flight before the first is looked at.
    let mut flying = Vec::new();
    for round in 0..20 {
        let image = images(1 + round % 3, round);
        let expected = run(&mut on_host, std::slice::from_ref(&image));
        let at_once = run(whole, std::slice::from_ref(&image));
        let features = run(backbone, &[image]);
        assert!(
            features
                .iter()
                .all(|tensor| !tensor.is_readable() && tensor.device() == GPU)
        );
        let logits = run(head, &features);
        flying.push((expected, at_once, logits));
    }
    for (expected, at_once, logits) in flying {
        let [at_once, logits] = [host(&at_once), host(&logits)];
        assert_close(&at_once[0], &expected[0], "whole");
        assert_eq!(logits[0].bytes(), at_once[0].bytes());
    }
}

/// libtorch asks once whether it has a CUDA half, as in the first convolution.
#[test]
fn what_computes_on_the_cpu_first_leaves_the_device_to_those_after_it() {
    rehearse("cuda_rehearsal::inside_what_computes_on_the_cpu_first");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_computes_on_the_cpu_first() {
    let graph = network();
    let mut on_host = prepared(&graph, Device::Cpu).unwrap().session().unwrap();
    let expected = run(&mut on_host, &[images(1, 1)]);
    cuda_available().unwrap();
    let mut on_device = prepared(&graph, GPU).unwrap().session().unwrap();
    let seen = host(&run(&mut on_device, &[images(1, 1)]));
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_close(seen, expected, "after the CPU");
    }
}

#[test]
fn what_asks_libtorch_past_this_program_is_told_that_it_is_too_late() {
    rehearse("cuda_rehearsal::inside_what_asks_libtorch_past_this_program");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_asks_libtorch_past_this_program() {
    assert!(!tch::Cuda::is_available());
    let told = check_device(GPU).unwrap_err().to_string();
    assert!(told.contains("start the process again"), "{told}");
}

#[test]
fn a_driver_that_is_too_old_is_to_be_replaced() {
    let older = [("REHEARSAL_VERSION", "12080")];
    rehearse_with("cuda_rehearsal::inside_a_driver_that_is_too_old", &older);
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_driver_that_is_too_old() {
    for told in [
        cuda_available().unwrap_err().to_string(),
        check_device(GPU).unwrap_err().to_string(),
        Context::of(0).unwrap_err().to_string(),
    ] {
        assert!(
            told.contains("CUDA 12.8") && told.contains("install a newer driver"),
            "{told}"
        );
    }
}

/// Runs a graph of one input twice, on the host and on the device; both give the same.
pub(crate) fn same_on_both(graph: &Graph, of: &Signature, input: &Tensor) {
    let source = || BlockSource::Graph {
        graph,
        signature: of.clone(),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    let [on_host, on_device] = [Device::Cpu, GPU].map(|device| {
        let prepared = prepare(source(), 1, device).unwrap();
        let mut session = prepared.session().unwrap();
        [(); 2].map(|()| host(&run(&mut session, std::slice::from_ref(input))))
    });
    for (seen, expected) in on_device.iter().zip(&on_host) {
        assert_eq!(seen.len(), expected.len());
        for (seen, expected) in seen.iter().zip(expected) {
            assert_eq!(seen.shape(), expected.shape());
            assert_eq!(seen.bytes(), expected.bytes());
        }
    }
}

#[test]
fn what_lies_on_both_sides_is_where_it_is_needed_in_every_run() {
    rehearse("cuda_rehearsal::inside_what_lies_on_both_sides");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_what_lies_on_both_sides() {
    let row = fixed(&[1, 3]);
    let x = f32s(&[1, 3], &[5.0, -6.0, 7.0]);
    let one = |value| f32s(&[1, 3], &[value; 3]);

    // A weight that is computed with and given out.
    let mut builder = Builder::new();
    let input = builder.input();
    let weight = builder.constant(one(2.0));
    let sum = builder.node(Op::Binary(Binary::Add), &[input, weight]);
    let graph = builder.finish(&[sum, weight]);
    let both = [(DType::F32, &row[..]), (DType::F32, &row[..])];
    same_on_both(&graph, &signature(&both[..1], &both), &x);

    // Indices that are a weight, of what is computed on the device.
    let mut builder = Builder::new();
    let input = builder.input();
    let indices = builder.constant(i64s(&[3], &[2, -3, 0]));
    let twice = builder.node(Op::Binary(Binary::Add), &[input, input]);
    let picked = builder.node(Op::Gather { axis: 1 }, &[twice, indices]);
    let graph = builder.finish(&[picked]);
    same_on_both(&graph, &signature(&both[..1], &both[..1]), &x);

    // Indices that come from the device, into a weight.
    let mut builder = Builder::new();
    let input = builder.input();
    let table = builder.constant(f32s(&[3, 3], &[0., 1., 2., 3., 4., 5., 6., 7., 8.]));
    let picked = builder.node(Op::Gather { axis: 0 }, &[table, input]);
    let graph = builder.finish(&[picked]);
    let index = fixed(&[1]);
    let of = signature(&[(DType::I64, &index)], &both[..1]);
    same_on_both(&graph, &of, &i64s(&[1], &[-1]));

    // A mask that is drawn on the host.
    let mut builder = Builder::new();
    let input = builder.input();
    let ratio = builder.constant(f32s(&[], &[0.5]));
    let training = builder.constant(bools(&[], &[1]));
    let inputs = [input, ratio, training].map(Some);
    let outputs = builder.node_of(Op::Dropout { seed: Some(7) }, &inputs, 2);
    let graph = builder.finish(&outputs);
    let masked = [(DType::F32, &row[..]), (DType::Bool, &row[..])];
    same_on_both(&graph, &signature(&both[..1], &masked), &x);
}

#[test]
fn a_cut_changes_no_bit_where_elements_lie_otherwise_before_it() {
    rehearse("cuda_rehearsal::inside_a_cut_changes_no_bit");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_cut_changes_no_bit() {
    cut_changes_no_bit();
}

#[test]
fn a_cut_changes_no_bit_on_a_device() {
    if device_or_skip().is_some() {
        cut_changes_no_bit();
    }
}

/// A sum is rounded by the order of its terms, which a kernel chooses by where they lie: in a whole as behind a cut.
fn cut_changes_no_bit() {
    let (sizes, turned) = ([1, 1000, 8], [1, 8, 1000]);
    let turn = || Op::Transpose {
        permutation: Some(vec![0, 2, 1]),
    };
    let sum = || Op::Reduce {
        kind: Reduce::Sum,
        keep_dims: false,
        noop_with_empty_axes: false,
    };
    let of = |inputs: &[usize], outputs: &[usize]| {
        let (inputs, outputs) = (fixed(inputs), fixed(outputs));
        signature(&[(DType::F32, &inputs)], &[(DType::F32, &outputs)])
    };
    let mut whole = Builder::new();
    let x = whole.input();
    let axes = whole.constant(i64s(&[1], &[2]));
    let there = whole.node(turn(), &[x]);
    let all = whole.node(sum(), &[there, axes]);
    let whole = whole.finish(&[all]);
    let mut before = Builder::new();
    let x = before.input();
    let there = before.node(turn(), &[x]);
    let before = before.finish(&[there]);
    let mut behind = Builder::new();
    let x = behind.input();
    let axes = behind.constant(i64s(&[1], &[2]));
    let all = behind.node(sum(), &[x, axes]);
    let behind = behind.finish(&[all]);
    let session = |graph: &Graph, signature| {
        let source = BlockSource::Graph {
            graph,
            signature,
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        prepare(source, 1, GPU).unwrap().session().unwrap()
    };
    let mut whole = session(&whole, of(&sizes, &[1, 8]));
    let mut before = session(&before, of(&sizes, &turned));
    let mut behind = session(&behind, of(&turned, &[1, 8]));
    for seed in 0..8 {
        let x = [f32s(&sizes, &noise(8000, seed))];
        let at_once = host(&run(&mut whole, &x));
        let between = run(&mut before, &x);
        let parted = host(&run(&mut behind, &between));
        assert_eq!(at_once[0].bytes(), parted[0].bytes(), "{seed}");
    }
}

#[test]
fn memory_that_a_session_has_yet_to_read_goes_to_nobody_else() {
    rehearse("cuda_rehearsal::inside_memory_that_a_session_has_yet_to_read");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_memory_that_a_session_has_yet_to_read() {
    let row = fixed(&[1, 3]);
    let of = signature(&[(DType::F32, &row)], &[(DType::F32, &row)]);
    let [mut producer, mut consumer] = [(); 2].map(|()| {
        let mut builder = Builder::new();
        let input = builder.input();
        let output = builder.node(Op::Unary(Unary::Neg), &[input]);
        let graph = builder.finish(&[output]);
        let source = BlockSource::Graph {
            graph: &graph,
            signature: of.clone(),
            engine: GraphEngine::Aten,
            passes: Passes::default(),
        };
        prepare(source, 1, GPU).unwrap().session().unwrap()
    });
    let x = f32s(&[1, 3], &[1.0, -2.0, 3.0]);
    let between = run(&mut producer, std::slice::from_ref(&x));
    let after = run(&mut consumer, &between);
    drop(between);
    // The producer's stream goes on; the consumer's kernel has not begun.
    for _ in 0..3 {
        host(&run(&mut producer, std::slice::from_ref(&x)));
    }
    assert_eq!(values_f32(&host(&after)[0]), [1.0, -2.0, 3.0]);
}

#[test]
fn batches_are_put_together_and_taken_apart_on_the_device() {
    rehearse("cuda_rehearsal::inside_batches_are_put_together");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_batches_are_put_together() {
    let graph = network();
    let cut = ["features".to_owned()];
    let backbone = prepared(&graph.segment(None, Some(&cut)).unwrap(), GPU).unwrap();
    let head = graph
        .segment(Some(&cut), Some(&["digit_logits".to_owned()]))
        .unwrap();
    let [on_device, on_host] = [GPU, Device::Cpu].map(|device| prepared(&head, device).unwrap());
    let mut backbone = backbone.session().unwrap();
    let mut on_device = on_device.session().unwrap();
    let mut on_host = on_host.session().unwrap();
    let alone: Vec<Tensor> = (0..4)
        .map(|row| run(&mut backbone, &[images(1 + row, row)]).remove(0))
        .collect();
    // One of the parts comes from the host.
    let mut mixed = alone.clone();
    mixed[2] = host(&mixed[2..3]).remove(0);
    for parts in [&alone, &mixed] {
        let parts: Vec<&Tensor> = parts.iter().collect();
        let joined = Tensor::join_rows(&parts).unwrap();
        let outputs = run(&mut on_device, &[joined]);
        let mut start = 0;
        for part in &alone {
            let rows = start..start + part.rows();
            start = rows.end;
            let own = outputs[0].slice_rows(rows).unwrap();
            // The rows go on to another block as they are, and to the host.
            let seen = host(&[own]);
            let expected = run(&mut on_host, &host(std::slice::from_ref(part)));
            assert_close(&seen[0], &expected[0], "a part of a batch");
        }
    }
}

#[test]
fn tensors_outlive_the_sessions_that_made_them_and_read_them() {
    rehearse("cuda_rehearsal::inside_tensors_outlive_their_sessions");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_tensors_outlive_their_sessions() {
    let graph = network();
    let cut = ["features".to_owned()];
    let backbone = graph.segment(None, Some(&cut)).unwrap();
    let heads = ["digit_logits", "parity_logits"].map(|output| {
        graph
            .segment(Some(&cut), Some(&[output.to_owned()]))
            .unwrap()
    });
    let mut expected = heads
        .each_ref()
        .map(|head| prepared(head, Device::Cpu).unwrap().session().unwrap());
    let mut on_host = prepared(&backbone, Device::Cpu).unwrap().session().unwrap();
    for round in 0..10 {
        let image = images(2, round);
        let features = {
            let prepared = prepared(&backbone, GPU).unwrap();
            let mut session = prepared.session().unwrap();
            run(&mut session, std::slice::from_ref(&image))
        };
        // The producer, its weights and its streams are gone; each head reads and goes before anything is computed.
        let seen = heads.each_ref().map(|head| {
            let mut session = prepared(head, GPU).unwrap().session().unwrap();
            run(&mut session, &features)
        });
        drop(features);
        let features = run(&mut on_host, &[image]);
        for (seen, expected) in seen.iter().zip(&mut expected) {
            assert_close(&host(seen)[0], &run(expected, &features)[0], "a head");
        }
    }
    assert_eq!(Store::of(GPU).usage().bytes, 0);
    let memory = Ledger::of(GPU).memory();
    assert_eq!((memory.weights, memory.workspace), (0, 0));
    assert_eq!(allocator_memory(0).unwrap().used, 0);
}

#[test]
fn weights_move_to_the_device_once_and_back() {
    rehearse("cuda_rehearsal::inside_weights_move");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_weights_move() {
    let graph = network();
    let [first, second] = [(); 2].map(|()| prepared(&graph, GPU).unwrap());
    let usage = Store::of(GPU).usage();
    assert_eq!(
        (usage.bytes, usage.shared_bytes),
        (first.weight_bytes(), first.weight_bytes())
    );
    assert_eq!(Ledger::of(GPU).memory().weights, usage.bytes as u64);
    let image = images(1, 5);
    let before = host(&run(
        &mut first.session().unwrap(),
        std::slice::from_ref(&image),
    ));
    first.move_to(Device::Cpu).unwrap();
    let told = first.session().unwrap_err();
    assert!(told.to_string().contains("on the host"), "{told}");
    second.move_to(Device::Cpu).unwrap();
    assert_eq!(Store::of(GPU).usage().bytes, 0);
    assert_eq!(allocator_memory(0).unwrap().used, 0);
    first.move_to(GPU).unwrap();
    let after = host(&run(&mut first.session().unwrap(), &[image]));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.bytes(), after.bytes());
    }
}

#[test]
fn a_lost_device_is_told_from_a_failed_run() {
    rehearse("cuda_rehearsal::inside_a_lost_device");
}

#[test]
#[ignore = "runs in a child process, over the rehearsed device"]
fn inside_a_lost_device() {
    let prepared = prepared(&network(), GPU).unwrap();
    let mut session = prepared.session().unwrap();
    let wrong = Tensor::copy_of(DType::F32, vec![1, 1, 8, 9], &[0; 288]).unwrap();
    let error = session.run(&[wrong]).unwrap_err();
    assert!(error.is_callers() && !error.loses_device(), "{error}");
    let outputs = session.run(&[images(1, 1)]).unwrap();
    let lost = DeviceBuffer::new(&Context::of(0).unwrap(), LOSES).unwrap_err();
    assert!(lost.is_sticky(), "{lost}");
    let error = to_host(&outputs[0]).unwrap_err();
    assert!(error.loses_device() && !error.keeps_session(), "{error}");
    let error = session.run(&[images(1, 1)]).unwrap_err();
    assert!(error.loses_device(), "{error}");
    assert!(
        error.to_string().contains("illegal memory access"),
        "{error}"
    );
}

#[test]
fn what_a_device_cannot_do_is_refused_by_name() {
    let signature = |dtype| Signature {
        inputs: vec![TensorSpec::new("x", dtype, ShapeSpec::fixed(&[1]))],
        outputs: vec![TensorSpec::new("y", dtype, ShapeSpec::fixed(&[1]))],
    };
    let mock = MockSpec {
        signature: signature(DType::U8),
        latency: std::time::Duration::ZERO,
        weight_bytes: 0,
        failure: None,
    };
    let told = check_place(&BlockSource::Mock(&mock), GPU)
        .unwrap_err()
        .to_string();
    assert!(told.contains("mock") && told.contains("\"cpu\""), "{told}");
    check_place(&BlockSource::Mock(&mock), Device::Sim(0)).unwrap();
    let graph = network();
    let source = |engine| BlockSource::Graph {
        graph: &graph,
        signature: graph.signature().unwrap(),
        engine,
        passes: Passes::default(),
    };
    check_place(&source(GraphEngine::Aten), GPU).unwrap();
    check_place(&source(GraphEngine::Auto), GPU).unwrap();
    let told = check_place(&source(GraphEngine::OnnxRuntime), GPU)
        .unwrap_err()
        .to_string();
    assert!(told.contains("onnxruntime"), "{told}");
    let strings = BlockSource::Graph {
        graph: &graph,
        signature: signature(DType::Bytes),
        engine: GraphEngine::Aten,
        passes: Passes::default(),
    };
    let told = check_place(&strings, GPU).unwrap_err().to_string();
    assert!(told.contains("\"x\" is BYTES"), "{told}");
}

#[test]
fn without_a_driver_everything_says_so() {
    if !matches!(presence(), Presence::Devices(_)) {
        let told = Context::of(0).unwrap_err();
        assert_eq!(told, CudaError::NotAvailable(presence()));
        assert_eq!(devices().unwrap_err(), told);
        assert!(
            cuda_available()
                .unwrap_err()
                .to_string()
                .contains("NVIDIA driver")
        );
        assert_eq!(allocator_memory(0), None);
    }
}

/// The program itself: two pipelines over a backbone, all on the device.
#[test]
fn blocks_of_one_device_exchange_tensors_without_the_host() {
    let block = |name: &str, cut: &str, device: &str| {
        format!("[blocks.{name}]\nmodel = \"digits.onnx\"\n{cut}\ndevice = \"{device}\"\n")
    };
    let (first, last) = (
        "outputs = [\"features\"]",
        "inputs = [\"features\"]\noutputs = [\"digit_logits\"]",
    );
    let files = Files::new(&format!(
        "{}{}{}{}[pipelines.far]\nflow = [\"c\", \"d\"]\n[pipelines.near]\nflow = [\"a\", \"b\"]\n",
        block("a", first, "cpu"),
        block("b", last, "cpu"),
        block("c", first, "cuda:0"),
        block("d", last, "cuda:0"),
    ));
    files.put("digits.onnx", DIGITS);
    let mut command = Command::new(BINARY);
    on_stage(&mut command);
    let server = Server::try_start(command, &files.path(), &["--no-watch"]).unwrap();
    let image = images(1, 3).bytes().to_vec();
    let answer = |pipeline: &str| {
        let response = server.infer(pipeline, "image", "FP32", &[1, 1, 8, 8], &image);
        assert_eq!(response.status, 200, "{}", response.text());
        Tensor::copy_of(DType::F32, vec![1, 10], response.binary()).unwrap()
    };
    let copied = |block: &str| {
        let name = format!("blockflow_block_bytes_copied_total{{block=\"{block}\"}}");
        server.metric(&name)
    };
    let near = answer("near");
    let before = [copied("c"), copied("d")];
    const REQUESTS: i64 = 25;
    for _ in 0..REQUESTS {
        assert_close(&answer("far"), &near, "far");
    }
    // An image to the device and logits from it, and nothing between the blocks.
    assert_eq!(copied("c") - before[0], REQUESTS * 4 * 64);
    assert_eq!(copied("d") - before[1], REQUESTS * 4 * 10);
    assert!(held(&server, "cuda:0", "weights") > 0);
}

/// A server of one block on the rehearsed device, which gets into the trouble that the file `trouble` names.
fn troubled(keys: &str) -> (Files, Server) {
    let files = Files::new(&format!(
        "[blocks.head]\nmodel = \"digits.onnx\"\noutputs = [\"digit_logits\"]\ndevice = \"cuda:0\"\n{keys}\n\
         [pipelines.digits]\nflow = [\"head\"]\ndeadline_ms = 20000\n"
    ));
    files.put("digits.onnx", DIGITS);
    let mut command = Command::new(BINARY);
    on_stage(&mut command).env("REHEARSAL_TROUBLE", files.at("trouble"));
    let server = Server::try_start(command, &files.path(), &["--no-watch"]).unwrap();
    assert_eq!(ask(&server).status, 200);
    (files, server)
}

fn ask(server: &Server) -> Response {
    let image = images(1, 3);
    server.infer("digits", "image", "FP32", &[1, 1, 8, 8], image.bytes())
}

#[test]
fn a_device_that_hangs_is_seen_as_a_run_that_is_stuck() {
    let (files, server) = troubled("stuck.run_ms = 1000");
    files.put("trouble", b"hang");
    let response = ask(&server);
    let told = response.text();
    assert_eq!(response.status, 503, "{told}");
    assert!(
        told.contains("head") && told.contains("stuck.run_ms"),
        "{told}"
    );
    fs::remove_file(files.at("trouble")).unwrap();
    until("it is back", || ask(&server).status == 200);
}

#[test]
fn a_device_that_is_lost_while_outputs_come_to_the_host_has_the_process_replaced() {
    let (files, server) = troubled("");
    files.put("trouble", b"lose");
    let response = ask(&server);
    let told = response.text();
    assert_eq!(response.status, 503, "{told}");
    assert!(told.contains("cuda:0 is lost"), "{told}");
    // Nothing is asked of the block meanwhile.
    until("it is another process", || {
        server.sample("blockflow_replacements_total") >= Some(1)
    });
    until("it is back", || ask(&server).status == 200);
}
