//! Passes that round otherwise than the model: what they find, and what only looks like it.

use blockflow::types::{DType, Pass, Passes, Tensor};

use crate::engine_support::noise;
use crate::graph_file::*;
use crate::passes_support::*;

fn image() -> Tensor {
    input(&[2, 4, 6, 6])
}

/// `x` → Conv → `a`, then one node that makes `y`.
fn convolved(bias: bool, after: NodePart, mut more: Vec<TensorPart>) -> Model {
    let inputs: &[&str] = if bias { &["x", "w", "b"] } else { &["x", "w"] };
    let nodes = vec![node("Conv", inputs, &["a"]).int("group", 2), after];
    let mut weights = vec![noisy("w", &[6, 2, 3, 3], 1), noisy("b", &[6], 2)];
    weights.append(&mut more);
    model(17, "n,4,6,6", nodes, weights)
}

fn normalisation(x: &str) -> (NodePart, Vec<TensorPart>) {
    let mut variance = noisy("variance", &[6], 6);
    variance
        .floats
        .iter_mut()
        .for_each(|number| *number = number.abs() + 0.1);
    let inputs = [x, "scale", "shift", "mean", "variance"];
    let parameters = vec![
        noisy("scale", &[6], 3),
        noisy("shift", &[6], 4),
        noisy("mean", &[6], 5),
        variance,
    ];
    (node("BatchNormalization", &inputs, &["y"]), parameters)
}

#[test]
fn a_batch_normalisation_moves_into_the_convolution_before_it() {
    for bias in [false, true] {
        let (after, parameters) = normalisation("a");
        let graph = convolved(bias, after, parameters).read().unwrap();
        assert_eq!(left_by(Pass::FoldScales, &graph), ["Conv"]);
        gives_nearly_the_same(&graph, Passes::only(Pass::FoldScales), &[image()]);
    }
}

#[test]
fn a_batch_normalisation_moves_into_the_gemm_before_it() {
    let (after, parameters) = normalisation("a");
    let gemm = node("Gemm", &["x", "w", "c"], &["a"]);
    for (transposed, dims) in [(0, [4, 6]), (1, [6, 4])] {
        let nodes = vec![gemm.clone().int("transB", transposed), after.clone()];
        let mut weights = vec![noisy("w", &dims, 1), noisy("c", &[], 2)];
        weights.extend(parameters.clone());
        let graph = model(17, "n,4", nodes, weights).read().unwrap();
        assert_eq!(left_by(Pass::FoldScales, &graph), ["Gemm"]);
        gives_nearly_the_same(&graph, Passes::only(Pass::FoldScales), &[input(&[3, 4])]);
    }
}

#[test]
fn arithmetic_per_channel_moves_into_the_convolution_before_it() {
    let cases = [
        node("Mul", &["a", "c"], &["y"]),
        node("Mul", &["c", "a"], &["y"]),
        node("Add", &["a", "c"], &["y"]),
        node("Sub", &["a", "c"], &["y"]),
        node("Sub", &["c", "a"], &["y"]),
        node("Div", &["a", "c"], &["y"]),
    ];
    for after in cases {
        for dims in [&[6, 1, 1][..], &[1, 6, 1, 1], &[], &[1]] {
            let constant = noisy("c", dims, 9);
            let graph = convolved(true, after.clone(), vec![constant])
                .read()
                .unwrap();
            assert_eq!(
                left_by(Pass::FoldScales, &graph),
                ["Conv"],
                "{after:?} {dims:?}"
            );
            gives_nearly_the_same(&graph, Passes::only(Pass::FoldScales), &[image()]);
        }
    }
}

#[test]
fn arithmetic_that_is_not_per_channel_stays() {
    for (operator, dims) in [
        ("Mul", &[4, 4][..]),
        ("Add", &[4]),
        ("Mul", &[3, 1, 1, 1]),
        ("Add", &[1, 1, 6, 1, 1]),
    ] {
        let after = node(operator, &["a", "c"], &["y"]);
        let mut file = convolved(true, after, vec![noisy("c", dims, 9)]);
        if dims.first() == Some(&3) {
            file.graph_mut().inputs = vec![info("x", FLOAT, "3,4,6,6")];
        }
        if dims.len() == 5 {
            file.graph_mut().inputs = vec![info("x", FLOAT, "6,4,6,6")];
        }
        let graph = file.read().unwrap();
        assert_eq!(
            left_by(Pass::FoldScales, &graph),
            ["Conv", operator],
            "{dims:?}"
        );
    }
    let after = node("Div", &["c", "a"], &["y"]);
    let graph = convolved(true, after, vec![noisy("c", &[], 9)])
        .read()
        .unwrap();
    assert_eq!(left_by(Pass::FoldScales, &graph), ["Conv", "Div"]);
}

