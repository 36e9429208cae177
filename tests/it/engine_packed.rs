//! Convolutions and products over packed weights: that they compute what plain ones do, that fusing changes no bit, and
//! that nothing is written to that somebody else sees.

use std::sync::Arc;

use blockflow::engine::{Prepared, torch};
use blockflow::graph::{Activation, AutoPad, Binary, Conv, FusedConv, Graph, Op, Unary, ValueId};
use blockflow::types::{
    AlignedBytes, DType, Dim, GraphEngine, Order, ShapeSpec, Signature, Tensor, TensorSpec,
};

use crate::engine_rooms::Rented;
use crate::engine_support::{Builder, f32s, noise, prepare_with, values_f32};
use crate::passes_support::OFF;

/// A graph of nodes over inputs and constants of known shapes; a shape that begins with 0 stands for any number of rows.
struct Plan {
    builder: Builder,
    shapes: Vec<(ValueId, Vec<usize>)>,
    seed: u32,
}

impl Plan {
    fn new() -> Self {
        Self {
            builder: Builder::new(),
            shapes: Vec::new(),
            seed: 0,
        }
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let id = self.builder.input();
        self.shapes.push((id, shape.to_vec()));
        id
    }

    fn noise(&mut self, shape: &[usize]) -> ValueId {
        self.seed += 1;
        let values = noise(shape.iter().product(), self.seed);
        let id = self.builder.constant(f32s(shape, &values));
        self.shapes.push((id, shape.to_vec()));
        id
    }

    fn node(&mut self, op: Op, inputs: &[Option<ValueId>], shape: &[usize]) -> ValueId {
        let id = self.builder.node_of(op, inputs, 1)[0];
        self.shapes.push((id, shape.to_vec()));
        id
    }

    fn finish(self, outputs: &[ValueId]) -> Model {
        let mut graph = self.builder.finish(outputs);
        for (id, shape) in self.shapes {
            let value = &mut graph.values[id.0 as usize];
            value.dtype = Some(DType::F32);
            value.shape = Some(spec_of(&shape));
        }
        Model { graph }
    }
}

fn spec_of(shape: &[usize]) -> ShapeSpec {
    let dims = shape.iter().map(|&size| match size {
        0 => Dim::symbol("rows"),
        size => Dim::Fixed(size),
    });
    ShapeSpec(dims.collect())
}

struct Model {
    graph: Graph,
}

impl Model {
    fn prepare(&self) -> Arc<dyn Prepared> {
        let specs = |ids: &[ValueId]| {
            let spec = |&id: &ValueId| {
                let value = self.graph.value(id);
                TensorSpec::new(value.name.clone(), DType::F32, value.shape.clone().unwrap())
            };
            ids.iter().map(spec).collect()
        };
        let signature = Signature {
            inputs: specs(&self.graph.inputs),
            outputs: specs(&self.graph.outputs),
        };
        // As it is: passes would fuse what is to be compared with what is fused.
        prepare_with(&self.graph, signature, GraphEngine::Aten, OFF).unwrap()
    }

    fn run(&self, inputs: &[Tensor]) -> Vec<Tensor> {
        self.prepare().session().unwrap().run(inputs).unwrap()
    }
}

fn close(seen: &Tensor, expected: &Tensor) {
    assert_eq!(seen.shape(), expected.shape());
    for (seen, expected) in values_f32(seen).iter().zip(values_f32(expected)) {
        assert!(
            (seen - expected).abs() < 1e-4,
            "{seen}, expected {expected}"
        );
    }
}

struct Case {
    data: &'static [usize],
    filters: &'static [usize],
    result: &'static [usize],
    conv: Conv,
    bias: bool,
}

fn cases() -> Vec<Case> {
    let conv = |pads: &[usize], strides: &[usize], groups| Conv {
        pads: pads.to_vec(),
        strides: strides.to_vec(),
        groups,
        ..Conv::default()
    };
    vec![
        Case {
            data: &[2, 16, 9, 9],
            filters: &[32, 16, 3, 3],
            result: &[2, 32, 9, 9],
            conv: conv(&[1, 1, 1, 1], &[], 1),
            bias: true,
        },
        Case {
            data: &[1, 32, 7, 7],
            filters: &[32, 1, 3, 3],
            result: &[1, 32, 4, 4],
            conv: conv(&[1, 1, 1, 1], &[2, 2], 32),
            bias: false,
        },
        Case {
            data: &[1, 3, 8, 8],
            filters: &[16, 3, 3, 3],
            result: &[1, 16, 4, 4],
            conv: conv(&[0, 0, 1, 1], &[2, 2], 1),
            bias: true,
        },
        Case {
            data: &[1, 4, 8, 9],
            filters: &[6, 2, 3, 3],
            result: &[1, 6, 4, 5],
            conv: Conv {
                auto_pad: AutoPad::SameUpper,
                ..conv(&[], &[2, 2], 2)
            },
            bias: true,
        },
        Case {
            data: &[1, 8, 10, 10],
            filters: &[8, 8, 3, 3],
            result: &[1, 8, 6, 6],
            conv: Conv {
                dilations: vec![2, 2],
                ..conv(&[], &[], 1)
            },
            bias: false,
        },
        Case {
            data: &[1, 4, 5, 6, 7],
            filters: &[8, 4, 3, 3, 3],
            result: &[1, 8, 3, 4, 5],
            conv: conv(&[], &[], 1),
            bias: true,
        },
        Case {
            data: &[0, 8, 1, 1],
            filters: &[8, 8, 1, 1],
            result: &[0, 8, 1, 1],
            conv: conv(&[], &[], 1),
            bias: true,
        },
    ]
}

