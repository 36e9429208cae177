//! Numbers of types that libtorch lacks or traps on: overflow, order, division, conversion, quantisation, chance.

use blockflow::types::{DType, GraphEngine, Passes, Tensor};

use crate::engine_support::{bools, f32s, i32s, i64s, run_graph, u8s, values_f32};
use crate::graph_file::{Model, NodePart, floats, info, integers, model, node, scalar, y_of};

const UINT8: i32 = 2;
const UINT16: i32 = 4;
const INT32: i32 = 6;
const INT64: i32 = 7;
const STRING: i32 = 8;
const FLOAT16: i32 = 10;
const UINT32: i32 = 12;
const UINT64: i32 = 13;
const BFLOAT16: i32 = 16;

fn u16s(values: &[u16]) -> Tensor {
    Tensor::copy_of(DType::U16, vec![values.len()], bytemuck::cast_slice(values)).unwrap()
}

fn u32s(values: &[u32]) -> Tensor {
    Tensor::copy_of(DType::U32, vec![values.len()], bytemuck::cast_slice(values)).unwrap()
}

fn u64s(values: &[u64]) -> Tensor {
    Tensor::copy_of(DType::U64, vec![values.len()], bytemuck::cast_slice(values)).unwrap()
}

fn strings(values: &[&str]) -> Tensor {
    Tensor::from_byte_strings(vec![values.len()], values).unwrap()
}

/// A model of one node with inputs `a`, `b`, … of the given element types and as many dimensions as the tensors.
fn one(opset: i64, node: NodePart, elements: &[i32], inputs: &[Tensor]) -> Model {
    let mut model = model(opset, "1", vec![node], Vec::new());
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    model.graph_mut().inputs = names
        .iter()
        .zip(elements.iter().zip(inputs))
        .map(|(name, (&element, tensor))| {
            let dims: Vec<_> = tensor.shape().iter().map(ToString::to_string).collect();
            info(name, element, &dims.join(","))
        })
        .collect();
    model
}

fn run(model: &Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let graph = model.read().unwrap_or_else(|error| panic!("{error}"));
    run_graph(&graph, GraphEngine::Aten, Passes::default(), inputs)
}

fn y(node: NodePart, elements: &[i32], inputs: &[Tensor]) -> Tensor {
    let model = one(25, node, elements, inputs);
    run(&model, inputs).unwrap().remove(0)
}

fn error(node: NodePart, elements: &[i32], inputs: &[Tensor]) -> String {
    let model = one(25, node, elements, inputs);
    let error = run(&model, inputs).unwrap_err();
    error
        .rsplit_once(": ")
        .map_or(error.clone(), |(_, cause)| cause.to_owned())
}

fn of_two(operator: &str) -> NodePart {
    node(operator, &["a", "b"], &["y"])
}

#[track_caller]
fn assert_bytes(seen: &Tensor, expected: &Tensor) {
    assert_eq!(seen.dtype(), expected.dtype());
    assert_eq!(seen.bytes(), expected.bytes());
}

const BIG: u64 = 1 << 63;

#[test]
fn numbers_beyond_the_signed_ones_keep_their_order() {
    let both = |operator: &str, a: &[u64], b: &[u64]| {
        y(of_two(operator), &[UINT64; 2], &[u64s(a), u64s(b)])
    };
    for (operator, expected) in [
        ("Less", [1, 0, 0]),
        ("LessOrEqual", [1, 0, 1]),
        ("Greater", [0, 1, 0]),
        ("GreaterOrEqual", [0, 1, 1]),
    ] {
        let seen = both(operator, &[1, BIG + 5, BIG], &[BIG, 7, BIG]);
        assert_bytes(&seen, &bools(&[3], &expected));
    }
    for (operator, expected) in [
        ("Max", [BIG, 9]),
        ("Min", [2, 3]),
        ("Div", [(BIG) / 2, 3]),
        ("Mod", [0, 0]),
    ] {
        assert_bytes(&both(operator, &[BIG, 9], &[2, 3]), &u64s(&expected));
    }
    let clip = node("Clip", &["a", "b", "c"], &["y"]);
    let bound = |value: u64| Tensor::copy_of(DType::U64, vec![], &value.to_le_bytes()).unwrap();
    let inputs = [u64s(&[1, BIG, u64::MAX]), bound(2), bound(BIG + 1)];
    assert_bytes(&y(clip, &[UINT64; 3], &inputs), &u64s(&[2, BIG, BIG + 1]));
}

