//! Operators of ATen that a model names itself: what they are given, and what they are refused.

use blockflow::engine::EngineError;
use blockflow::graph::{AtenArgument, AtenOp, AtenPlace, Op};
use blockflow::types::{DType, Tensor};

use crate::engine_support::{
    Builder, bools, f32s, fixed, i64s, prepare_graph, run_op, signature, values_f32,
};

fn op(name: &str, overload: &str, arguments: Vec<AtenArgument>) -> Op {
    let place = |(index, argument)| (AtenPlace::Position(index), argument);
    Op::Aten(AtenOp {
        name: name.to_owned(),
        overload: overload.to_owned(),
        arguments: arguments.into_iter().enumerate().map(place).collect(),
        outputs: Vec::new(),
    })
}

fn named(mut op: Op, name: &str, argument: AtenArgument) -> Op {
    if let Op::Aten(op) = &mut op {
        let place = AtenPlace::Name(name.to_owned());
        op.arguments.push((place, argument));
    }
    op
}

fn run(op: &Op, inputs: &[Tensor], expected: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
    let given: Vec<_> = inputs.iter().cloned().map(Some).collect();
    run_op(op, &given, &vec![false; inputs.len()], expected)
}

fn gives(op: &Op, inputs: &[Tensor], expected: &[Tensor]) {
    let outputs = run(op, inputs, expected).unwrap();
    for (seen, expected) in outputs.iter().zip(expected) {
        assert_eq!(seen.shape(), expected.shape());
        assert_eq!(seen.bytes(), expected.bytes());
    }
}

fn refusal(op: &Op) -> String {
    let x = f32s(&[2], &[1.0, 2.0]);
    run(op, std::slice::from_ref(&x), std::slice::from_ref(&x))
        .unwrap_err()
        .to_string()
}

use AtenArgument::{Bool, DType as Type, Float, Input, Inputs, Int, Ints, Text};

#[test]
fn arguments_that_are_left_out_have_the_default_of_the_schema() {
    let (a, b) = (f32s(&[2], &[1.0, 2.0]), f32s(&[2], &[10.0, 20.0]));
    let add = op("aten::add", "Tensor", vec![Input(0), Input(1)]);
    gives(&add, &[a.clone(), b.clone()], &[f32s(&[2], &[11.0, 22.0])]);
    let add = named(add, "alpha", Int(2));
    gives(&add, &[a, b], &[f32s(&[2], &[21.0, 42.0])]);
}