fn rows(shape: &[usize]) -> Vec<usize> {
    let size = |&size: &usize| if size == 0 { 3 } else { size };
    shape.iter().map(size).collect()
}

fn data_of(shape: &[usize], seed: u32) -> Tensor {
    let shape = rows(shape);
    f32s(&shape, &noise(shape.iter().product(), seed))
}

#[test]
fn a_convolution_with_constant_filters_gives_what_one_with_given_filters_does() {
    for case in cases() {
        let mut packed = Plan::new();
        let x = packed.input(case.data);
        let w = packed.noise(case.filters);
        let b = case.bias.then(|| packed.noise(&case.filters[..1]));
        let op = Op::Conv(case.conv.clone());
        let y = packed.node(op.clone(), &[Some(x), Some(w), b], case.result);
        let input = data_of(case.data, 9);
        let seen = packed.finish(&[y]).run(std::slice::from_ref(&input));

        let mut plain = Plan::new();
        let x = plain.input(case.data);
        let w = plain.input(case.filters);
        let b = case.bias.then(|| plain.input(&case.filters[..1]));
        let y = plain.node(op, &[Some(x), Some(w), b], case.result);
        let mut inputs = vec![input, data_of(case.filters, 1)];
        inputs.extend(case.bias.then(|| data_of(&case.filters[..1], 2)));
        close(&seen[0], &plain.finish(&[y]).run(&inputs)[0]);
    }
}

/// A convolution, and what follows it, in one node or in three.
fn followed(case: &Case, addend: bool, activation: Option<Activation>, fused: bool) -> Model {
    let mut plan = Plan::new();
    let x = plan.input(case.data);
    let other = addend.then(|| plan.input(case.result));
    let w = plan.noise(case.filters);
    let b = plan.noise(&case.filters[..1]);
    // As in a model, what is added was computed.
    let other = other.map(|other| plan.node(Op::Unary(Unary::Neg), &[Some(other)], case.result));
    if fused {
        let op = FusedConv {
            conv: case.conv.clone(),
            activation,
        };
        let inputs = [Some(x), Some(w), Some(b), other];
        let y = plan.node(Op::FusedConv(op), &inputs, case.result);
        return plan.finish(&[y]);
    }
    let conv = Op::Conv(case.conv.clone());
    let mut y = plan.node(conv, &[Some(x), Some(w), Some(b)], case.result);
    if other.is_some() {
        y = plan.node(Op::Binary(Binary::Add), &[Some(y), other], case.result);
    }
    if let Some(activation) = activation {
        let (op, bounds) = match activation {
            Activation::Clip { .. } => {
                let bounds = [0.0, 6.0].map(|bound| plan.builder.constant(f32s(&[], &[bound])));
                (Op::Clip, bounds.to_vec())
            }
            other => (Op::Unary(other.function().unwrap()), Vec::new()),
        };
        let inputs: Vec<_> = [y].into_iter().chain(bounds).map(Some).collect();
        y = plan.node(op, &inputs, case.result);
    }
    plan.finish(&[y])
}

#[test]
fn what_is_fused_into_a_convolution_gives_the_bits_of_its_steps() {
    let activations = [
        None,
        Some(Activation::Relu),
        Some(Activation::Clip { min: 0.0, max: 6.0 }),
        Some(Activation::Swish { alpha: 1.0 }),
        Some(Activation::Swish { alpha: 1.5 }),
        Some(Activation::HardSwish),
    ];
    for case in cases() {
        for addend in [false, true] {
            for activation in activations {
                let mut inputs = vec![data_of(case.data, 5)];
                inputs.extend(addend.then(|| data_of(case.result, 6)));
                let seen = followed(&case, addend, activation, true).run(&inputs);
                let steps = followed(&case, addend, activation, false).run(&inputs);
                assert!(
                    seen[0].bytes() == steps[0].bytes(),
                    "{:?} {addend} {activation:?}",
                    case.filters
                );
            }
        }
    }
}