#[test]
fn results_out_of_range_wrap_around() {
    let sum = y(
        of_two("Add"),
        &[UINT16; 2],
        &[u16s(&[65535, 1]), u16s(&[2, 3])],
    );
    assert_bytes(&sum, &u16s(&[1, 4]));
    // The wrapped number counts in what follows, not only at the end.
    let mut twice = one(25, of_two("Sub"), &[UINT32; 2], &[u32s(&[1]), u32s(&[2])]);
    twice.graph_mut().nodes[0].outputs = vec!["s".into()];
    twice
        .graph_mut()
        .nodes
        .push(node("Greater", &["s", "b"], &["y"]));
    let seen = run(&twice, &[u32s(&[1]), u32s(&[2])]).unwrap().remove(0);
    assert_bytes(&seen, &bools(&[1], &[1]));
    let not = node("BitwiseNot", &["a"], &["y"]);
    assert_bytes(&y(not, &[UINT16], &[u16s(&[1])]), &u16s(&[65534]));
    let left = of_two("BitShift").text("direction", "LEFT");
    let shifted = y(left, &[UINT32; 2], &[u32s(&[0x8000_0001]), u32s(&[1])]);
    assert_bytes(&shifted, &u32s(&[2]));
}

#[test]
fn the_least_integer_divided_by_minus_one_traps_nothing() {
    let (a, b) = (i32s(&[3], &[i32::MIN, 7, -7]), i32s(&[3], &[-1, -2, -1]));
    let elements = [INT32; 2];
    let inputs = [a, b];
    let seen = y(of_two("Div"), &elements, &inputs);
    assert_bytes(&seen, &i32s(&[3], &[i32::MIN, -3, 7]));
    let seen = y(of_two("Mod"), &elements, &inputs);
    assert_bytes(&seen, &i32s(&[3], &[0, -1, 0]));
    let seen = y(of_two("Mod").int("fmod", 1), &elements, &inputs);
    assert_bytes(&seen, &i32s(&[3], &[0, 1, 0]));
}

#[test]
fn an_integer_divided_by_zero_is_an_error() {
    for operator in ["Div", "Mod"] {
        let inputs = [i64s(&[1], &[1]), i64s(&[1], &[0])];
        let seen = error(of_two(operator), &[INT64; 2], &inputs);
        assert!(seen.contains("ZeroDivisionError"), "{seen}");
        let seen = error(of_two(operator), &[UINT64; 2], &[u64s(&[1]), u64s(&[0])]);
        assert_eq!(seen, "division by zero");
    }
}

#[test]
fn modulo_of_real_numbers_needs_fmod() {
    assert_eq!(
        y_of(13, "2", vec![node("Mod", &["x", "x"], &["y"])], vec![]),
        "node \"y_node\" (Mod): input 0 is FP32, expected an integer datatype"
    );
}

#[test]
fn large_unsigned_numbers_are_converted_exactly() {
    let to = |number: i64| node("Cast", &["a"], &["y"]).int("to", number);
    let seen = y(to(1), &[UINT64], &[u64s(&[BIG, u64::MAX, 3])]);
    assert_eq!(values_f32(&seen), [BIG as f32, u64::MAX as f32, 3.0]);
    let back = y(to(13), &[1], &[f32s(&[3], &[9.223_372e18, 3.9, 1.8e19])]);
    let expected = [9.223_372e18_f32 as u64, 3, 1.8e19_f32 as u64];
    assert_bytes(&back, &u64s(&expected));
    let narrow = y(to(4), &[INT64], &[i64s(&[2], &[65_537, -1])]);
    assert_bytes(&narrow, &u16s(&[1, 65535]));
}

