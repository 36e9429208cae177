//! Models as exporters write them: what the reader makes of operators, shapes and weights.

use blockflow::graph::{Binary, Graph, Op, Unary};
use blockflow::types::{DType, Tensor};

use crate::graph_file::*;

fn integers_of(tensor: &Tensor) -> Vec<i64> {
    assert_eq!(tensor.dtype(), DType::I64);
    let (elements, _) = tensor.bytes().as_chunks();
    elements
        .iter()
        .map(|element| i64::from_le_bytes(*element))
        .collect()
}

#[test]
fn digits_keeps_its_batch_symbol_to_all_three_outputs() {
    let signature = Graph::read(&data("digits/digits.onnx"))
        .unwrap()
        .signature()
        .unwrap();
    assert!(signature.batchable());
    let shown: Vec<_> = signature.outputs.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "digit_logits: FP32[batch, 10]",
            "parity_logits: FP32[batch, 2]",
            "legible_logits: FP32[batch, 2]"
        ]
    );
}

#[test]
fn every_dtype_of_the_fixtures_is_read_and_inferred() {
    for (file, dtype) in [
        ("fp64", DType::F64),
        ("fp16", DType::F16),
        ("int8", DType::I8),
        ("int16", DType::I16),
        ("int32", DType::I32),
        ("uint8", DType::U8),
        ("bool_not", DType::Bool),
    ] {
        let graph = Graph::read(&data(&format!("tiny/{file}.onnx"))).unwrap();
        let (inputs, outputs) = signature(&graph);
        assert_eq!(inputs, [format!("x: {dtype}[batch, 4]")]);
        assert_eq!(outputs, [format!("y: {dtype}[batch, 4]")]);
    }
}

#[test]
fn symbols_of_height_and_width_pass_through_a_same_sized_convolution() {
    let (_, outputs) = signature(&Graph::read(&data("tiny/dynamic_hw.onnx")).unwrap());
    assert_eq!(outputs, ["map_relu: FP32[batch, 2, height, width]"]);
}

#[test]
fn nodes_out_of_order_are_put_in_order() {
    let nodes = vec![node("Relu", &["h"], &["y"]), node("Abs", &["x"], &["h"])];
    let graph = model(17, "batch", nodes, vec![]).read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::Unary(Unary::Abs));
}

#[test]
fn a_shape_computed_by_nodes_becomes_a_constant_and_keeps_the_batch() {
    let nodes = vec![
        node("Shape", &["x"], &["shape"]),
        node("Constant", &[], &["zero"]).tensor("value", scalar("", 0)),
        node("Gather", &["shape", "zero"], &["batch_size"]),
        node("Unsqueeze", &["batch_size"], &["batch_list"]).ints("axes", &[0]),
        node("Constant", &[], &["rest"]).tensor("value", integers("", &[-1])),
        node("Concat", &["batch_list", "rest"], &["target"]).int("axis", 0),
        node("Reshape", &["x", "target"], &["y"]),
    ];
    let file = model(9, "batch,8,2,2", nodes, vec![]);
    assert_eq!(file.y(), "y: FP32[batch, 32]");
    let graph = file.read().unwrap();
    assert_eq!(operators(&graph), ["Reshape"]);
    let shape = graph.nodes[0].inputs[1].unwrap();
    assert_eq!(
        integers_of(weight(&graph, &graph.value(shape).name)),
        [0, -1]
    );
}

#[test]
fn a_shape_with_products_of_sizes_keeps_the_batch_too() {
    let nodes = vec![
        node("Shape", &["x"], &["shape"]),
        node("Slice", &["shape", "zero", "one"], &["head"]),
        node("Slice", &["shape", "one", "end"], &["tail"]),
        node("ReduceProd", &["tail"], &["size"])
            .ints("axes", &[0])
            .int("keepdims", 1),
        node("Concat", &["head", "size"], &["target"]).int("axis", 0),
        node("Reshape", &["x", "target"], &["y"]),
    ];
    let weights = vec![
        integers("zero", &[0]),
        integers("one", &[1]),
        integers("end", &[i64::MAX]),
    ];
    assert_eq!(model(13, "n,8,2,2", nodes, weights).y(), "y: FP32[n, 32]");
}

#[test]
fn reshape_with_minus_one_first_recovers_the_batch() {
    let nodes = vec![node("Reshape", &["x", "target"], &["y"])];
    let file = model(
        17,
        "batch,8,2,2",
        nodes,
        vec![integers("target", &[-1, 32])],
    );
    assert_eq!(file.y(), "y: FP32[batch, 32]");
}

#[test]
fn an_input_dimension_without_a_name_gets_one_and_can_be_batched() {
    let graph = model(17, "?,4", vec![node("Relu", &["x"], &["y"])], vec![])
        .read()
        .unwrap();
    assert!(graph.signature().unwrap().batchable());
}