#[test]
fn an_addend_that_is_needed_afterwards_keeps_its_elements() {
    let case = &cases()[0];
    let mut plan = Plan::new();
    let x = plan.input(case.data);
    let other = plan.input(case.result);
    let w = plan.noise(case.filters);
    let other = plan.node(Op::Unary(Unary::Neg), &[Some(other)], case.result);
    let op = FusedConv {
        conv: case.conv.clone(),
        activation: None,
    };
    let inputs = [Some(x), Some(w), None, Some(other)];
    let y = plan.node(Op::FusedConv(op), &inputs, case.result);
    let addend = data_of(case.result, 6);
    let outputs = plan
        .finish(&[y, other])
        .run(&[data_of(case.data, 5), addend.clone()]);
    let negated: Vec<f32> = values_f32(&addend).iter().map(|value| -value).collect();
    assert_eq!(values_f32(&outputs[1]), negated);
    assert_ne!(outputs[0].bytes(), outputs[1].bytes());
}

#[test]
fn a_product_with_a_constant_matrix_gives_what_one_with_a_given_matrix_does() {
    for (data, result) in [
        (&[2, 5, 24][..], &[2, 5, 40][..]),
        (&[1, 24], &[1, 40]),
        (&[0, 24], &[0, 40]),
    ] {
        for (bias, op) in [
            (false, Op::MatMul),
            (true, Op::Linear { activation: None }),
            (
                true,
                Op::Linear {
                    activation: Some(Activation::Gelu { tanh: false }),
                },
            ),
        ] {
            let mut packed = Plan::new();
            let x = packed.input(data);
            let w = packed.noise(&[24, 40]);
            let b = bias.then(|| packed.noise(&[40]));
            let mut inputs = vec![Some(x), Some(w)];
            inputs.extend(b.map(Some));
            let y = packed.node(op.clone(), &inputs, result);
            let input = data_of(data, 9);
            let seen = packed.finish(&[y]).run(std::slice::from_ref(&input));

            let mut plain = Plan::new();
            let x = plain.input(data);
            let w = plain.input(&[24, 40]);
            let b = bias.then(|| plain.input(&[40]));
            let mut inputs = vec![Some(x), Some(w)];
            inputs.extend(b.map(Some));
            let y = plain.node(op.clone(), &inputs, result);
            let mut given = vec![input, data_of(&[24, 40], 1)];
            given.extend(bias.then(|| data_of(&[40], 2)));
            close(&seen[0], &plain.finish(&[y]).run(&given)[0]);
        }
    }
}

#[test]
fn equal_layers_prepared_apart_give_the_same_bits() {
    for case in cases() {
        let input = [data_of(case.data, 5)];
        let model = followed(&case, false, Some(Activation::Relu), true);
        assert_eq!(model.run(&input)[0].bytes(), model.run(&input)[0].bytes());
    }
}

#[test]
fn a_weight_counts_once_packed_or_not() {
    for case in cases() {
        let model = followed(&case, false, None, true);
        let elements = case.filters.iter().product::<usize>() + case.filters[0];
        assert_eq!(model.prepare().weight_bytes(), elements * 4);
    }
}

#[test]
fn a_weight_that_another_node_reads_is_there_for_it() {
    let case = &cases()[0];
    let mut plan = Plan::new();
    let x = plan.input(case.data);
    let w = plan.noise(case.filters);
    let conv = Op::Conv(case.conv.clone());
    let y = plan.node(conv, &[Some(x), Some(w)], case.result);
    let negated = plan.node(Op::Unary(Unary::Neg), &[Some(w)], case.filters);
    let outputs = plan.finish(&[y, negated]).run(&[data_of(case.data, 5)]);
    let expected: Vec<f32> = values_f32(&data_of(case.filters, 1))
        .iter()
        .map(|value| -value)
        .collect();
    assert_eq!(values_f32(&outputs[1]), expected);
}

/// A convolution over images of 16 channels, which keeps their shape.
fn same_size(bias: bool) -> Model {
    let mut plan = Plan::new();
    let shape = [2, 16, 9, 9];
    let data = plan.input(&shape);
    let filters = plan.noise(&[16, 16, 3, 3]);
    let bias = bias.then(|| plan.noise(&[16]));
    let conv = Conv {
        pads: vec![1, 1, 1, 1],
        ..Conv::default()
    };
    let result = plan.node(Op::Conv(conv), &[Some(data), Some(filters), bias], &shape);
    plan.finish(&[result])
}