#[test]
fn strings_are_read_and_written_as_numbers() {
    let to = |number: i64| node("Cast", &["a"], &["y"]).int("to", number);
    let texts = strings(&["3.25", " -1e-2", "+INF", "nan", "1E8"]);
    let seen = values_f32(&y(to(1), &[STRING], &[texts]));
    assert_eq!(seen[..3], [3.25, -0.01, f32::INFINITY]);
    assert!(seen[3].is_nan() && seen[4] == 1e8);
    let texts = strings(&["18446744073709551615", "100.5"]);
    assert_bytes(&y(to(13), &[STRING], &[texts]), &u64s(&[u64::MAX, 100]));
    let numbers = f32s(&[5], &[0.1, 1e-5, 1e16, 123.0, -0.001]);
    let seen = y(to(8), &[1], &[numbers]);
    assert_bytes(
        &seen,
        &strings(&["0.1", "1e-05", "1e+16", "123.0", "-0.001"]),
    );
    let seen = error(to(7), &[STRING], &[strings(&["Hello"])]);
    assert_eq!(seen, "\"Hello\" is no number");
}

#[test]
fn strings_move_as_numbers_do() {
    let words = strings(&["b", "a", "b"]);
    let gather = node("Gather", &["a", "b"], &["y"]);
    let seen = y(
        gather,
        &[STRING, INT64],
        &[words.clone(), i64s(&[2], &[-1, 1])],
    );
    assert_bytes(&seen, &strings(&["b", "a"]));
    let choose = node("Where", &["a", "b", "c"], &["y"]);
    let inputs = [bools(&[3], &[1, 0, 1]), words, strings(&["x", "y", "z"])];
    let seen = y(choose, &[9, STRING, STRING], &inputs);
    assert_bytes(&seen, &strings(&["b", "y", "b"]));
}

#[test]
fn half_precision_goes_through_every_function_of_single_elements() {
    let functions = [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Celu",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Identity",
    ];
    let values = [0.25, 0.5, 0.75, 0.875];
    for function in functions {
        let exact = values_f32(&y(
            node(function, &["a"], &["y"]),
            &[1],
            &[f32s(&[4], &values)],
        ));
        for half in [FLOAT16, BFLOAT16] {
            let mut model = one(
                25,
                node(function, &["h"], &["k"]),
                &[1],
                &[f32s(&[4], &values)],
            );
            let nodes = &mut model.graph_mut().nodes;
            nodes.insert(0, node("Cast", &["a"], &["h"]).int("to", half.into()));
            nodes.push(node("Cast", &["k"], &["y"]).int("to", 1));
            let seen = values_f32(&run(&model, &[f32s(&[4], &values)]).unwrap()[0]);
            for (seen, exact) in seen.iter().zip(&exact) {
                let close = (seen - exact).abs() <= 0.02 * exact.abs().max(0.5);
                assert!(
                    close || seen.is_nan() && exact.is_nan(),
                    "{function} {half}: {seen}, not {exact}"
                );
            }
        }
    }
}

#[test]
fn the_oldest_models_are_read() {
    let cast = node("Cast", &["x"], &["y"]).text("to", "INT64");
    assert_eq!(y_of(1, "2", vec![cast], vec![]), "y: INT64[2]");
    let cast = node("Cast", &["x"], &["y"]).text("to", "INT65");
    assert_eq!(
        y_of(1, "2", vec![cast], vec![]),
        "node \"y_node\" (Cast): attribute to is INT65, expected a supported element type"
    );
    let relu = || node("Relu", &["x"], &["y"]).ints("consumed_inputs", &[0]);
    assert_eq!(y_of(1, "2", vec![relu()], vec![]), "y: FP32[2]");
    assert_eq!(
        y_of(6, "2", vec![relu()], vec![]),
        "node \"y_node\" (Relu): attribute consumed_inputs is not supported, it is [0]"
    );
}