#[test]
fn a_scale_that_is_not_finite_stays() {
    let after = node("Div", &["a", "c"], &["y"]);
    let graph = convolved(true, after, vec![given("c", &[], &[0.0])])
        .read()
        .unwrap();
    assert_eq!(left_by(Pass::FoldScales, &graph), ["Conv", "Div"]);
}

#[test]
fn a_batch_normalisation_of_what_is_read_elsewhere_stays() {
    let (after, parameters) = normalisation("a");
    let mut file = convolved(true, after, parameters);
    file.graph_mut().nodes.push(node("Relu", &["a"], &["z"]));
    file.graph_mut().outputs.push(untyped("z"));
    let graph = file.read().unwrap();
    let left = left_by(Pass::FoldScales, &graph);
    assert_eq!(left, ["Conv", "BatchNormalization", "Relu"]);
}

#[test]
fn a_weight_that_two_convolutions_share_is_scaled_for_one_of_them() {
    let (after, parameters) = normalisation("a");
    let mut file = convolved(true, after, parameters);
    let other = node("Conv", &["x", "w", "b"], &["z"]).int("group", 2);
    file.graph_mut().nodes.push(other);
    file.graph_mut().outputs.push(untyped("z"));
    let graph = file.read().unwrap();
    gives_nearly_the_same(&graph, Passes::only(Pass::FoldScales), &[image()]);
}

#[test]
fn a_constant_row_after_a_product_becomes_its_bias() {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("Add", &["b", "a"], &["s"]),
        node("Relu", &["s"], &["y"]),
    ];
    let weights = vec![noisy("w", &[4, 5], 1), noisy("b", &[5], 2)];
    let graph = model(17, "n,3,4", nodes, weights).read().unwrap();
    let fast = optimised(&graph, FAST);
    assert_eq!(names(&fast), ["Linear"]);
    let exact = optimised(&graph, Passes::default());
    assert_eq!(names(&exact), ["Linear", "Add", "Relu"]);
    gives_nearly_the_same(&graph, FAST, &[input(&[2, 3, 4])]);
}

#[test]
fn a_constant_of_several_rows_is_no_bias() {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("Add", &["a", "b"], &["y"]),
    ];
    for dims in [&[3, 5][..], &[3, 1], &[1, 1, 1, 5]] {
        let weights = vec![noisy("w", &[4, 5], 1), noisy("b", dims, 2)];
        let graph = model(17, "n,3,4", nodes.clone(), weights).read().unwrap();
        assert_eq!(
            names(&optimised(&graph, FAST)),
            ["Linear", "Add"],
            "{dims:?}"
        );
    }
}

/// A normalisation over the last dimension as exporters spell it out before opset 17.
fn spelled_out_normalisation(axes: &[i64], quotient: &[NodePart]) -> Model {
    let mut nodes = vec![
        node("ReduceMean", &["x"], &["mean"]).ints("axes", axes),
        node("Sub", &["x", "mean"], &["d"]),
        node("Pow", &["d", "two"], &["square"]),
        node("ReduceMean", &["square"], &["variance"]).ints("axes", axes),
        node("Add", &["variance", "epsilon"], &["sum"]),
        node("Sqrt", &["sum"], &["root"]),
    ];
    nodes.extend_from_slice(quotient);
    nodes.push(node("Mul", &["q", "gamma"], &["scaled"]));
    nodes.push(node("Add", &["scaled", "beta"], &["y"]));
    let weights = vec![
        given("two", &[], &[2.0]),
        given("epsilon", &[], &[1e-5]),
        noisy("gamma", &[4], 1),
        noisy("beta", &[4], 2),
    ];
    model(13, "n,3,4", nodes, weights)
}