#[test]
fn a_result_read_by_another_session_or_by_many_threads_is_the_same() {
    let input = data_of(&[2, 16, 9, 9], 5);
    let result = same_size(true).run(&[input]).remove(0);
    let (crossed, sliced) = (result.clone(), result.slice_rows(1..2).unwrap());
    let next = same_size(false);
    let before = next.run(&[crossed]).remove(0);
    let readers: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let read = || scope.spawn(|| result.bytes().to_vec());
        let readers: Vec<_> = (0..4).map(|_| read()).collect();
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .collect()
    });
    assert!(readers.iter().all(|bytes| *bytes == readers[0]));
    assert_eq!(result.byte_count(), readers[0].len());
    let copy = Tensor::copy_of(DType::F32, result.shape().to_vec(), &readers[0]).unwrap();
    let row = copy.slice_rows(1..2).unwrap();
    assert_eq!(sliced.bytes(), row.bytes());
    let after = next.run(&[copy]).remove(0);
    assert!(before.bytes() == after.bytes(), "results differ");
    assert!(next.run(&[result]).remove(0).bytes() == after.bytes());
}

#[test]
fn a_result_keeps_its_channels_innermost_in_parts_and_copies_of_what_is_stored() {
    let result = same_size(true).run(&[data_of(&[2, 16, 9, 9], 5)]).remove(0);
    let order = Order::channels_last(4);
    let (stored, seen) = result.stored();
    assert_eq!(seen, order.as_ref());
    let next = same_size(false);
    let expected = next.run(std::slice::from_ref(&result)).remove(0);
    // As it comes from another process.
    let memory = Arc::new(AlignedBytes::copy_of(stored));
    let shape = result.shape().to_vec();
    let come = Tensor::in_order(DType::F32, shape, order.clone().unwrap(), memory).unwrap();
    assert!(come.bytes() == result.bytes(), "the order is told wrong");
    let rows = [0..1, 1..2].map(|rows| result.slice_rows(rows).unwrap());
    for row in &rows {
        assert_eq!(row.stored().1, order.as_ref());
    }
    let joined = Tensor::join_rows(&[&rows[0], &rows[1]]).unwrap();
    assert_eq!(joined.stored(), result.stored());
    let copy = Tensor::copy_of(DType::F32, rows[1].shape().to_vec(), rows[1].bytes()).unwrap();
    let mixed = Tensor::join_rows(&[&rows[0], &copy]).unwrap();
    assert_eq!(mixed.stored(), (result.bytes(), None));
    for input in [come, joined, mixed] {
        let seen = next.run(&[input]).remove(0);
        assert!(seen.bytes() == expected.bytes(), "results differ");
    }
    // An order that no session leaves behind is read as any other.
    let order = Order::new([3, 0, 1, 2]).unwrap();
    let memory = Arc::new(AlignedBytes::copy_of(stored));
    let odd = Tensor::in_order(DType::F32, result.shape().to_vec(), order, memory).unwrap();
    let plain = Tensor::copy_of(DType::F32, odd.shape().to_vec(), odd.bytes()).unwrap();
    let [odd, plain] = [odd, plain].map(|input| next.run(&[input]).remove(0));
    assert!(odd.bytes() == plain.bytes(), "results differ");
}

#[test]
fn a_result_in_a_room_has_its_channels_innermost_too() {
    torch::tune_allocator();
    let model = same_size(true);
    let input = [data_of(&[2, 16, 9, 9], 5)];
    let expected = model.run(&input).remove(0);
    let rooms = Rented::default();
    let mut session = model.prepare().session().unwrap();
    let output = session.run_in(&input, &rooms).unwrap().remove(0);
    assert!(rooms.has(&output), "{rooms:?}");
    assert_eq!(output.stored(), expected.stored());
    assert_eq!(output.stored().1, Order::channels_last(4).as_ref());
}

#[test]
fn a_result_is_in_row_major_order_for_whoever_reads_it() {
    // The filters pick one channel each: the last first.
    let mut plan = Plan::new();
    let data = plan.input(&[1, 16, 2, 3]);
    let picks = |at: usize| f32::from(u8::from(at / 16 == 15 - at % 16));
    let picks: Vec<f32> = (0..256).map(picks).collect();
    let filters = plan.builder.constant(f32s(&[16, 16, 1, 1], &picks));
    plan.shapes.push((filters, vec![16, 16, 1, 1]));
    let inputs = [Some(data), Some(filters), None];
    let result = plan.node(Op::Conv(Conv::default()), &inputs, &[1, 16, 2, 3]);
    let numbers: Vec<f32> = (0..96_u8).map(f32::from).collect();
    let outputs = plan
        .finish(&[result])
        .run(&[f32s(&[1, 16, 2, 3], &numbers)]);
    let expected: Vec<f32> = numbers.chunks(6).rev().flatten().copied().collect();
    assert_eq!(values_f32(&outputs[0]), expected);
}