#[test]
fn a_range_is_as_long_as_its_numbers_say() {
    let range = || node("Range", &["s", "l", "d"], &["y"]);
    let weights = |s, l, d| vec![scalar("s", s), scalar("l", l), scalar("d", d)];
    for (start, limit, delta, length) in
        [(0, 10, 3, 4), (10, 0, -5, 2), (3, 3, 1, 0), (0, -4, 1, 0)]
    {
        assert_eq!(
            y_of(17, "2", vec![range()], weights(start, limit, delta)),
            format!("y: INT64[{length}]")
        );
    }
    assert_eq!(
        y_of(17, "2", vec![range()], weights(0, 1, 0)),
        "node \"y_node\" (Range): delta is 0, expected a number other than 0"
    );
    // As exporters count positions, of at most as many as there are and at least none.
    let nodes = vec![
        node("Size", &["x"], &["n"]),
        node("Max", &["n", "s"], &["l"]),
        node("Range", &["s", "l", "d"], &["y"]),
    ];
    let weights = vec![scalar("s", 0), scalar("d", 1)];
    assert_eq!(y_of(17, "n", nodes, weights), "y: INT64[n]");
}

#[test]
fn a_range_without_end_is_an_error() {
    let range = node("Range", &["a", "b", "c"], &["y"]);
    let number = |value: f32| f32s(&[], &[value]);
    for (limit, delta) in [(1.0, 0.0), (f32::INFINITY, 1.0), (f32::NAN, 1.0)] {
        let inputs = [number(0.0), number(limit), number(delta)];
        let seen = error(range.clone(), &[1; 3], &inputs);
        assert!(seen.ends_with("has no end"), "{seen}");
    }
}

fn drawn(node: NodePart) -> Vec<f32> {
    let model = model(22, "1", vec![node], vec![]);
    values_f32(&run(&model, &[f32s(&[1], &[0.0])]).unwrap()[0])
}

#[test]
fn only_a_seed_makes_chance_repeat_itself() {
    let uniform = || node("RandomUniform", &[], &["y"]).ints("shape", &[4000]);
    let seeded = || uniform().float("seed", 7.0).float("low", -1.0);
    assert_eq!(drawn(seeded()), drawn(seeded()));
    assert_ne!(drawn(uniform()), drawn(uniform()));
    assert_ne!(
        drawn(seeded()),
        drawn(uniform().float("seed", 8.0).float("low", -1.0))
    );
    let numbers = drawn(seeded());
    assert!(numbers.iter().all(|number| (-1.0..1.0).contains(number)));
    let normal = node("RandomNormal", &[], &["y"]).ints("shape", &[4000]);
    let numbers = drawn(
        normal
            .float("mean", 5.0)
            .float("scale", 2.0)
            .float("seed", 1.0),
    );
    let mean = numbers.iter().sum::<f32>() / 4000.0;
    let variance = numbers
        .iter()
        .map(|number| (number - mean).powi(2))
        .sum::<f32>()
        / 4000.0;
    assert!(
        (mean - 5.0).abs() < 0.2 && (variance - 4.0).abs() < 0.5,
        "{mean} {variance}"
    );
}

#[test]
fn classes_are_drawn_as_often_as_their_probability_says() {
    let draw = node("Multinomial", &["a"], &["y"])
        .int("sample_size", 4000)
        .float("seed", 3.0);
    let logarithms = f32s(&[2, 3], &[0.0, 0.0, -100.0, -100.0, -100.0, 0.0]);
    let seen = y(draw, &[1], &[logarithms]);
    let classes: &[i32] = bytemuck::cast_slice(seen.bytes());
    let zeros = classes[..4000].iter().filter(|&&class| class == 0).count();
    assert!((1800..2200).contains(&zeros), "{zeros}");
    assert!(classes[..4000].iter().all(|&class| class < 2));
    assert!(classes[4000..].iter().all(|&class| class == 2));
}