#[test]
fn an_output_declared_under_another_symbol_has_the_one_that_is_inferred() {
    let mut file = model(17, "batch,4", vec![node("Relu", &["x"], &["y"])], vec![]);
    file.graph_mut().outputs = vec![info("y", FLOAT, "Relu_dim_0,4")];
    assert_eq!(file.y(), "y: FP32[batch, 4]");
}

#[test]
fn a_declaration_fills_in_what_inference_cannot_know() {
    let nodes = vec![node("Reshape", &["x", "target"], &["y"])];
    let mut file = model(17, "batch,4", nodes, vec![]);
    file.graph_mut().inputs.push(info("target", INT64, "3"));
    assert_eq!(file.y(), "y: FP32[?, ?, ?]");
    file.graph_mut().outputs = vec![info("y", FLOAT, "batch,2,2")];
    assert_eq!(file.y(), "y: FP32[batch, 2, 2]");
}

#[test]
fn clip_before_opset_11_gets_its_bounds_as_inputs() {
    let nodes = vec![node("Clip", &["x"], &["y"]).float("max", 6.0)];
    let graph = model(6, "batch,4", nodes, vec![]).read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::Clip);
    let [Some(_), None, Some(max)] = graph.nodes[0].inputs[..] else {
        panic!("{:?}", graph.nodes[0])
    };
    assert_eq!(
        weight(&graph, &graph.value(max).name).bytes(),
        6.0_f32.to_le_bytes()
    );
}

#[test]
fn axes_and_pads_that_were_attributes_become_inputs() {
    for (old, since, inputs) in [
        (node("Squeeze", &["x"], &["y"]).ints("axes", &[1]), 12, 2),
        (node("Unsqueeze", &["x"], &["y"]).ints("axes", &[0]), 12, 2),
        (node("ReduceSum", &["x"], &["y"]).ints("axes", &[1]), 12, 2),
        (node("ReduceMean", &["x"], &["y"]).ints("axes", &[1]), 17, 2),
        (
            node("Split", &["x"], &["y"])
                .ints("split", &[1])
                .int("axis", 1),
            12,
            2,
        ),
        (
            node("Slice", &["x"], &["y"])
                .ints("starts", &[0])
                .ints("ends", &[1])
                .ints("axes", &[1]),
            9,
            4,
        ),
        (
            node("Pad", &["x"], &["y"])
                .ints("pads", &[0, 1, 0, 1])
                .float("value", 2.0),
            10,
            3,
        ),
    ] {
        let graph = model(since, "batch,1", vec![old], vec![]).read().unwrap();
        assert_eq!(graph.nodes[0].inputs.len(), inputs, "{:?}", graph.nodes[0]);
    }
}

#[test]
fn softmax_before_opset_13_is_flat_unless_its_axis_is_the_last() {
    let op = |opset, axis, shape| {
        let nodes = vec![node("Softmax", &["x"], &["y"]).int("axis", axis)];
        model(opset, shape, nodes, vec![]).read().unwrap().nodes[0]
            .op
            .clone()
    };
    assert_eq!(
        op(11, 1, "batch,2,3"),
        Op::FlatSoftmax {
            axis: 1,
            log: false
        }
    );
    assert_eq!(op(11, 1, "batch,2"), Op::Softmax { axis: 1 });
    assert_eq!(op(13, 1, "batch,2,3"), Op::Softmax { axis: 1 });
}

#[test]
fn broadcasting_along_an_axis_before_opset_7_is_aligned_by_a_view_of_the_weight() {
    let nodes = vec![
        node("Add", &["x", "w"], &["y"])
            .int("broadcast", 1)
            .int("axis", 1),
    ];
    let file = model(6, "batch,3,8,8", nodes, vec![floats("w", &[3])]);
    assert_eq!(file.y(), "y: FP32[batch, 3, 8, 8]");
    let graph = file.read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::Binary(Binary::Add));
    let aligned = graph.value(graph.nodes[0].inputs[1].unwrap());
    assert_eq!(weight(&graph, &aligned.name).shape(), [3, 1, 1]);
}

#[test]
fn dropout_is_nothing_and_its_unread_mask_is_dropped() {
    let nodes = vec![node("Dropout", &["x"], &["y", "mask"]).float("ratio", 0.5)];
    let graph = model(10, "batch,4", nodes, vec![]).read().unwrap();
    assert_eq!(graph.nodes[0].op, Op::Identity);
    assert_eq!(graph.nodes[0].outputs.len(), 1);
}

#[test]
fn nodes_that_no_output_needs_are_left_out() {
    let nodes = vec![
        node("Relu", &["x"], &["y"]),
        node("Abs", &["x"], &["unread"]),
    ];
    assert_eq!(
        operators(&model(17, "batch", nodes, vec![]).read().unwrap()),
        ["Unary"]
    );
}

#[test]
fn split_with_a_number_of_outputs_has_a_smaller_last_part() {
    let nodes = vec![
        node("Split", &["x"], &["a", "y"])
            .int("axis", 1)
            .int("num_outputs", 2),
        node("Relu", &["a"], &["b"]),
    ];
    assert_eq!(model(18, "batch,7", nodes, vec![]).y(), "y: FP32[batch, 3]");
}
