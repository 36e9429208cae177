//! Passes that keep every bit: what they do, and what they leave alone.

use blockflow::graph::ValueOrigin;
use blockflow::types::{Pass, Passes};

use crate::graph_file::*;
use crate::passes_support::*;

#[test]
fn what_depends_on_weights_alone_is_computed_once() {
    let nodes = vec![
        node("Add", &["w", "v"], &["s"]),
        node("Sigmoid", &["s"], &["t"]),
        node("Mul", &["x", "t"], &["y"]),
    ];
    let weights = vec![noisy("w", &[4], 1), noisy("v", &[4], 2)];
    let graph = model(17, "2,4", nodes, weights).read().unwrap();
    assert_eq!(left_by(Pass::FoldConstants, &graph), ["Mul"]);
    gives_the_same(&graph, Passes::only(Pass::FoldConstants), &[input(&[2, 4])]);
}

#[test]
fn a_weight_that_would_be_too_large_is_not_computed() {
    let nodes = vec![
        node("ConstantOfShape", &["sizes"], &["w"]),
        node("ReduceSum", &["w", "axes"], &["s"]).int("keepdims", 0),
        node("Mul", &["x", "s"], &["y"]),
    ];
    let weights = vec![
        integers("sizes", &[1 << 20, 1 << 20]),
        integers("axes", &[0, 1]),
    ];
    let graph = model(17, "2", nodes, weights).read().unwrap();
    let left = left_by(Pass::FoldConstants, &graph);
    assert_eq!(left, ["ConstantOfShape", "ReduceSum", "Mul"]);
}

#[test]
fn an_output_that_is_computed_of_weights_keeps_its_name() {
    let nodes = vec![node("Relu", &["w"], &["y"])];
    let graph = model(17, "2", nodes, vec![noisy("w", &[4], 1)])
        .read()
        .unwrap();
    let folded = optimised(&graph, Passes::only(Pass::FoldConstants));
    assert!(folded.nodes.is_empty());
    gives_the_same(&graph, Passes::only(Pass::FoldConstants), &[input(&[2])]);
}