#[test]
fn sums_of_products_of_integers_are_exact() {
    // Each sum is odd and needs more than the 24 bits of FP32.
    let (rows, odd) = (vec![255_u8; 1001], vec![253_u8; 1001]);
    let inputs = [u8s(&[1, 1001], &rows), u8s(&[1001, 1], &odd)];
    let seen = y(of_two("MatMulInteger"), &[UINT8; 2], &inputs);
    assert_bytes(&seen, &i32s(&[1, 1], &[255 * 253 * 1001]));
    let inputs = [u8s(&[1, 1001, 1], &rows), u8s(&[1, 1001, 1], &odd)];
    let seen = y(of_two("ConvInteger"), &[UINT8; 2], &inputs);
    assert_bytes(&seen, &i32s(&[1, 1, 1], &[255 * 253 * 1001]));
}

#[test]
fn numbers_are_quantised_per_axis_and_per_block() {
    let x = f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let quantise = |axis: i64, block: i64| {
        of_two("QuantizeLinear")
            .int("axis", axis)
            .int("block_size", block)
    };
    let seen = y(
        quantise(0, 0),
        &[1; 2],
        &[x.clone(), f32s(&[2], &[1.0, 2.0])],
    );
    assert_bytes(&seen, &u8s(&[2, 3], &[1, 2, 3, 2, 2, 3]));
    let blocks = f32s(&[2, 2], &[1.0, 3.0, 2.0, 6.0]);
    let seen = y(quantise(1, 2), &[1; 2], &[x.clone(), blocks.clone()]);
    assert_bytes(&seen, &u8s(&[2, 3], &[1, 2, 1, 2, 2, 1]));
    let refused = one(25, quantise(1, 1), &[1; 2], &[x, blocks])
        .read()
        .unwrap_err();
    assert!(
        refused.to_string().contains("one size for each block"),
        "{refused}"
    );
}

#[test]
fn a_filling_of_any_type_is_possible() {
    let fill = |kind: i32, int64s: &[i64]| {
        let mut value = integers("v", int64s);
        value.kind = kind;
        model(
            25,
            "1",
            vec![node("ConstantOfShape", &["s"], &["y"]).tensor("value", value)],
            vec![integers("s", &[2])],
        )
    };
    let input = [f32s(&[1], &[0.0])];
    let large = (1 << 60) + 1;
    let seen = run(&fill(INT64, &[large]), &input).unwrap().remove(0);
    assert_bytes(&seen, &i64s(&[2], &[large, large]));
    let refused = fill(INT64, &[1, 2]).read().unwrap_err().to_string();
    assert!(
        refused.ends_with("attribute value is INT64[2], expected one element"),
        "{refused}"
    );
}

#[test]
fn shifts_and_bit_patterns_need_fitting_types() {
    let shift = node("BitShift", &["x", "x"], &["y"]).text("direction", "LEFT");
    assert_eq!(
        y_of(17, "2", vec![shift], vec![]),
        "node \"y_node\" (BitShift): input 0 is FP32, expected a datatype of unsigned integers"
    );
    let bits = node("BitCast", &["x"], &["y"]).int("to", INT64.into());
    assert_eq!(
        y_of(26, "2", vec![bits], vec![]),
        "node \"y_node\" (BitCast): input 0 is FP32, expected a datatype of 64 bits as INT64 has"
    );
    let quantise = node("QuantizeLinear", &["x", "w"], &["y"]).int("output_dtype", 1);
    assert_eq!(
        y_of(25, "2", vec![quantise], vec![floats("w", &[])]),
        "node \"y_node\" (QuantizeLinear): the datatype of the result is FP32, expected an integer of at most 16 bits or a narrow float"
    );
}