#[test]
fn lists_of_integers_and_numbers_for_floats_are_understood() {
    let x = f32s(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let roll = op(
        "aten::roll",
        "",
        vec![Input(0), Ints(vec![1]), Ints(vec![0])],
    );
    gives(&roll, &[x], &[f32s(&[4], &[4.0, 1.0, 2.0, 3.0])]);
    let norm = op(
        "aten::layer_norm",
        "",
        vec![
            Input(0),
            Ints(vec![2]),
            AtenArgument::None,
            AtenArgument::None,
            Int(0),
        ],
    );
    gives(
        &norm,
        &[f32s(&[2], &[1.0, 3.0])],
        &[f32s(&[2], &[-1.0, 1.0])],
    );
}

#[test]
fn lists_of_tensors_may_lack_some() {
    let (a, b) = (f32s(&[1], &[1.0]), f32s(&[1], &[2.0]));
    let cat = op(
        "aten::cat",
        "",
        vec![Inputs(vec![Some(1), Some(0)]), Int(0)],
    );
    gives(&cat, &[a, b], &[f32s(&[2], &[2.0, 1.0])]);
    let x = f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let columns = i64s(&[1], &[1]);
    let index = op(
        "aten::index",
        "Tensor",
        vec![Input(0), Inputs(vec![None, Some(1)])],
    );
    gives(&index, &[x, columns], &[f32s(&[2, 1], &[2.0, 4.0])]);
}

#[test]
fn dtypes_texts_and_truth_values_are_understood() {
    let x = f32s(&[2], &[1.0, 2.0]);
    let sum = named(
        op("aten::sum", "", vec![Input(0)]),
        "dtype",
        Type(DType::I64),
    );
    gives(&sum, std::slice::from_ref(&x), &[i64s(&[], &[3])]);
    let gelu = named(
        op("aten::gelu", "", vec![Input(0)]),
        "approximate",
        Text("tanh".into()),
    );
    let seen = run(&gelu, std::slice::from_ref(&x), std::slice::from_ref(&x)).unwrap();
    assert!((values_f32(&seen[0])[0] - 0.841_192).abs() < 1e-5);
    let argmax = op("aten::argmax", "", vec![Input(0), Int(0), Bool(true)]);
    gives(&argmax, &[x], &[i64s(&[1], &[1])]);
}

#[test]
fn an_operator_may_return_several_tensors_or_a_list_of_them() {
    let x = f32s(&[2], &[3.0, 4.0]);
    let max = op("aten::max", "dim", vec![Input(0), Int(0)]);
    gives(
        &max,
        std::slice::from_ref(&x),
        &[f32s(&[], &[4.0]), i64s(&[], &[1])],
    );
    let split = op("aten::split", "Tensor", vec![Input(0), Int(1)]);
    gives(&split, &[x], &[f32s(&[1], &[3.0]), f32s(&[1], &[4.0])]);
}

#[test]
fn numbers_that_an_operator_returns_are_tensors_without_dimensions() {
    let x = f32s(&[2], &[3.0, 4.0]);
    let equal = op("aten::equal", "", vec![Input(0), Input(0)]);
    gives(&equal, std::slice::from_ref(&x), &[bools(&[], &[1])]);
    let size = op("aten::size", "int", vec![Input(0), Int(0)]);
    gives(&size, &[x], &[i64s(&[], &[2])]);
}

#[test]
fn unknown_operators_and_arguments_are_named() {
    let cases = [
        (
            op("aten::rolll", "", vec![Input(0)]),
            "aten::rolll: libtorch has no operator of this name",
        ),
        (
            op("aten::add", "Tensors", vec![Input(0)]),
            "aten::add.Tensors: libtorch has no operator of this name",
        ),
        (
            op("aten::relu", "", vec![Input(0), Input(0)]),
            "aten::relu: has 1 arguments, not 2",
        ),
        (
            op("aten::relu", "", vec![]),
            "aten::relu: argument self is missing",
        ),
        (
            op("aten::relu", "", vec![Int(1)]),
            "aten::relu: argument self is Tensor, not int",
        ),
        (
            named(op("aten::relu", "", vec![Input(0)]), "alpha", Float(1.0)),
            "aten::relu: has no argument alpha",
        ),
        (
            named(op("aten::relu", "", vec![Input(0)]), "self", Input(0)),
            "aten::relu: argument self is given twice",
        ),
        (
            op("aten::cat", "", vec![Ints(vec![1])]),
            "aten::cat: item 0 of the list is not Tensor",
        ),
    ];
    for (op, expected) in cases {
        let message = refusal(&op);
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn a_failure_of_the_operator_is_an_error_of_the_node() {
    let message = refusal(&op("aten::argmax", "", vec![Input(0), Int(7)]));
    let expected = "operator \"n0\" (ATen) failed: aten::argmax: Dimension out of range";
    assert!(message.starts_with(expected), "{message}");
}

#[test]
fn models_do_not_reach_beyond_their_tensors() {
    let cases = [
        (
            op("aten::relu_", "", vec![Input(0)]),
            "aten::relu_: argument self is written to",
        ),
        (
            op("aten::add", "out", vec![Input(0), Input(0)]),
            "aten::add.out: argument out is written to",
        ),
        (
            op("aten::from_file", "", vec![Text("/etc/passwd".into())]),
            "operator \"aten::from_file\" is not one that a model may use",
        ),
        (
            op("aten::new_empty", "", vec![Input(0), Ints(vec![9])]),
            "operator \"aten::new_empty\" is not one that a model may use",
        ),
        (
            op("aten::_sparse_coo_tensor_unsafe", "", vec![]),
            "operator \"aten::_sparse_coo_tensor_unsafe\" is not one that a model may use",
        ),
        (
            op("mkldnn::_linear_pointwise", "", vec![]),
            "operator \"mkldnn::_linear_pointwise\" is not supported, only those of \"aten\" are",
        ),
    ];
    for (op, expected) in cases {
        let message = refusal(&op);
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn more_outputs_than_the_operator_has_are_an_error() {
    let x = f32s(&[2], &[1.0, 2.0]);
    let relu = op("aten::relu", "", vec![Input(0)]);
    let two = [x.clone(), x.clone()];
    let message = run(&relu, &[x], &two).unwrap_err().to_string();
    assert!(
        message.ends_with("returns 1 values, the model reads 2"),
        "{message}"
    );
}

#[test]
fn a_call_leaves_its_inputs_as_they_were() {
    let mut builder = Builder::new();
    let x = builder.input();
    let one = builder.constant(f32s(&[2], &[1.0, 1.0]));
    let sum = builder.node(
        op("aten::add", "Tensor", vec![Input(0), Input(1)]),
        &[x, one],
    );
    let twice = builder.node(
        op("aten::add", "Tensor", vec![Input(0), Input(1)]),
        &[sum, one],
    );
    let graph = builder.finish(&[twice]);
    let dims = fixed(&[2]);
    let spec = [(DType::F32, dims.as_slice())];
    let prepared = prepare_graph(&graph, signature(&spec, &spec)).unwrap();
    let input = f32s(&[2], &[1.0, 2.0]);
    for _ in 0..2 {
        let mut session = prepared.session().unwrap();
        let outputs = session.run(std::slice::from_ref(&input)).unwrap();
        assert_eq!(values_f32(&outputs[0]), [3.0, 4.0]);
    }
    assert_eq!(values_f32(&input), [1.0, 2.0]);
}