#[test]
fn a_layer_normalisation_is_found_where_it_is_spelled_out() {
    let quotient = [node("Div", &["d", "root"], &["q"])];
    let reciprocal = [
        node("Reciprocal", &["root"], &["r"]),
        node("Mul", &["d", "r"], &["q"]),
    ];
    for last in [&quotient[..], &reciprocal] {
        let graph = spelled_out_normalisation(&[-1], last).read().unwrap();
        assert_eq!(left_by(Pass::FuseFormulas, &graph), ["LayerNormalization"]);
        gives_nearly_the_same(
            &graph,
            Passes::only(Pass::FuseFormulas),
            &[input(&[2, 3, 4])],
        );
    }
}

#[test]
fn a_normalisation_over_other_dimensions_stays() {
    let quotient = [node("Div", &["d", "root"], &["q"])];
    let graph = spelled_out_normalisation(&[1], &quotient).read().unwrap();
    assert_eq!(left_by(Pass::FuseFormulas, &graph).len(), 9);
}

#[test]
fn a_normalisation_whose_parts_are_outputs_stays() {
    let quotient = [node("Div", &["d", "root"], &["q"])];
    let mut file = spelled_out_normalisation(&[-1], &quotient);
    file.graph_mut().outputs.push(untyped("variance"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseFormulas, &graph).len(), 9);
}

/// Numbers that formulas use.
fn numbers() -> Vec<TensorPart> {
    let number = |name: &str, number: f32| given(name, &[], &[number]);
    vec![
        number("half", 0.5),
        number("one", 1.0),
        number("root2", std::f32::consts::SQRT_2),
        number("root2pi", 0.797_884_6),
        number("cube", 0.044_715),
        number("third", 3.0),
        number("zero", 0.0),
        number("six", 6.0),
        number("odd", 0.7),
    ]
}

#[test]
fn gates_are_found_where_they_are_spelled_out() {
    let bell = [
        node("Div", &["x", "root2"], &["a"]),
        node("Erf", &["a"], &["b"]),
        node("Add", &["b", "one"], &["c"]),
    ];
    let tanh = [
        node("Pow", &["x", "third"], &["p"]),
        node("Mul", &["p", "cube"], &["q"]),
        node("Add", &["x", "q"], &["r"]),
        node("Mul", &["r", "root2pi"], &["s"]),
        node("Tanh", &["s"], &["t"]),
        node("Add", &["t", "one"], &["c"]),
    ];
    let product = [
        node("Mul", &["x", "c"], &["d"]),
        node("Mul", &["d", "half"], &["y"]),
    ];
    let halved_first = [
        node("Mul", &["x", "half"], &["d"]),
        node("Mul", &["d", "c"], &["y"]),
    ];
    let clipped = [
        node("Add", &["x", "third"], &["a"]),
        node("Clip", &["a", "zero", "six"], &["b"]),
        node("Mul", &["x", "b"], &["c"]),
        node("Div", &["c", "six"], &["y"]),
    ];
    let silu = [
        node("Sigmoid", &["x"], &["a"]),
        node("Mul", &["a", "x"], &["y"]),
    ];
    let hard = [
        node("HardSigmoid", &["x"], &["a"]).float("alpha", 1.0 / 6.0),
        node("Mul", &["x", "a"], &["y"]),
    ];
    for (nodes, expected) in [
        ([&bell[..], &product].concat(), "Gelu"),
        ([&bell[..], &halved_first].concat(), "Gelu"),
        ([&tanh[..], &product].concat(), "Gelu"),
        (clipped.to_vec(), "HardSwish"),
        (silu.to_vec(), "Swish"),
        (hard.to_vec(), "HardSwish"),
    ] {
        let graph = model(17, "n,40", nodes, numbers()).read().unwrap();
        assert_eq!(left_by(Pass::FuseFormulas, &graph), [expected]);
        gives_nearly_the_same(&graph, Passes::only(Pass::FuseFormulas), &[input(&[3, 40])]);
    }
}