#[test]
fn transposes_that_undo_each_other_are_left_out() {
    let nodes = vec![
        node("Transpose", &["x"], &["a"]).ints("perm", &[0, 2, 1]),
        node("Transpose", &["a"], &["b"]).ints("perm", &[0, 2, 1]),
        node("Relu", &["b"], &["y"]),
    ];
    let graph = model(17, "n,3,4", nodes, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Relu"]);
    gives_the_same(&graph, Passes::only(Pass::TidyLayout), &[input(&[2, 3, 4])]);
}

#[test]
fn transposes_that_follow_one_another_become_one() {
    let nodes = vec![
        node("Transpose", &["x"], &["a"]).ints("perm", &[2, 0, 1]),
        node("Transpose", &["a"], &["b"]),
        node("Relu", &["b"], &["y"]),
    ];
    let graph = model(17, "2,3,4", nodes, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Transpose", "Relu"]);
    gives_the_same(&graph, Passes::only(Pass::TidyLayout), &[input(&[2, 3, 4])]);
}

#[test]
fn the_last_of_several_reshapes_does_the_work_of_all() {
    let nodes = vec![
        node("Flatten", &["x"], &["a"]),
        node("Reshape", &["a", "s"], &["b"]),
        node("Relu", &["b"], &["y"]),
    ];
    let graph = model(17, "n,3,4", nodes, vec![integers("s", &[-1, 2, 6])]);
    let graph = graph.read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Reshape", "Relu"]);
    gives_the_same(&graph, Passes::only(Pass::TidyLayout), &[input(&[2, 3, 4])]);
}

#[test]
fn a_reshape_that_copies_a_size_reads_what_it_read() {
    let nodes = vec![
        node("Transpose", &["x"], &["t"]).ints("perm", &[1, 0, 2]),
        node("Flatten", &["t"], &["a"]),
        node("Reshape", &["a", "s"], &["b"]),
        node("Relu", &["b"], &["y"]),
    ];
    let graph = model(17, "n,3,4", nodes, vec![integers("s", &[0, 2, -1])]);
    let graph = graph.read().unwrap();
    let left = left_by(Pass::TidyLayout, &graph);
    assert_eq!(left, ["Transpose", "Flatten", "Reshape", "Relu"]);
    gives_the_same(&graph, Passes::only(Pass::TidyLayout), &[input(&[2, 3, 4])]);
}

#[test]
fn a_reshape_to_unknown_sizes_stays() {
    let nodes = vec![
        node("Reshape", &["x", "s"], &["a"]),
        node("Relu", &["a"], &["y"]),
    ];
    let mut file = model(17, "?,?", nodes, vec![]);
    file.graph_mut().inputs.push(info("s", INT64, "2"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Reshape", "Relu"]);
}

#[test]
fn an_output_that_is_an_input_keeps_its_name() {
    let nodes = vec![node("Identity", &["x"], &["y"])];
    let graph = model(17, "2,3", nodes, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Identity"]);
}

#[test]
fn an_output_takes_the_place_of_what_it_is_equal_to() {
    let nodes = vec![
        node("Relu", &["x"], &["a"]),
        node("Identity", &["a"], &["y"]),
        node("Neg", &["a"], &["z"]),
    ];
    let mut file = model(17, "2,3", nodes, vec![]);
    file.graph_mut().outputs.push(untyped("z"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::TidyLayout, &graph), ["Relu", "Neg"]);
    gives_the_same(&graph, Passes::only(Pass::TidyLayout), &[input(&[2, 3])]);
}

#[test]
fn two_outputs_of_one_tensor_both_stay() {
    let nodes = vec![
        node("Relu", &["x"], &["y"]),
        node("Identity", &["y"], &["z"]),
        node("Relu", &["x"], &["a"]),
    ];
    let mut file = model(17, "2,3", nodes, vec![]);
    file.graph_mut()
        .outputs
        .extend([untyped("z"), untyped("a")]);
    let graph = file.read().unwrap();
    let passes = Passes::default();
    let left = optimised(&graph, passes);
    assert_eq!(left.outputs.len(), 3);
    gives_the_same(&graph, passes, &[input(&[2, 3])]);
}

#[test]
fn what_is_computed_alike_is_computed_once() {
    let nodes = vec![
        node("Mul", &["x", "v"], &["a"]),
        node("Mul", &["x", "w"], &["b"]),
        node("Sub", &["a", "b"], &["c"]),
        node("Add", &["b", "c"], &["y"]),
    ];
    // Of equal content, so that the products are the same.
    let weights = vec![noisy("v", &[3], 5), noisy("w", &[3], 5)];
    let graph = model(17, "n,3", nodes, weights).read().unwrap();
    let merged = optimised(&graph, Passes::only(Pass::MergeEqual));
    assert_eq!(names(&merged), ["Mul", "Sub", "Add"]);
    let is_weight = |origin: &ValueOrigin| matches!(origin, ValueOrigin::Initializer(_));
    let weights = merged
        .values
        .iter()
        .filter(|value| is_weight(&value.origin));
    assert_eq!(weights.count(), 1);
    gives_the_same(&graph, Passes::only(Pass::MergeEqual), &[input(&[2, 3])]);
}

#[test]
fn operators_of_unequal_parameters_are_not_merged() {
    let nodes = vec![
        node("LeakyRelu", &["x"], &["a"]).float("alpha", 0.25),
        node("LeakyRelu", &["x"], &["b"]).float("alpha", 0.75),
        node("LeakyRelu", &["x"], &["c"]).float("alpha", 0.5),
        node("Sum", &["a", "b", "c"], &["y"]),
    ];
    let graph = model(17, "n,3", nodes, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::MergeEqual, &graph).len(), 4);
}

#[test]
fn weights_that_differ_in_the_last_element_are_not_merged() {
    let nodes = vec![
        node("Mul", &["x", "v"], &["a"]),
        node("Mul", &["a", "w"], &["y"]),
    ];
    let mut other = noisy("w", &[100], 5);
    other.floats[99] += 1.0;
    let weights = vec![noisy("v", &[100], 5), other];
    let graph = model(17, "n,100", nodes, weights).read().unwrap();
    gives_the_same(&graph, Passes::only(Pass::MergeEqual), &[input(&[2, 100])]);
}

#[test]
fn products_with_constant_weights_become_linear() {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("Gemm", &["a", "v", "c"], &["y"]).int("transB", 1),
    ];
    let weights = vec![
        noisy("w", &[5, 40], 1),
        noisy("v", &[70, 40], 2),
        noisy("c", &[1, 70], 3),
    ];
    let graph = model(17, "n,5", nodes, weights).read().unwrap();
    assert_eq!(left_by(Pass::FuseLinear, &graph), ["Linear", "Linear"]);
    gives_nearly_the_same(&graph, Passes::only(Pass::FuseLinear), &[input(&[3, 5])]);
}

#[test]
fn products_that_are_not_linear_stay() {
    let nodes = vec![
        node("MatMul", &["x", "x"], &["a"]),
        node("Gemm", &["a", "w"], &["b"]).float("alpha", 2.0),
        node("Gemm", &["b", "w"], &["c"]).int("transA", 1),
        node("Gemm", &["c", "w", "m"], &["y"]),
    ];
    let weights = vec![noisy("w", &[4, 4], 1), noisy("m", &[4, 1], 2)];
    let graph = model(17, "4,4", nodes, weights).read().unwrap();
    assert_eq!(
        left_by(Pass::FuseLinear, &graph),
        ["MatMul", "Gemm", "Gemm", "Gemm"]
    );
}

/// `x` → Conv → `a`, then other nodes.
fn convolved(mut others: Vec<NodePart>, mut more: Vec<TensorPart>) -> Model {
    let mut nodes = vec![node("Conv", &["x", "w", "bias"], &["a"]).ints("pads", &[1, 1, 1, 1])];
    nodes.append(&mut others);
    let mut weights = vec![noisy("w", &[4, 4, 3, 3], 1), noisy("bias", &[4], 2)];
    weights.append(&mut more);
    model(20, "n,4,6,6", nodes, weights)
}

fn image() -> blockflow::types::Tensor {
    input(&[2, 4, 6, 6])
}

#[test]
fn every_activation_joins_the_convolution_before_it() {
    let plain = |operator: &str| node(operator, &["a"], &["y"]);
    let activations = [
        plain("Relu"),
        plain("HardSwish"),
        plain("HardSigmoid").float("alpha", 0.3),
        plain("Sigmoid"),
        plain("Tanh"),
        plain("Gelu"),
        plain("Gelu").text("approximate", "tanh"),
        plain("LeakyRelu").float("alpha", 0.2),
        node("Clip", &["a", "low", "high"], &["y"]),
        node("Clip", &["a", "low"], &["y"]),
        node("Clip", &["a", "", "high"], &["y"]),
    ];
    for activation in activations {
        let operator = activation.operator.clone();
        let bounds = vec![given("low", &[], &[-0.25]), given("high", &[], &[0.5])];
        let graph = convolved(vec![activation], bounds).read().unwrap();
        assert_eq!(
            left_by(Pass::FuseActivations, &graph),
            ["FusedConv"],
            "{operator}"
        );
        gives_the_same(&graph, Passes::only(Pass::FuseActivations), &[image()]);
    }
}

#[test]
fn an_activation_joins_the_linear_before_it() {
    let nodes = vec![
        node("Gemm", &["x", "w"], &["a"]),
        node("Tanh", &["a"], &["y"]),
    ];
    let graph = model(17, "n,4", nodes, vec![noisy("w", &[4, 5], 1)])
        .read()
        .unwrap();
    let optimised = optimised(&graph, Passes::default());
    assert_eq!(names(&optimised), ["Linear"]);
    gives_the_same(&graph, Passes::default(), &[input(&[3, 4])]);
}

#[test]
fn a_residual_joins_the_convolution_with_the_activation_after_it() {
    let nodes = vec![
        node("Add", &["x", "a"], &["b"]),
        node("Relu", &["b"], &["y"]),
    ];
    let graph = convolved(nodes, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::FuseActivations, &graph), ["FusedConv"]);
    gives_the_same(&graph, Passes::only(Pass::FuseActivations), &[image()]);
}

#[test]
fn a_convolution_that_is_read_twice_is_not_fused() {
    let nodes = vec![
        node("Relu", &["a"], &["b"]),
        node("Add", &["a", "b"], &["y"]),
    ];
    let graph = convolved(nodes, vec![]).read().unwrap();
    assert_eq!(
        left_by(Pass::FuseActivations, &graph),
        ["Conv", "Relu", "Add"]
    );
    let twice = vec![node("Add", &["a", "a"], &["y"])];
    let graph = convolved(twice, vec![]).read().unwrap();
    assert_eq!(left_by(Pass::FuseActivations, &graph), ["Conv", "Add"]);
}

#[test]
fn a_convolution_that_is_an_output_is_not_fused() {
    let mut file = convolved(vec![node("Relu", &["a"], &["y"])], vec![]);
    file.graph_mut().outputs.push(untyped("a"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseActivations, &graph), ["Conv", "Relu"]);
}

#[test]
fn an_addend_that_stretches_the_result_is_not_fused() {
    for other in ["1,1,6,6", "n,4,1,6", "6,6", "2,n,4,6,6"] {
        let mut file = convolved(vec![node("Add", &["a", "z"], &["y"])], vec![]);
        file.graph_mut().inputs.push(info("z", FLOAT, other));
        let graph = file.read().unwrap();
        assert_eq!(
            left_by(Pass::FuseActivations, &graph),
            ["Conv", "Add"],
            "{other}"
        );
    }
}

#[test]
fn an_addend_of_sizes_that_only_a_run_shows_may_stretch_the_result() {
    let mut file = convolved(vec![node("Add", &["a", "z"], &["y"])], vec![]);
    file.graph_mut().inputs.push(info("z", FLOAT, "m,4,6,6"));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseActivations, &graph), ["FusedConv"]);
    let inputs = [input(&[1, 4, 6, 6]), input(&[3, 4, 6, 6])];
    gives_the_same(&graph, Passes::only(Pass::FuseActivations), &inputs);
}

#[test]
fn bounds_that_are_computed_are_not_fused() {
    let mut file = convolved(vec![node("Clip", &["a", "low"], &["y"])], vec![]);
    file.graph_mut().inputs.push(info("low", FLOAT, ""));
    let graph = file.read().unwrap();
    assert_eq!(left_by(Pass::FuseActivations, &graph), ["Conv", "Clip"]);
}
