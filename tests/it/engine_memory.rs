//! Memory that crosses into libtorch and back: who owns it, and that it is not copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blockflow::engine::torch;
use blockflow::graph::{Op, Unary};
use blockflow::types::{AlignedBytes, DType, HostMemory, Tensor};

use crate::engine_support::{Builder, f32s, fixed, prepare_graph, signature, values_f32};

/// Memory that counts when it is dropped.
#[derive(Debug)]
struct Watched {
    memory: AlignedBytes,
    drops: Arc<AtomicUsize>,
}

impl HostMemory for Watched {
    fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

fn watched(values: &[f32]) -> (Tensor, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    let memory = AlignedBytes::copy_of(bytemuck::cast_slice(values));
    let memory = Arc::new(Watched {
        memory,
        drops: drops.clone(),
    });
    (
        Tensor::new(DType::F32, vec![values.len()], memory).unwrap(),
        drops,
    )
}

fn one_op(op: Op) -> Arc<dyn blockflow::engine::Prepared> {
    let mut builder = Builder::new();
    let x = builder.input();
    let y = builder.node(op, &[x]);
    let graph = builder.finish(&[y]);
    let dims = fixed(&[4]);
    prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap()
}

#[test]
fn an_input_that_passes_through_is_not_copied() {
    let (input, _) = watched(&[1.0, 2.0, 3.0, 4.0]);
    let output = &one_op(Op::Identity)
        .session()
        .unwrap()
        .run(std::slice::from_ref(&input))
        .unwrap()[0];
    assert_eq!(output.bytes().as_ptr(), input.bytes().as_ptr());
}

#[test]
fn viewed_memory_is_released_once_with_the_last_output_that_shows_it() {
    let (input, drops) = watched(&[1.0, 2.0, 3.0, 4.0]);
    let mut session = one_op(Op::Identity).session().unwrap();
    let outputs = session.run(std::slice::from_ref(&input)).unwrap();
    drop(input);
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    assert_eq!(values_f32(&outputs[0]), [1.0, 2.0, 3.0, 4.0]);
    std::thread::spawn(move || drop(outputs)).join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_session_keeps_no_input_after_a_run() {
    let (input, drops) = watched(&[-1.0, 2.0, -3.0, 4.0]);
    let mut session = one_op(Op::Unary(Unary::Relu)).session().unwrap();
    session.run(std::slice::from_ref(&input)).unwrap();
    drop(input);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_session_keeps_no_input_after_a_run_that_fails() {
    let mut builder = Builder::new();
    let x = builder.input();
    let five = builder.constant(f32s(&[5], &[0.0; 5]));
    let y = builder.node(Op::Unary(Unary::Relu), &[x]);
    let z = builder.node(Op::Binary(blockflow::graph::Binary::Add), &[y, five]);
    let both = builder.node(Op::Concat { axis: 0 }, &[z, x]);
    let graph = builder.finish(&[both]);
    let dims = fixed(&[4]);
    let prepared = prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap();
    let mut session = prepared.session().unwrap();
    let (input, drops) = watched(&[1.0; 4]);
    assert!(session.run(std::slice::from_ref(&input)).is_err());
    drop(input);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn memory_of_the_graph_is_not_needed_after_preparation() {
    let (weight, drops) = watched(&[10.0, 20.0, 30.0, 40.0]);
    let mut builder = Builder::new();
    let x = builder.input();
    let w = builder.constant(weight);
    let y = builder.node(Op::Binary(blockflow::graph::Binary::Add), &[x, w]);
    let graph = builder.finish(&[y]);
    let dims = fixed(&[4]);
    let prepared = prepare_graph(
        &graph,
        signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]),
    )
    .unwrap();
    drop(graph);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    let outputs = prepared
        .session()
        .unwrap()
        .run(&[f32s(&[4], &[1.0; 4])])
        .unwrap();
    assert_eq!(values_f32(&outputs[0]), [11.0, 21.0, 31.0, 41.0]);
}

/// Chains in which an in-place kernel would spoil something that is still seen: the input, a weight, a value used
/// later, another view of the same elements, an output.
#[test]
fn nothing_is_overwritten_that_somebody_still_sees() {
    use blockflow::graph::Binary::Add;
    let relu = || Op::Unary(Unary::Relu);
    let neg = || Op::Unary(Unary::Neg);
    let mut builder = Builder::new();
    let x = builder.input();
    let w = builder.constant(f32s(&[4], &[-1.0, 2.0, -3.0, 4.0]));
    let of_input = builder.node(neg(), &[x]);
    let of_weight = builder.node(neg(), &[w]);
    let same = builder.node(Op::Identity, &[x]);
    let of_view = builder.node(neg(), &[same]);
    let fresh = builder.node(Op::Binary(Add), &[x, w]);
    let shape = builder.constant(crate::engine_support::list(&[2, 2]));
    let view = builder.node(Op::Reshape { allow_zero: false }, &[fresh, shape]);
    let of_reshaped = builder.node(neg(), &[view]);
    let later = builder.node(relu(), &[fresh]);
    let doubled = builder.node(Op::Binary(Add), &[of_input, of_input]);
    let spoiled = builder.node(neg(), &[doubled]);
    let outputs = [
        of_input,
        of_weight,
        of_view,
        of_reshaped,
        later,
        spoiled,
        doubled,
    ];
    let graph = builder.finish(&outputs);
    let (four, two) = (fixed(&[4]), fixed(&[2, 2]));
    let specs: Vec<(DType, &[blockflow::types::Dim])> = (0..7)
        .map(|index| (DType::F32, if index == 3 { &two[..] } else { &four[..] }))
        .collect();
    let prepared = prepare_graph(&graph, signature(&[(DType::F32, &four)], &specs)).unwrap();
    let mut session = prepared.session().unwrap();
    let input = f32s(&[4], &[1.0, -2.0, 3.0, -4.5]);
    for _ in 0..2 {
        let outputs: Vec<_> = session
            .run(std::slice::from_ref(&input))
            .unwrap()
            .iter()
            .map(values_f32)
            .collect();
        assert_eq!(outputs[0], [-1.0, 2.0, -3.0, 4.5]);
        assert_eq!(outputs[1], [1.0, -2.0, 3.0, -4.0]);
        assert_eq!(outputs[2], [-1.0, 2.0, -3.0, 4.5]);
        assert_eq!(outputs[3], [0.0, 0.0, 0.0, 0.5]);
        assert_eq!(outputs[4], [0.0, 0.0, 0.0, 0.0]);
        assert_eq!(outputs[5], [2.0, -4.0, 6.0, -9.0]);
        assert_eq!(outputs[6], [-2.0, 4.0, -6.0, 9.0]);
    }
}

#[test]
fn each_thread_has_its_own_number_of_operator_threads() {
    torch::tune_allocator();
    let barrier = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        for count in [1, 2] {
            let barrier = &barrier;
            scope.spawn(move || {
                torch::set_threads(count);
                barrier.wait();
                assert_eq!(torch::threads(), count);
            });
        }
    });
}

#[test]
fn a_value_can_be_both_operands_at_its_last_use() {
    use blockflow::graph::Binary::{Add, Mul, Sub};
    for (op, expected) in [(Add, 8.0), (Mul, 16.0), (Sub, 0.0)] {
        let mut builder = Builder::new();
        let x = builder.input();
        let double = builder.node(Op::Binary(Add), &[x, x]);
        let both = builder.node(Op::Binary(op), &[double, double]);
        let graph = builder.finish(&[both]);
        let dims = fixed(&[4]);
        let signature = signature(&[(DType::F32, &dims)], &[(DType::F32, &dims)]);
        let prepared = prepare_graph(&graph, signature).unwrap();
        let outputs = prepared
            .session()
            .unwrap()
            .run(&[f32s(&[4], &[2.0; 4])])
            .unwrap();
        assert_eq!(values_f32(&outputs[0]), [expected; 4]);
    }
}
