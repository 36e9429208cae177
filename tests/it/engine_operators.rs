//! Operators where ONNX and libtorch differ, or where a value is easily got wrong. Expected values are worked out by
//! hand or taken from the ONNX specification. Every case runs with its parameters constant and with them computed.

use blockflow::graph::{
    AutoPad, Binary, Conv, Normalization, Op, PadMode, Pool, PoolKind, Reduce, Unary,
};
use blockflow::types::{DType, Tensor};

use crate::engine_support::{bools, f32s, f64s, i32s, i64s, list, run_op, u8s, values_f32};

/// An operator, its inputs (`None`: absent), its outputs.
type Case = (Op, Vec<Option<Tensor>>, Vec<Tensor>);

fn check(cases: Vec<Case>) {
    for (op, inputs, expected) in cases {
        for constant in [true, false] {
            let mut flags = vec![constant; inputs.len()];
            flags[0] = false;
            let outputs = run_op(&op, &inputs, &flags, &expected)
                .unwrap_or_else(|error| panic!("{op:?} over {inputs:?}: {error}"));
            for (seen, expected) in outputs.iter().zip(&expected) {
                assert_equal(&op, seen, expected);
            }
        }
    }
}

fn assert_equal(op: &Op, seen: &Tensor, expected: &Tensor) {
    if expected.dtype() != DType::F32 {
        assert_eq!(seen.bytes(), expected.bytes(), "{op:?}");
        return;
    }
    let (seen, expected) = (values_f32(seen), values_f32(expected));
    let close = |(a, b): (&f32, &f32)| {
        (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-5 * b.abs().max(1.0)
    };
    assert!(
        seen.iter().zip(&expected).all(close),
        "{op:?}: {seen:?}, expected {expected:?}"
    );
}

/// Checks that each operator refuses its inputs.
fn refuse(cases: Vec<(Op, Vec<Option<Tensor>>)>) {
    for (op, inputs) in cases {
        for constant in [true, false] {
            let mut flags = vec![constant; inputs.len()];
            flags[0] = false;
            let result = run_op(&op, &inputs, &flags, &[f32s(&[0], &[])]);
            let error = result.expect_err(&format!("{op:?} over {inputs:?}"));
            assert!(error.to_string().starts_with("operator"), "{op:?}: {error}");
        }
    }
}

fn some(tensors: &[Tensor]) -> Vec<Option<Tensor>> {
    tensors.iter().cloned().map(Some).collect()
}

fn unary(function: Unary, input: &[f32], expected: &[f32]) -> Case {
    let tensor = |values: &[f32]| f32s(&[values.len()], values);
    (
        Op::Unary(function),
        some(&[tensor(input)]),
        vec![tensor(expected)],
    )
}

#[test]
fn unary_functions() {
    check(vec![
        unary(Unary::Relu, &[-1.0, 0.0, 2.0], &[0.0, 0.0, 2.0]),
        unary(Unary::Sigmoid, &[0.0, 100.0, -200.0], &[0.5, 1.0, 0.0]),
        unary(Unary::Tanh, &[0.0, 1.0], &[0.0, 0.761_594_2]),
        unary(Unary::Exp, &[0.0, 1.0], &[1.0, std::f32::consts::E]),
        unary(Unary::Log, &[1.0, 0.0], &[0.0, f32::NEG_INFINITY]),
        unary(Unary::Sqrt, &[4.0, -1.0], &[2.0, f32::NAN]),
        unary(Unary::Reciprocal, &[4.0, -0.5], &[0.25, -2.0]),
        unary(Unary::Neg, &[4.0, -0.5], &[-4.0, 0.5]),
        unary(Unary::Abs, &[4.0, -0.5], &[4.0, 0.5]),
        unary(Unary::Floor, &[1.5, -1.5], &[1.0, -2.0]),
        unary(Unary::Ceil, &[1.5, -1.5], &[2.0, -1.0]),
        unary(
            Unary::Round,
            &[0.5, 1.5, 2.5, -0.5, -1.5, 0.9],
            &[0.0, 2.0, 2.0, 0.0, -2.0, 1.0],
        ),
        unary(Unary::Sign, &[3.0, 0.0, -2.0], &[1.0, 0.0, -1.0]),
        unary(Unary::Erf, &[0.5, -0.5], &[0.520_499_9, -0.520_499_9]),
        unary(
            Unary::Softplus,
            &[0.0, 50.0, -50.0],
            &[std::f32::consts::LN_2, 50.0, 0.0],
        ),
        unary(Unary::Softsign, &[1.0, -3.0], &[0.5, -0.75]),
        unary(
            Unary::HardSwish,
            &[-4.0, -1.0, 1.5, 4.0],
            &[0.0, -1.0 / 3.0, 1.125, 4.0],
        ),
        unary(Unary::Mish, &[0.0, 1.0], &[0.0, 0.865_098_4]),
        unary(
            Unary::HardSigmoid {
                alpha: 0.5,
                beta: 0.6,
            },
            &[-1.0, 0.0, 1.0, -2.0],
            &[0.1, 0.6, 1.0, 0.0],
        ),
        unary(
            Unary::LeakyRelu { alpha: 0.1 },
            &[-1.0, 0.0, 2.0],
            &[-0.1, 0.0, 2.0],
        ),
        unary(
            Unary::Elu { alpha: 1.0 },
            &[-1.0, 2.0],
            &[-0.632_120_6, 2.0],
        ),
        unary(
            Unary::Elu { alpha: 2.0 },
            &[-1.0, 2.0],
            &[-1.264_241_1, 2.0],
        ),
        unary(
            Unary::Gelu { tanh: false },
            &[1.0, -1.0],
            &[0.841_344_7, -0.158_655_3],
        ),
        unary(
            Unary::Gelu { tanh: true },
            &[1.0, -1.0],
            &[0.841_192, -0.158_808],
        ),
        (
            Op::Unary(Unary::Not),
            some(&[bools(&[2], &[0, 1])]),
            vec![bools(&[2], &[1, 0])],
        ),
        (
            Op::Unary(Unary::Neg),
            some(&[i32s(&[2], &[3, -4])]),
            vec![i32s(&[2], &[-3, 4])],
        ),
        (
            Op::Unary(Unary::Relu),
            some(&[i32s(&[2], &[3, -4])]),
            vec![i32s(&[2], &[3, 0])],
        ),
    ]);
}

#[test]
fn binary_functions_broadcast_and_keep_integer_types() {
    let binary = |function, a: Tensor, b: Tensor, expected| {
        (Op::Binary(function), some(&[a, b]), vec![expected])
    };
    let column = f32s(&[2, 1], &[1.0, 2.0]);
    let row = f32s(&[3], &[10.0, 20.0, 30.0]);
    check(vec![
        binary(
            Binary::Add,
            column.clone(),
            row.clone(),
            f32s(&[2, 3], &[11.0, 21.0, 31.0, 12.0, 22.0, 32.0]),
        ),
        binary(
            Binary::Sub,
            row.clone(),
            column.clone(),
            f32s(&[2, 3], &[9.0, 19.0, 29.0, 8.0, 18.0, 28.0]),
        ),
        binary(
            Binary::Mul,
            f32s(&[], &[2.0]),
            row.clone(),
            f32s(&[3], &[20.0, 40.0, 60.0]),
        ),
        binary(
            Binary::Div,
            row,
            f32s(&[1], &[4.0]),
            f32s(&[3], &[2.5, 5.0, 7.5]),
        ),
        binary(
            Binary::Div,
            i32s(&[4], &[7, -7, 7, -7]),
            i32s(&[4], &[2, 2, -2, -2]),
            i32s(&[4], &[3, -3, -3, 3]),
        ),
        binary(
            Binary::Pow,
            i64s(&[3], &[2, 3, -2]),
            i64s(&[3], &[10, 0, 3]),
            i64s(&[3], &[1024, 1, -8]),
        ),
        binary(
            Binary::Pow,
            i64s(&[2], &[2, 9]),
            f32s(&[2], &[2.5, 0.5]),
            i64s(&[2], &[5, 3]),
        ),
        binary(
            Binary::Pow,
            f32s(&[2], &[2.0, 4.0]),
            i64s(&[2], &[-1, 2]),
            f32s(&[2], &[0.5, 16.0]),
        ),
        binary(
            Binary::PRelu,
            f32s(&[2, 2], &[-1.0, -2.0, 3.0, -4.0]),
            f32s(&[2], &[0.5, 0.25]),
            f32s(&[2, 2], &[-0.5, -0.5, 3.0, -1.0]),
        ),
        binary(
            Binary::PRelu,
            f32s(&[2], &[-1.0, f32::INFINITY]),
            f32s(&[1], &[f32::INFINITY]),
            f32s(&[2], &[f32::NEG_INFINITY, f32::INFINITY]),
        ),
        binary(
            Binary::And,
            bools(&[4], &[0, 0, 1, 1]),
            bools(&[4], &[0, 1, 0, 1]),
            bools(&[4], &[0, 0, 0, 1]),
        ),
        binary(
            Binary::Or,
            bools(&[4], &[0, 0, 1, 1]),
            bools(&[4], &[0, 1, 0, 1]),
            bools(&[4], &[0, 1, 1, 1]),
        ),
        binary(
            Binary::Xor,
            bools(&[4], &[0, 0, 1, 1]),
            bools(&[4], &[0, 1, 0, 1]),
            bools(&[4], &[0, 1, 1, 0]),
        ),
        binary(
            Binary::Equal,
            i64s(&[2], &[1, 2]),
            i64s(&[1], &[2]),
            bools(&[2], &[0, 1]),
        ),
        binary(
            Binary::Less,
            i64s(&[3], &[1, 2, 3]),
            i64s(&[1], &[2]),
            bools(&[3], &[1, 0, 0]),
        ),
        binary(
            Binary::LessOrEqual,
            i64s(&[3], &[1, 2, 3]),
            i64s(&[1], &[2]),
            bools(&[3], &[1, 1, 0]),
        ),
        binary(
            Binary::Greater,
            i64s(&[3], &[1, 2, 3]),
            i64s(&[1], &[2]),
            bools(&[3], &[0, 0, 1]),
        ),
        binary(
            Binary::GreaterOrEqual,
            i64s(&[3], &[1, 2, 3]),
            i64s(&[1], &[2]),
            bools(&[3], &[0, 1, 1]),
        ),
    ]);
    refuse(vec![
        (
            Op::Binary(Binary::Div),
            some(&[i32s(&[1], &[1]), i32s(&[1], &[0])]),
        ),
        (
            Op::Binary(Binary::Add),
            some(&[f32s(&[2], &[0.0; 2]), f32s(&[3], &[0.0; 3])]),
        ),
    ]);
}

#[test]
fn functions_of_several_tensors() {
    let (a, b) = (f32s(&[2], &[1.0, 5.0]), f32s(&[1], &[3.0]));
    let c = f32s(&[2], &[2.0, -8.0]);
    let three = some(&[a.clone(), b, c]);
    let mut cases: Vec<Case> = [
        (Reduce::Sum, [6.0, 0.0]),
        (Reduce::Mean, [2.0, 0.0]),
        (Reduce::Max, [3.0, 5.0]),
        (Reduce::Min, [1.0, -8.0]),
    ]
    .into_iter()
    .map(|(kind, expected)| {
        (
            Op::Variadic(kind),
            three.clone(),
            vec![f32s(&[2], &expected)],
        )
    })
    .collect();
    cases.push((
        Op::Variadic(Reduce::Sum),
        some(std::slice::from_ref(&a)),
        vec![a],
    ));
    let condition = bools(&[2, 1], &[1, 0]);
    let (then, other) = (i64s(&[2], &[1, 2]), i64s(&[], &[9]));
    cases.push((
        Op::Where,
        some(&[condition, then, other]),
        vec![i64s(&[2, 2], &[1, 2, 9, 9])],
    ));
    check(cases);
}

#[test]
fn clip_takes_either_bound_and_the_maximum_wins() {
    let x = f32s(&[4], &[-5.0, 0.5, 2.0, 9.0]);
    let (low, high) = (Some(f32s(&[], &[0.0])), Some(f32s(&[], &[1.0])));
    let clip = |min: &Option<Tensor>, max: &Option<Tensor>, expected: &[f32]| {
        (
            Op::Clip,
            vec![Some(x.clone()), min.clone(), max.clone()],
            vec![f32s(&[4], expected)],
        )
    };
    check(vec![
        clip(&low, &high, &[0.0, 0.5, 1.0, 1.0]),
        clip(&low, &None, &[0.0, 0.5, 2.0, 9.0]),
        clip(&None, &high, &[-5.0, 0.5, 1.0, 1.0]),
        clip(&None, &None, &[-5.0, 0.5, 2.0, 9.0]),
        clip(&high, &low, &[0.0, 0.0, 0.0, 0.0]),
        (
            Op::Clip,
            vec![Some(i64s(&[3], &[-9, 1, 9])), None, Some(i64s(&[], &[2]))],
            vec![i64s(&[3], &[-9, 1, 2])],
        ),
    ]);
}

fn count(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = (1..=shape.iter().product::<usize>())
        .map(|value| value as f32)
        .collect();
    f32s(shape, &values)
}

fn conv(auto_pad: AutoPad, pads: &[usize], strides: &[usize], dilations: &[usize]) -> Op {
    Op::Conv(Conv {
        auto_pad,
        pads: pads.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        groups: 1,
    })
}

#[test]
fn convolutions_place_their_windows_as_onnx_says() {
    // Sums of windows over 1, 2, 3, 4.
    let line = count(&[1, 1, 4]);
    let ones = |size: usize| f32s(&[1, 1, size], &vec![1.0; size]);
    let over = |op: Op, size: usize, expected: &[f32]| {
        (
            op,
            some(&[line.clone(), ones(size)]),
            vec![f32s(&[1, 1, expected.len()], expected)],
        )
    };
    let explicit = AutoPad::Explicit;
    let mut cases = vec![
        over(conv(explicit, &[], &[], &[]), 2, &[3.0, 5.0, 7.0]),
        over(conv(explicit, &[1, 1], &[2], &[]), 2, &[1.0, 5.0, 4.0]),
        over(conv(explicit, &[0, 2], &[], &[]), 3, &[6.0, 9.0, 7.0, 4.0]),
        over(conv(explicit, &[2, 0], &[], &[2]), 2, &[1.0, 2.0, 4.0, 6.0]),
        over(
            conv(AutoPad::SameUpper, &[], &[], &[]),
            2,
            &[3.0, 5.0, 7.0, 4.0],
        ),
        over(
            conv(AutoPad::SameLower, &[], &[], &[]),
            2,
            &[1.0, 3.0, 5.0, 7.0],
        ),
        over(conv(AutoPad::SameUpper, &[], &[2], &[]), 3, &[6.0, 7.0]),
        over(conv(AutoPad::SameLower, &[], &[2], &[]), 3, &[3.0, 9.0]),
        over(conv(AutoPad::SameUpper, &[], &[3], &[]), 1, &[1.0, 4.0]),
        over(conv(AutoPad::Valid, &[5, 5], &[], &[]), 3, &[6.0, 9.0]),
    ];
    // Groups and bias, two dimensions, padding different on every side.
    let image = count(&[1, 2, 2, 2]);
    let weight = f32s(&[2, 1, 1, 1], &[1.0, 10.0]);
    let grouped = Op::Conv(Conv {
        pads: vec![0, 1, 1, 0],
        groups: 2,
        ..Conv::default()
    });
    cases.push((
        grouped,
        some(&[image, weight, f32s(&[2], &[0.5, 0.0])]),
        vec![f32s(
            &[1, 2, 3, 3],
            &[
                0.5, 1.5, 2.5, 0.5, 3.5, 4.5, 0.5, 0.5, 0.5, 0.0, 50.0, 60.0, 0.0, 70.0, 80.0, 0.0,
                0.0, 0.0,
            ],
        )],
    ));
    // Three dimensions.
    let cube = count(&[1, 1, 2, 2, 2]);
    let eight = f32s(&[1, 1, 2, 2, 2], &[1.0; 8]);
    cases.push((
        conv(explicit, &[], &[], &[]),
        some(&[cube, eight]),
        vec![f32s(&[1, 1, 1, 1, 1], &[36.0])],
    ));
    check(cases);
    refuse(vec![
        (
            conv(explicit, &[], &[], &[]),
            some(&[line.clone(), ones(5)]),
        ),
        (conv(explicit, &[], &[1, 1], &[]), some(&[line, ones(2)])),
    ]);
}

fn pool(kind: PoolKind, kernel: &[usize]) -> Pool {
    Pool {
        kind,
        kernel: kernel.to_vec(),
        auto_pad: AutoPad::Explicit,
        pads: vec![],
        strides: vec![],
        dilations: vec![],
        ceil_mode: false,
        count_include_pad: false,
        column_major: false,
    }
}

#[test]
fn maximum_pooling_places_its_windows_as_onnx_says() {
    let line = f32s(&[1, 1, 5], &[-1.0, -2.0, -3.0, -4.0, -5.0]);
    let max = |change: &dyn Fn(&mut Pool), expected: &[f32]| {
        let mut op = pool(PoolKind::Max, &[2]);
        change(&mut op);
        (
            Op::Pool(op),
            some(std::slice::from_ref(&line)),
            vec![f32s(&[1, 1, expected.len()], expected)],
        )
    };
    check(vec![
        max(&|_| {}, &[-1.0, -2.0, -3.0, -4.0]),
        max(&|op| op.strides = vec![2], &[-1.0, -3.0]),
        max(
            &|op| (op.strides, op.ceil_mode) = (vec![2], true),
            &[-1.0, -3.0, -5.0],
        ),
        // Padding never wins, though all elements are below zero.
        max(
            &|op| op.pads = vec![1, 1],
            &[-1.0, -1.0, -2.0, -3.0, -4.0, -5.0],
        ),
        max(&|op| op.pads = vec![0, 1], &[-1.0, -2.0, -3.0, -4.0, -5.0]),
        max(
            &|op| op.auto_pad = AutoPad::SameUpper,
            &[-1.0, -2.0, -3.0, -4.0, -5.0],
        ),
        max(
            &|op| op.auto_pad = AutoPad::SameLower,
            &[-1.0, -1.0, -2.0, -3.0, -4.0],
        ),
        max(&|op| op.dilations = vec![3], &[-1.0, -2.0]),
        max(
            &|op| (op.dilations, op.pads) = (vec![3], vec![0, 2]),
            &[-1.0, -2.0, -3.0, -4.0],
        ),
        // The third window would start in the padding behind the last element.
        max(
            &|op| {
                (op.strides, op.ceil_mode, op.pads, op.kernel) =
                    (vec![5], true, vec![0, 2], vec![3])
            },
            &[-1.0],
        ),
        (
            Op::Pool(Pool {
                ceil_mode: true,
                strides: vec![2, 2],
                ..pool(PoolKind::Max, &[3, 3])
            }),
            some(&[count(&[1, 1, 4, 4])]),
            vec![f32s(&[1, 1, 2, 2], &[11.0, 12.0, 15.0, 16.0])],
        ),
        // test_maxpool_2d_ceil_output_size_reduce_by_one
        (
            Op::Pool(Pool {
                ceil_mode: true,
                strides: vec![2, 2],
                ..pool(PoolKind::Max, &[1, 1])
            }),
            some(&[count(&[1, 1, 2, 2])]),
            vec![f32s(&[1, 1, 1, 1], &[1.0])],
        ),
        (
            Op::Pool(Pool {
                pads: vec![0, 1],
                ..pool(PoolKind::Max, &[2])
            }),
            some(&[u8s(&[1, 1, 3], &[255, 0, 7])]),
            vec![u8s(&[1, 1, 3], &[255, 7, 7])],
        ),
        (
            Op::Pool(pool(PoolKind::Max, &[2, 1, 2])),
            some(&[count(&[1, 1, 2, 2, 2])]),
            vec![f32s(&[1, 1, 1, 2, 1], &[6.0, 8.0])],
        ),
        (
            Op::GlobalPool(PoolKind::Max),
            some(&[count(&[1, 2, 2, 2])]),
            vec![f32s(&[1, 2, 1, 1], &[4.0, 8.0])],
        ),
    ]);
}

#[test]
fn average_pooling_divides_by_the_elements_onnx_counts() {
    let line = count(&[1, 1, 5]);
    let average = |change: &dyn Fn(&mut Pool), expected: &[f32]| {
        let mut op = pool(PoolKind::Average, &[3]);
        change(&mut op);
        (
            Op::Pool(op),
            some(std::slice::from_ref(&line)),
            vec![f32s(&[1, 1, expected.len()], expected)],
        )
    };
    check(vec![
        average(&|_| {}, &[2.0, 3.0, 4.0]),
        average(&|op| op.pads = vec![1, 1], &[1.5, 2.0, 3.0, 4.0, 4.5]),
        average(
            &|op| (op.pads, op.count_include_pad) = (vec![1, 1], true),
            &[1.0, 2.0, 3.0, 4.0, 3.0],
        ),
        // Padding on one side.
        average(&|op| op.pads = vec![2, 0], &[1.0, 1.5, 2.0, 3.0, 4.0]),
        average(
            &|op| (op.pads, op.count_include_pad) = (vec![2, 0], true),
            &[1.0 / 3.0, 1.0, 2.0, 3.0, 4.0],
        ),
        average(
            &|op| op.auto_pad = AutoPad::SameUpper,
            &[1.5, 2.0, 3.0, 4.0, 4.5],
        ),
        average(
            &|op| (op.auto_pad, op.kernel) = (AutoPad::SameUpper, vec![2]),
            &[1.5, 2.5, 3.5, 4.5, 5.0],
        ),
        average(
            &|op| (op.auto_pad, op.kernel) = (AutoPad::SameLower, vec![2]),
            &[1.0, 1.5, 2.5, 3.5, 4.5],
        ),
        average(
            &|op| {
                (op.auto_pad, op.kernel, op.count_include_pad) =
                    (AutoPad::SameLower, vec![2], true);
            },
            &[0.5, 1.5, 2.5, 3.5, 4.5],
        ),
        // What only rounding up reaches never counts; declared padding does where asked for.
        average(
            &|op| (op.strides, op.ceil_mode, op.kernel) = (vec![2], true, vec![2]),
            &[1.5, 3.5, 5.0],
        ),
        average(
            &|op| {
                (op.strides, op.ceil_mode, op.kernel) = (vec![2], true, vec![2]);
                op.count_include_pad = true;
            },
            &[1.5, 3.5, 5.0],
        ),
        average(
            &|op| {
                (op.strides, op.ceil_mode, op.kernel) = (vec![3], true, vec![4]);
                (op.pads, op.count_include_pad) = (vec![0, 1], true);
            },
            &[2.5, 3.0],
        ),
        average(
            &|op| (op.dilations, op.kernel) = (vec![2], vec![2]),
            &[2.0, 3.0, 4.0],
        ),
        average(
            &|op| (op.dilations, op.kernel, op.pads) = (vec![2], vec![2], vec![1, 1]),
            &[2.0, 2.0, 3.0, 4.0, 4.0],
        ),
        (
            Op::Pool(Pool {
                pads: vec![1, 0, 0, 1],
                ..pool(PoolKind::Average, &[2, 2])
            }),
            some(&[count(&[1, 2, 2, 2])]),
            vec![f32s(
                &[1, 2, 2, 2],
                &[1.5, 2.0, 2.5, 3.0, 5.5, 6.0, 6.5, 7.0],
            )],
        ),
        (
            Op::GlobalPool(PoolKind::Average),
            some(&[count(&[2, 1, 4])]),
            vec![f32s(&[2, 1, 1], &[2.5, 6.5])],
        ),
    ]);
    refuse(vec![(
        Op::Pool(pool(PoolKind::Average, &[6])),
        some(&[line]),
    )]);
}

#[test]
fn products_of_matrices() {
    let gemm = |alpha, beta, transpose_a, transpose_b| Op::Gemm {
        alpha,
        beta,
        transpose_a,
        transpose_b,
    };
    let a = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = f32s(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    let a_t = f32s(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let b_t = f32s(&[2, 3], &[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
    let product = f32s(&[2, 2], &[4.0, 5.0, 10.0, 11.0]);
    let mut cases = vec![
        (
            gemm(1.0, 1.0, false, false),
            some(&[a.clone(), b.clone()]),
            vec![product.clone()],
        ),
        (
            gemm(1.0, 1.0, true, true),
            some(&[a_t, b_t]),
            vec![product.clone()],
        ),
        (Op::MatMul, some(&[a.clone(), b.clone()]), vec![product]),
        (
            Op::MatMul,
            some(&[a.clone(), f32s(&[3], &[1.0, 0.0, 1.0])]),
            vec![f32s(&[2], &[4.0, 10.0])],
        ),
        (
            Op::MatMul,
            some(&[f32s(&[2, 1, 1], &[1.0, 2.0]), f32s(&[1, 2], &[3.0, 4.0])]),
            vec![f32s(&[2, 1, 2], &[3.0, 4.0, 6.0, 8.0])],
        ),
        (
            gemm(2.0, 0.5, false, false),
            some(&[a.clone(), b.clone(), f32s(&[2, 1], &[2.0, 4.0])]),
            vec![f32s(&[2, 2], &[9.0, 11.0, 22.0, 24.0])],
        ),
        (
            gemm(1.0, 0.0, false, false),
            some(&[a.clone(), b.clone(), f32s(&[1], &[f32::NAN])]),
            vec![f32s(&[2, 2], &[4.0, 5.0, 10.0, 11.0])],
        ),
        (
            gemm(1.0, 1.0, false, false),
            some(&[
                i64s(&[1, 2], &[1, 2]),
                i64s(&[2, 1], &[3, 4]),
                i64s(&[1], &[5]),
            ]),
            vec![i64s(&[1, 1], &[16])],
        ),
    ];
    for bias in [
        f32s(&[], &[1.0]),
        f32s(&[1], &[1.0]),
        f32s(&[1, 2], &[1.0; 2]),
        f32s(&[2, 2], &[1.0; 4]),
    ] {
        let expected = f32s(&[2, 2], &[5.0, 6.0, 11.0, 12.0]);
        cases.push((
            gemm(1.0, 1.0, false, false),
            some(&[a.clone(), b.clone(), bias]),
            vec![expected],
        ));
    }
    check(cases);
    refuse(vec![
        (Op::MatMul, some(&[a.clone(), a.clone()])),
        (
            gemm(1.0, 1.0, false, false),
            some(&[a, f32s(&[3], &[0.0; 3])]),
        ),
    ]);
}

#[test]
fn normalisations() {
    let row = f32s(&[1, 3], &[0.0, 1.0, 2.0]);
    let softmax = [0.090_030_57, 0.244_728_48, 0.665_240_94];
    let log: Vec<f32> = softmax.iter().map(|value: &f32| value.ln()).collect();
    let half = f32s(&[2, 1, 2], &[0.0, 0.0, 1000.0, 1000.0]);
    check(vec![
        (
            Op::Softmax { axis: -1 },
            some(std::slice::from_ref(&row)),
            vec![f32s(&[1, 3], &softmax)],
        ),
        (
            Op::Softmax { axis: 0 },
            some(std::slice::from_ref(&row)),
            vec![f32s(&[1, 3], &[1.0; 3])],
        ),
        (
            Op::LogSoftmax { axis: 1 },
            some(&[row]),
            vec![f32s(&[1, 3], &log)],
        ),
        // Over both trailing dimensions at once.
        (
            Op::FlatSoftmax {
                axis: 1,
                log: false,
            },
            some(std::slice::from_ref(&half)),
            vec![f32s(&[2, 1, 2], &[0.5; 4])],
        ),
        (
            Op::FlatSoftmax {
                axis: 0,
                log: false,
            },
            some(std::slice::from_ref(&half)),
            vec![f32s(&[2, 1, 2], &[0.0, 0.0, 0.5, 0.5])],
        ),
        (
            Op::FlatSoftmax {
                axis: -1,
                log: true,
            },
            some(&[half]),
            vec![f32s(&[2, 1, 2], &[-std::f32::consts::LN_2; 4])],
        ),
        (
            Op::Normalization(Normalization::Batch { epsilon: 1.0 }),
            some(&[
                f32s(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]),
                f32s(&[2], &[1.0, 2.0]),
                f32s(&[2], &[0.0, 1.0]),
                f32s(&[2], &[1.0, 3.0]),
                f32s(&[2], &[3.0, 0.0]),
            ]),
            vec![f32s(&[1, 2, 2], &[0.0, 0.5, 1.0, 3.0])],
        ),
        (
            Op::Normalization(Normalization::Layer {
                axis: -1,
                epsilon: 0.0,
                brief_statistics: false,
            }),
            some(&[
                f32s(&[2, 2], &[1.0, 3.0, 10.0, 30.0]),
                f32s(&[2], &[1.0, 2.0]),
                f32s(&[2], &[0.0, 1.0]),
            ]),
            vec![f32s(&[2, 2], &[-1.0, 3.0, -1.0, 3.0])],
        ),
        (
            Op::Normalization(Normalization::Layer {
                axis: 0,
                epsilon: 0.0,
                brief_statistics: false,
            }),
            some(&[
                f32s(&[2, 2], &[1.0, 1.0, 3.0, 3.0]),
                f32s(&[2], &[1.0, 2.0]),
            ]),
            vec![f32s(&[2, 2], &[-1.0, -2.0, 1.0, 2.0])],
        ),
    ]);
}

fn reduce(kind: Reduce, keep_dims: bool) -> Op {
    Op::Reduce {
        kind,
        keep_dims,
        noop_with_empty_axes: false,
    }
}

#[test]
fn reductions_take_axes_from_anywhere() {
    let x = f32s(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
    let kinds = [
        (Reduce::Sum, [-1.0, 7.0], 6.0),
        (Reduce::Mean, [-0.5, 3.5], 1.5),
        (Reduce::Max, [1.0, 4.0], 4.0),
        (Reduce::Min, [-2.0, 3.0], -2.0),
        (Reduce::Prod, [-2.0, 12.0], -24.0),
        (Reduce::L1, [3.0, 7.0], 10.0),
        (Reduce::L2, [5.0_f32.sqrt(), 5.0], 30.0_f32.sqrt()),
    ];
    let mut cases = Vec::new();
    for (kind, rows, all) in kinds {
        let one =
            |op, axes: Option<Tensor>, expected| (op, vec![Some(x.clone()), axes], vec![expected]);
        cases.push(one(
            reduce(kind, true),
            Some(list(&[-1])),
            f32s(&[2, 1], &rows),
        ));
        cases.push(one(
            reduce(kind, false),
            Some(list(&[1])),
            f32s(&[2], &rows),
        ));
        cases.push(one(
            reduce(kind, false),
            Some(list(&[1, 0])),
            f32s(&[], &[all]),
        ));
        cases.push(one(reduce(kind, true), None, f32s(&[1, 1], &[all])));
        cases.push(one(reduce(kind, false), Some(list(&[])), f32s(&[], &[all])));
        let noop = Op::Reduce {
            kind,
            keep_dims: true,
            noop_with_empty_axes: true,
        };
        cases.push(one(noop.clone(), Some(list(&[])), x.clone()));
        cases.push(one(noop, None, x.clone()));
        cases.push((
            reduce(kind, true),
            some(&[f32s(&[], &[3.0])]),
            vec![f32s(&[], &[3.0])],
        ));
    }
    check(cases);
    refuse(vec![
        (reduce(Reduce::Sum, true), some(&[x.clone(), list(&[2])])),
        (reduce(Reduce::Sum, true), some(&[x, list(&[1, -1])])),
    ]);
}

#[test]
fn reductions_of_integers_and_of_nothing() {
    let (i, none) = (i32s(&[2, 2], &[1, 2, -3, -4]), f32s(&[0, 2], &[]));
    let first = || list(&[0]);
    check(vec![
        (
            reduce(Reduce::Sum, false),
            some(&[i.clone(), list(&[1])]),
            vec![i32s(&[2], &[3, -7])],
        ),
        (
            reduce(Reduce::Mean, false),
            some(&[i.clone(), list(&[1])]),
            vec![i32s(&[2], &[1, -3])],
        ),
        (
            reduce(Reduce::Prod, false),
            some(&[i, list(&[0, 1])]),
            vec![i32s(&[], &[24])],
        ),
        (
            reduce(Reduce::L2, false),
            some(&[i64s(&[2], &[3, 4]), first()]),
            vec![i64s(&[], &[5])],
        ),
        (
            reduce(Reduce::Max, true),
            some(&[bools(&[2], &[0, 1]), first()]),
            vec![bools(&[1], &[1])],
        ),
        (
            reduce(Reduce::Sum, false),
            some(&[none.clone(), first()]),
            vec![f32s(&[2], &[0.0; 2])],
        ),
        (
            reduce(Reduce::Prod, false),
            some(&[none.clone(), first()]),
            vec![f32s(&[2], &[1.0; 2])],
        ),
        (
            reduce(Reduce::Max, true),
            some(&[none.clone(), first()]),
            vec![f32s(&[1, 2], &[f32::NEG_INFINITY; 2])],
        ),
        (
            reduce(Reduce::Min, false),
            some(&[none, first()]),
            vec![f32s(&[2], &[f32::INFINITY; 2])],
        ),
        (
            reduce(Reduce::Min, false),
            some(&[u8s(&[0], &[]), first()]),
            vec![u8s(&[], &[255])],
        ),
    ]);
}

#[test]
fn the_extreme_of_equals_is_the_first_or_the_last() {
    let x = f32s(&[2, 3], &[2.0, 2.0, 1.0, 0.0, 5.0, 5.0]);
    let extreme = |largest, axis, keep_dims, select_last, shape: &[usize], expected: &[i64]| {
        let op = Op::ArgExtreme {
            largest,
            axis,
            keep_dims,
            select_last,
        };
        (
            op,
            some(std::slice::from_ref(&x)),
            vec![i64s(shape, expected)],
        )
    };
    check(vec![
        extreme(true, 1, true, false, &[2, 1], &[0, 1]),
        extreme(true, -1, false, true, &[2], &[1, 2]),
        extreme(false, 1, false, false, &[2], &[2, 0]),
        extreme(false, 0, true, true, &[1, 3], &[1, 0, 0]),
        (
            Op::ArgExtreme {
                largest: false,
                axis: 0,
                keep_dims: false,
                select_last: true,
            },
            some(&[i64s(&[3], &[1, 1, 2])]),
            vec![i64s(&[], &[1])],
        ),
    ]);
}

#[test]
fn reshape_copies_infers_and_accepts_nothing() {
    let x = count(&[2, 3, 4]);
    let values = values_f32(&x);
    let reshape = |allow_zero, x: &Tensor, shape: &[i64], expected: Tensor| {
        (
            Op::Reshape { allow_zero },
            some(&[x.clone(), list(shape)]),
            vec![expected],
        )
    };
    let empty = |shape: &[usize]| f32s(shape, &[]);
    check(vec![
        reshape(false, &x, &[4, 6], f32s(&[4, 6], &values)),
        reshape(false, &x, &[0, -1], f32s(&[2, 12], &values)),
        reshape(false, &x, &[-1], f32s(&[24], &values)),
        reshape(false, &x, &[2, 0, -1, 2], f32s(&[2, 3, 2, 2], &values)),
        reshape(true, &empty(&[0, 3, 4]), &[3, 4, 0], empty(&[3, 4, 0])),
        reshape(false, &empty(&[0, 3]), &[0, -1], empty(&[0, 0])),
        reshape(false, &empty(&[0, 3]), &[3, -1], empty(&[3, 0])),
        reshape(false, &f32s(&[1], &[7.0]), &[], f32s(&[], &[7.0])),
    ]);
    refuse(vec![
        (
            Op::Reshape { allow_zero: false },
            some(&[x.clone(), list(&[5, -1])]),
        ),
        (
            Op::Reshape { allow_zero: false },
            some(&[x.clone(), list(&[-1, -1])]),
        ),
        (
            Op::Reshape { allow_zero: false },
            some(&[x.clone(), list(&[2, 3, 4, 0])]),
        ),
        (
            Op::Reshape { allow_zero: true },
            some(&[x.clone(), list(&[0, -1])]),
        ),
        (
            Op::Reshape { allow_zero: false },
            some(&[x.clone(), list(&[i64::MAX, i64::MAX, -1])]),
        ),
        (
            Op::Reshape { allow_zero: false },
            some(&[x, list(&[-2, -12])]),
        ),
    ]);
}

#[test]
fn shapes_are_flattened_squeezed_transposed_and_expanded() {
    let x = count(&[2, 1, 3]);
    let values = values_f32(&x);
    let on = |op: Op, expected: Tensor| (op, some(std::slice::from_ref(&x)), vec![expected]);
    let with = |op: Op, axes: &[i64], expected: Tensor| {
        (op, some(&[x.clone(), list(axes)]), vec![expected])
    };
    let flipped = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0];
    check(vec![
        on(Op::Flatten { axis: 0 }, f32s(&[1, 6], &values)),
        on(Op::Flatten { axis: 1 }, f32s(&[2, 3], &values)),
        on(Op::Flatten { axis: 3 }, f32s(&[6, 1], &values)),
        on(Op::Flatten { axis: -1 }, f32s(&[2, 3], &values)),
        on(
            Op::Transpose { permutation: None },
            f32s(&[3, 1, 2], &flipped),
        ),
        on(
            Op::Transpose {
                permutation: Some(vec![1, 2, 0]),
            },
            f32s(&[1, 3, 2], &flipped),
        ),
        on(Op::Squeeze, f32s(&[2, 3], &values)),
        with(Op::Squeeze, &[-2], f32s(&[2, 3], &values)),
        with(Op::Unsqueeze, &[4, 0], f32s(&[1, 2, 1, 3, 1], &values)),
        with(Op::Unsqueeze, &[-1], f32s(&[2, 1, 3, 1], &values)),
        with(
            Op::Expand,
            &[2, 1],
            f32s(
                &[2, 2, 3],
                &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.0, 5.0, 6.0],
            ),
        ),
        with(Op::Expand, &[1], x.clone()),
        on(
            Op::Shape {
                start: 0,
                end: None,
            },
            list(&[2, 1, 3]),
        ),
        on(
            Op::Shape {
                start: -2,
                end: Some(-1),
            },
            list(&[1]),
        ),
        on(
            Op::Shape {
                start: -10,
                end: Some(10),
            },
            list(&[2, 1, 3]),
        ),
        on(
            Op::Shape {
                start: 2,
                end: Some(1),
            },
            list(&[]),
        ),
        on(Op::Identity, x.clone()),
    ]);
    refuse(vec![
        (Op::Squeeze, some(&[x.clone(), list(&[0])])),
        (Op::Unsqueeze, some(&[x.clone(), list(&[0, 0])])),
        (Op::Expand, some(&[x.clone(), list(&[2, 2, 2])])),
        (Op::Flatten { axis: 4 }, some(std::slice::from_ref(&x))),
        (
            Op::Transpose {
                permutation: Some(vec![0, 0, 1]),
            },
            some(&[x]),
        ),
    ]);
}

#[test]
fn tensors_are_joined_and_split() {
    let (a, b) = (f32s(&[1, 2], &[1.0, 2.0]), f32s(&[1, 1], &[3.0]));
    let seven = i64s(&[7], &[0, 1, 2, 3, 4, 5, 6]);
    let split = Op::Split { axis: -1 };
    check(vec![
        (
            Op::Concat { axis: -1 },
            some(&[a.clone(), b.clone()]),
            vec![f32s(&[1, 3], &[1.0, 2.0, 3.0])],
        ),
        (
            split.clone(),
            some(std::slice::from_ref(&seven)),
            vec![list(&[0, 1, 2, 3]), list(&[4, 5, 6])],
        ),
        (
            split.clone(),
            some(std::slice::from_ref(&seven)),
            vec![list(&[0, 1]), list(&[2, 3]), list(&[4, 5]), list(&[6])],
        ),
        (
            split.clone(),
            some(&[seven.clone(), list(&[1, 0, 6])]),
            vec![list(&[0]), list(&[]), list(&[1, 2, 3, 4, 5, 6])],
        ),
    ]);
    refuse(vec![
        (Op::Concat { axis: 0 }, some(&[a, b])),
        (split.clone(), some(&[seven.clone(), list(&[3])])),
        (split, some(&[seven, list(&[3, 4])])),
    ]);
}

#[test]
fn slices_step_both_ways_and_stop_at_the_ends() {
    let x = list(&[0, 1, 2, 3, 4]);
    let slice = |start: i64, end: i64, step: i64, expected: &[i64]| {
        let inputs = [
            x.clone(),
            list(&[start]),
            list(&[end]),
            list(&[0]),
            list(&[step]),
        ];
        (Op::Slice, some(&inputs), vec![list(expected)])
    };
    let (max, min) = (i64::MAX, i64::MIN);
    check(vec![
        slice(1, 4, 1, &[1, 2, 3]),
        slice(1, max, 2, &[1, 3]),
        slice(-2, max, 1, &[3, 4]),
        slice(min, 2, 1, &[0, 1]),
        slice(3, 1, 1, &[]),
        slice(9, 10, 1, &[]),
        slice(-1, min, -1, &[4, 3, 2, 1, 0]),
        slice(4, 0, -2, &[4, 2]),
        slice(max, min, -2, &[4, 2, 0]),
        slice(3, 0, -1, &[3, 2, 1]),
        slice(-1, -6, -1, &[4, 3, 2, 1, 0]),
        slice(0, min, -1, &[0]),
        slice(min, min, -1, &[0]),
        slice(1, 3, -1, &[]),
        slice(4, -3, -1, &[4, 3]),
        slice(4, min, min, &[4]),
        slice(0, max, max, &[0]),
        (
            Op::Slice,
            some(&[x.clone(), list(&[3]), list(&[5])]),
            vec![list(&[3, 4])],
        ),
        (
            Op::Slice,
            some(&[count(&[2, 3]), list(&[1, 0]), list(&[3, 1]), list(&[-1, 0])]),
            vec![f32s(&[1, 2], &[2.0, 3.0])],
        ),
        (
            Op::Slice,
            vec![
                Some(x.clone()),
                Some(list(&[4])),
                Some(list(&[min])),
                None,
                Some(list(&[-3])),
            ],
            vec![list(&[4, 1])],
        ),
        (
            Op::Slice,
            some(&[
                x.clone(),
                i32s(&[1], &[-1]),
                i32s(&[1], &[-4]),
                i32s(&[1], &[0]),
                i32s(&[1], &[-1]),
            ]),
            vec![list(&[4, 3, 2])],
        ),
    ]);
    refuse(vec![
        (
            Op::Slice,
            some(&[x.clone(), list(&[0]), list(&[1]), list(&[0]), list(&[0])]),
        ),
        (
            Op::Slice,
            some(&[x.clone(), list(&[0]), list(&[1]), list(&[1])]),
        ),
        (Op::Slice, some(&[x, list(&[0, 1]), list(&[1])])),
    ]);
}

#[test]
fn gathers_count_from_either_end() {
    let x = count(&[3, 2]);
    let gather = |axis, indices: Tensor, expected| {
        (
            Op::Gather { axis },
            some(&[x.clone(), indices]),
            vec![expected],
        )
    };
    check(vec![
        gather(0, list(&[2, 0]), f32s(&[2, 2], &[5.0, 6.0, 1.0, 2.0])),
        gather(0, list(&[-1, -3]), f32s(&[2, 2], &[5.0, 6.0, 1.0, 2.0])),
        gather(
            -1,
            i32s(&[1, 2], &[1, 1]),
            f32s(&[3, 1, 2], &[2.0, 2.0, 4.0, 4.0, 6.0, 6.0]),
        ),
        gather(0, i64s(&[], &[1]), f32s(&[2], &[3.0, 4.0])),
        gather(1, i64s(&[], &[-2]), f32s(&[3], &[1.0, 3.0, 5.0])),
        gather(0, list(&[]), f32s(&[0, 2], &[])),
    ]);
    refuse(vec![
        (Op::Gather { axis: 0 }, some(&[x.clone(), i64s(&[], &[3])])),
        (Op::Gather { axis: 0 }, some(&[x.clone(), list(&[-4])])),
        (Op::Gather { axis: 0 }, some(&[x, f32s(&[1], &[0.0])])),
    ]);
}

#[test]
fn padding_in_all_modes_and_cropping() {
    let x = count(&[1, 3]);
    let pad = |mode, pads: &[i64], expected: Tensor| {
        (
            Op::Pad(mode),
            some(&[x.clone(), list(pads)]),
            vec![expected],
        )
    };
    let one = |values: &[f32]| f32s(&[1, values.len()], values);
    check(vec![
        pad(
            PadMode::Constant,
            &[0, 1, 0, 2],
            one(&[0.0, 1.0, 2.0, 3.0, 0.0, 0.0]),
        ),
        pad(
            PadMode::Constant,
            &[1, 0, 0, -1],
            f32s(&[2, 2], &[0.0, 0.0, 1.0, 2.0]),
        ),
        pad(
            PadMode::Edge,
            &[0, 2, 0, 1],
            one(&[1.0, 1.0, 1.0, 2.0, 3.0, 3.0]),
        ),
        pad(
            PadMode::Edge,
            &[1, 0, 0, 0],
            f32s(&[2, 3], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        ),
        pad(
            PadMode::Reflect,
            &[0, 2, 0, 2],
            one(&[3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0]),
        ),
        pad(
            PadMode::Reflect,
            &[0, 4, 0, -1],
            one(&[1.0, 2.0, 3.0, 2.0, 1.0, 2.0]),
        ),
        pad(
            PadMode::Reflect,
            &[1, 0, 0, 0],
            f32s(&[2, 3], &[1.0, 2.0, 3.0, 1.0, 2.0, 3.0]),
        ),
        (
            Op::Pad(PadMode::Constant),
            some(&[x.clone(), list(&[1, 0]), f32s(&[], &[-0.5]), list(&[-1])]),
            vec![one(&[-0.5, 1.0, 2.0, 3.0])],
        ),
        (
            Op::Pad(PadMode::Constant),
            some(&[i64s(&[1], &[5]), list(&[0, 1]), i64s(&[1], &[7])]),
            vec![list(&[5, 7])],
        ),
    ]);
    refuse(vec![
        (
            Op::Pad(PadMode::Constant),
            some(&[x.clone(), list(&[1, 1])]),
        ),
        (
            Op::Pad(PadMode::Edge),
            some(&[x.clone(), list(&[0, 0, 0, i64::MAX])]),
        ),
        (
            Op::Pad(PadMode::Edge),
            some(&[x.clone(), list(&[0, i64::MIN, 0, 0])]),
        ),
        (Op::Pad(PadMode::Reflect), some(&[x, list(&[0, -2, 0, -2])])),
    ]);
}

#[test]
fn casts_truncate_and_constants_are_filled() {
    let x = f32s(&[4], &[1.9, -1.9, 0.0, 0.4]);
    let cast = |to, expected| {
        (
            Op::Cast { to },
            some(std::slice::from_ref(&x)),
            vec![expected],
        )
    };
    let half =
        Tensor::copy_of(DType::F16, vec![1], &half::f16::from_f32(0.4).to_le_bytes()).unwrap();
    let fill = |value, dtype| Op::ConstantOfShape { value, dtype };
    check(vec![
        cast(DType::I32, i32s(&[4], &[1, -1, 0, 0])),
        cast(DType::I64, i64s(&[4], &[1, -1, 0, 0])),
        cast(DType::Bool, bools(&[4], &[1, 1, 0, 1])),
        cast(DType::F32, x.clone()),
        cast(
            DType::F64,
            f64s(
                &[4],
                &[
                    f64::from(1.9_f32),
                    f64::from(-1.9_f32),
                    0.0,
                    f64::from(0.4_f32),
                ],
            ),
        ),
        (
            Op::Cast { to: DType::F16 },
            some(&[f32s(&[1], &[0.4])]),
            vec![half],
        ),
        (
            Op::Cast { to: DType::F32 },
            some(&[bools(&[2], &[1, 0])]),
            vec![f32s(&[2], &[1.0, 0.0])],
        ),
        (
            fill(1.5, DType::F32),
            some(&[list(&[2])]),
            vec![f32s(&[2], &[1.5, 1.5])],
        ),
        (
            fill(7.0, DType::I64),
            some(&[list(&[])]),
            vec![i64s(&[], &[7])],
        ),
        (
            fill(0.0, DType::I32),
            some(&[list(&[0, 2])]),
            vec![i32s(&[0, 2], &[])],
        ),
        (
            fill(1.0, DType::Bool),
            some(&[list(&[1])]),
            vec![bools(&[1], &[1])],
        ),
    ]);
    refuse(vec![
        (fill(0.0, DType::F32), some(&[list(&[-1])])),
        (fill(0.0, DType::F32), some(&[list(&[1 << 40, 1 << 20])])),
    ]);
}