#[test]
fn what_only_looks_like_a_gate_stays() {
    let odd = [
        node("Div", &["x", "odd"], &["a"]),
        node("Erf", &["a"], &["b"]),
        node("Add", &["b", "one"], &["c"]),
        node("Mul", &["x", "c"], &["d"]),
        node("Mul", &["d", "half"], &["y"]),
    ];
    let of_another = [
        node("Relu", &["x"], &["z"]),
        node("Sigmoid", &["z"], &["a"]),
        node("Mul", &["a", "x"], &["y"]),
    ];
    let read_twice = [
        node("Sigmoid", &["x"], &["a"]),
        node("Mul", &["a", "x"], &["b"]),
        node("Add", &["a", "b"], &["y"]),
    ];
    for nodes in [&odd[..], &of_another, &read_twice] {
        let graph = model(17, "n,40", nodes.to_vec(), numbers()).read().unwrap();
        assert_eq!(left_by(Pass::FuseFormulas, &graph).len(), nodes.len());
    }
}

/// Heads of queries, keys and values, with what is between them.
fn attention(nodes: Vec<NodePart>, weights: Vec<TensorPart>) -> Model {
    let mut file = model(17, "n,2,5,8", nodes, weights);
    let more = ["k", "v"].map(|name| info(name, FLOAT, "n,2,7,8"));
    file.graph_mut().inputs.extend(more);
    file
}

fn heads() -> Vec<Tensor> {
    [[2, 2, 5, 8], [2, 2, 7, 8], [2, 2, 7, 8]]
        .iter()
        .zip(1..)
        .map(|(shape, seed)| {
            let numbers = noise(shape.iter().product(), seed);
            let bytes: Vec<u8> = numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect();
            Tensor::copy_of(DType::F32, shape.to_vec(), &bytes).unwrap()
        })
        .collect()
}

fn turned() -> NodePart {
    node("Transpose", &["k"], &["t"]).ints("perm", &[0, 1, 3, 2])
}

#[test]
fn attention_is_found_as_exporters_of_torchscript_write_it() {
    let nodes = vec![
        turned(),
        node("MatMul", &["x", "t"], &["s"]),
        node("Div", &["s", "eight"], &["scaled"]),
        node("Add", &["scaled", "mask"], &["masked"]),
        node("Softmax", &["masked"], &["p"]).int("axis", -1),
        node("MatMul", &["p", "v"], &["y"]),
    ];
    let mut mask = floats("mask", &[2, 1, 1, 7]);
    mask.floats = (0..14)
        .map(|place| if place % 3 == 0 { f32::MIN } else { 0.0 })
        .collect();
    let graph = attention(nodes, vec![given("eight", &[], &[8.0_f32.sqrt()]), mask]);
    let graph = graph.read().unwrap();
    assert_eq!(left_by(Pass::FuseAttention, &graph), ["ScaledDotProduct"]);
    gives_nearly_the_same(&graph, Passes::only(Pass::FuseAttention), &heads());
}

#[test]
fn attention_is_found_where_queries_and_keys_are_scaled_and_heads_flattened() {
    let nodes = vec![
        node("Reshape", &["k", "flat"], &["a"]),
        node("Transpose", &["a"], &["b"]).ints("perm", &[0, 2, 1]),
        node("Reshape", &["b", "apart"], &["t"]),
        node("Mul", &["x", "root"], &["q"]),
        node("Mul", &["t", "root"], &["ks"]),
        node("MatMul", &["q", "ks"], &["s"]),
        node("Softmax", &["s"], &["p"]).int("axis", -1),
        node("MatMul", &["p", "v"], &["y"]),
    ];
    let weights = vec![
        given("root", &[], &[0.6]),
        integers("flat", &[-1, 7, 8]),
        integers("apart", &[2, 2, 8, 7]),
    ];
    let mut file = attention(nodes, weights);
    file.graph_mut().inputs = ["x:2,2,5,8", "k:2,2,7,8", "v:2,2,7,8"]
        .iter()
        .map(|text| {
            let (name, shape) = text.split_once(':').unwrap();
            info(name, FLOAT, shape)
        })
        .collect();
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseAttention, &graph), ["ScaledDotProduct"]);
    gives_nearly_the_same(&graph, Passes::only(Pass::FuseAttention), &heads());
}

#[test]
fn attention_is_found_where_keys_are_never_laid_out_as_rows() {
    // [n, keys, heads, width] → [n, heads, width, keys] in one transpose, as exporters join the two.
    let nodes = vec![
        node("Transpose", &["k"], &["t"]).ints("perm", &[0, 2, 3, 1]),
        node("MatMul", &["x", "t"], &["s"]),
        node("Softmax", &["s"], &["p"]).int("axis", 3),
        node("MatMul", &["p", "v"], &["y"]),
    ];
    let mut file = attention(nodes, vec![]);
    file.graph_mut().inputs[1] = info("k", FLOAT, "n,7,2,8");
    let graph = file.read().unwrap();
    let left = left_by(Pass::FuseAttention, &graph);
    assert_eq!(left, ["Transpose", "ScaledDotProduct"]);
    let mut inputs = heads();
    inputs[1] = input(&[2, 7, 2, 8]);
    gives_nearly_the_same(&graph, Passes::only(Pass::FuseAttention), &inputs);
}

#[test]
fn a_boolean_mask_shows_or_hides() {
    for hides in [false, true] {
        let masked = if hides {
            node("Where", &["mask", "never", "s"], &["masked"])
        } else {
            node("Where", &["mask", "s", "never"], &["masked"])
        };
        let nodes = vec![
            turned(),
            node("MatMul", &["x", "t"], &["s"]),
            masked,
            node("Softmax", &["masked"], &["p"]).int("axis", -1),
            node("MatMul", &["p", "v"], &["y"]),
        ];
        let never = given("never", &[], &[f32::NEG_INFINITY]);
        let mask = TensorPart {
            name: "mask".to_owned(),
            dims: vec![5, 7],
            kind: 9,
            int32s: (0..35).map(|place| i32::from(place % 3 == 0)).collect(),
            ..TensorPart::default()
        };
        let graph = attention(nodes, vec![never, mask]).read().unwrap();
        let expected: &[&str] = if hides {
            &["Not", "ScaledDotProduct"]
        } else {
            &["ScaledDotProduct"]
        };
        assert_eq!(left_by(Pass::FuseAttention, &graph), expected);
        gives_nearly_the_same(&graph, Passes::only(Pass::FuseAttention), &heads());
    }
}

#[test]
fn heads_that_broadcast_are_attended_to_as_the_products_do() {
    let nodes = vec![
        turned(),
        node("MatMul", &["x", "t"], &["s"]),
        node("Softmax", &["s"], &["p"]).int("axis", -1),
        node("MatMul", &["p", "v"], &["y"]),
    ];
    let mut file = attention(nodes, vec![]);
    for (place, name) in ["k", "v"].into_iter().enumerate() {
        file.graph_mut().inputs[place + 1] = info(name, FLOAT, "m,1,7,8");
    }
    let graph = file.read().unwrap();
    let mut inputs = heads();
    inputs[1] = input(&[1, 1, 7, 8]);
    inputs[2] = input(&[1, 1, 7, 8]);
    gives_nearly_the_same(&graph, Passes::only(Pass::FuseAttention), &inputs);
}

#[test]
fn what_only_looks_like_attention_stays() {
    let score = || vec![turned(), node("MatMul", &["x", "t"], &["s"])];
    let last = || node("MatMul", &["p", "v"], &["y"]);
    // Over the queries, not the keys.
    let axis = vec![node("Softmax", &["s"], &["p"]).int("axis", 2), last()];
    // A finite number leaves something of what is hidden where all is hidden.
    let finite = vec![
        node("Where", &["mask", "s", "low"], &["masked"]),
        node("Softmax", &["masked"], &["p"]).int("axis", -1),
        last(),
    ];
    // The mask is multiplied, not added.
    let product = vec![
        node("Mul", &["s", "weights"], &["masked"]),
        node("Softmax", &["masked"], &["p"]).int("axis", -1),
        last(),
    ];
    for rest in [axis, finite, product] {
        let nodes = [score(), rest].concat();
        let count = nodes.len();
        let weights = vec![given("low", &[], &[-1e4]), noisy("weights", &[5, 7], 3)];
        let mut file = attention(nodes, weights);
        file.graph_mut().inputs.push(info("mask", 9, "5,7"));
        let graph = file.read().unwrap();
        assert_eq!(left_by(Pass::FuseAttention, &graph).len(), count);
    }
}

#[test]
fn attention_whose_probabilities_are_an_output_stays() {
    let nodes = vec![
        turned(),
        node("MatMul", &["x", "t"], &["s"]),
        node("Softmax", &["s"], &["p"]).int("axis", -1),
        node("MatMul", &["p", "v"], &["y"]),
    ];
    let mut file = attention(nodes, vec![]);
    file.graph_mut().outputs.push(untyped("p"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseAttention, &graph).len(), 4);
}
