//! Models that contradict themselves or use what is not supported: each error names the place and what was expected.

use blockflow::graph::Graph;

use crate::graph_file::*;

fn fixture(name: &str) -> String {
    let message = Graph::read(&data(&format!("tiny/{name}.onnx")))
        .unwrap_err()
        .to_string();
    message
        .rsplit_once(&format!("{name}.onnx"))
        .unwrap()
        .1
        .to_owned()
}

fn weight_error(weight: TensorPart) -> String {
    y_of(
        17,
        "4",
        vec![node("Add", &["x", "w"], &["y"])],
        vec![weight],
    )
}

#[test]
fn damaged_and_wrong_fixtures_are_refused_with_the_place() {
    assert!(fixture("truncated").starts_with(" is no ONNX model, or is damaged: "));
    assert_eq!(
        fixture("cyclic"),
        ": nodes depend on each other in a circle: b → a"
    );
    assert!(fixture("bad_shape").starts_with(
        ": node \"y\" (MatMul): inputs have the shapes [batch, 4] and [5, 3], which do not match"
    ));
}

#[test]
fn a_missing_data_file_is_named_with_its_tensor() {
    let message = Graph::read(&data("tiny/external_missing.onnx"))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("tensor \"weight\" keeps its data in "),
        "{message}"
    );
    assert!(
        message.contains("external_missing.bin, which cannot be read"),
        "{message}"
    );
}

#[test]
fn unsupported_operators_are_listed_all_at_once() {
    assert_eq!(
        fixture("unknown_op"),
        ": unsupported operators: com.example.Frobnicate (1 node, \"y\")"
    );
    let nodes = vec![
        node("Weave", &["x"], &["a"]),
        node("Knit", &["a"], &["b"]),
        node("Weave", &["b"], &["y"]),
    ];
    assert_eq!(
        y_of(17, "4", nodes, vec![]),
        "unsupported operators: Knit (1 node, \"b_node\"), Weave (2 nodes, first \"a_node\")"
    );
}

#[test]
fn an_opset_out_of_range_is_named_with_the_range() {
    for opset in [0, 28, -1, i64::MAX] {
        let message = y_of(opset, "4", vec![node("Relu", &["x"], &["y"])], vec![]);
        let expected = format!(
            "the model is of ONNX opset {opset}, supported are 1 to 27, export it for one of them"
        );
        assert_eq!(message, expected);
    }
}

#[test]
fn an_unknown_attribute_or_value_is_named_with_its_node() {
    let relu = node("Relu", &["x"], &["y"]).int("slope", 3);
    assert_eq!(
        y_of(17, "4", vec![relu], vec![]),
        "node \"y_node\" (Relu): attribute slope is not supported, it is 3"
    );
    let pad = node("Pad", &["x", "pads"], &["y"]).text("mode", "wrap");
    assert_eq!(
        y_of(18, "4", vec![pad], vec![integers("pads", &[1, 1])]),
        "node \"y_node\" (Pad): attribute mode is \"wrap\", expected \"constant\", \"reflect\" or \"edge\""
    );
    let flatten = node("Flatten", &["x"], &["y"]).float("axis", 1.0);
    assert_eq!(
        y_of(17, "4", vec![flatten], vec![]),
        "node \"y_node\" (Flatten): attribute axis is 1, expected an integer"
    );
}

#[test]
fn a_second_output_that_is_read_is_refused() {
    let nodes = vec![
        node("Dropout", &["x"], &["a", "mask"]),
        node("Not", &["mask"], &["y"]),
    ];
    assert_eq!(
        y_of(7, "4", nodes, vec![]),
        "node \"a_node\" (Dropout): output 1 is used, supported is only output 0"
    );
}

#[test]
fn weights_whose_data_does_not_fit_their_claims_are_refused() {
    assert_eq!(
        weight_error(TensorPart {
            dims: vec![5],
            ..floats("w", &[4])
        }),
        "FP32 tensor \"w\" of shape [5] needs 5 elements, its data holds 4"
    );
    let raw = TensorPart {
        floats: vec![],
        raw: vec![0; 15],
        ..floats("w", &[4])
    };
    assert_eq!(
        weight_error(raw),
        "FP32 tensor \"w\" of shape [4] needs 16 bytes, its data holds 15"
    );
    assert_eq!(
        weight_error(TensorPart {
            dims: vec![-4],
            ..floats("w", &[4])
        }),
        "tensor \"w\" has the dimensions [-4], expected sizes of at least 0"
    );
    assert_eq!(
        weight_error(TensorPart {
            dims: vec![i64::MAX, 2],
            ..floats("w", &[4])
        }),
        "tensor \"w\" of shape [9223372036854775807, 2] is larger than this machine can address"
    );
    assert_eq!(
        weight_error(TensorPart {
            dims: vec![1; 33],
            ..floats("w", &[1])
        }),
        "tensor \"w\" has 33 dimensions, supported are up to 32"
    );
    assert_eq!(
        weight_error(TensorPart {
            kind: 14,
            ..floats("w", &[4])
        }),
        "tensor \"w\" has ONNX element type COMPLEX64, which is not supported"
    );
    let wide = TensorPart {
        kind: 3,
        dims: vec![1],
        int32s: vec![300],
        floats: vec![],
        ..floats("w", &[1])
    };
    assert_eq!(
        weight_error(wide),
        "INT8 tensor \"w\" holds 300, which is no INT8"
    );
    let bool = TensorPart {
        kind: 9,
        dims: vec![1],
        raw: vec![2],
        floats: vec![],
        ..floats("w", &[1])
    };
    assert_eq!(
        weight_error(bool),
        "BOOL tensor \"w\" holds 2, which is no BOOL"
    );
}

#[test]
fn data_files_outside_of_the_model_directory_are_refused() {
    let external = |location: &str, offset: &str, length: &str| {
        let entry = |key: &str, value: &str| Entry {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let external = vec![
            entry("location", location),
            entry("offset", offset),
            entry("length", length),
        ];
        weight_error(TensorPart {
            floats: vec![],
            location: 1,
            external,
            ..floats("w", &[4])
        })
    };
    for location in ["/etc/hostname", "../w", "a/../../w", "..", "", ".", "/"] {
        let message = external(location, "0", "16");
        assert!(
            message.ends_with("expected a path below the directory of the model"),
            "{message}"
        );
    }
    // The model's own file is there, and short.
    for (offset, length, end) in [
        (
            "18446744073709551615",
            "16",
            "is bytes 18446744073709551615..18446744073709551615 of ",
        ),
        ("9999", "16", "is bytes 9999..10015 of "),
        ("-1", "16", "offset is \"-1\", expected a number of bytes"),
        (
            "0",
            "17",
            "length is \"17\", expected as many bytes as datatype and shape of the tensor need",
        ),
        ("0", "x", "length is \"x\", expected a number of bytes"),
    ] {
        let file = "model.onnx";
        let entry = |key: &str, value: &str| Entry {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let external = vec![
            entry("location", file),
            entry("offset", offset),
            entry("length", length),
        ];
        let weight = TensorPart {
            floats: vec![],
            location: 1,
            external,
            ..floats("w", &[4])
        };
        let file = model(
            17,
            "4",
            vec![node("Add", &["x", "w"], &["y"])],
            vec![weight],
        );
        let message = file.read().unwrap_err().to_string();
        assert!(message.contains(end), "{message}");
    }
}

#[test]
fn names_that_are_defined_twice_or_nowhere_are_refused() {
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to]);
    let of = |nodes| y_of(17, "4", nodes, vec![]);
    assert_eq!(
        of(vec![relu("x", "y"), relu("x", "y")]),
        "tensor \"y\" is defined twice"
    );
    assert_eq!(
        of(vec![relu("x", "x"), relu("x", "y")]),
        "nodes depend on each other in a circle: x_node"
    );
    assert_eq!(
        of(vec![relu("z", "y")]),
        "node \"y_node\" reads tensor \"z\", which nothing defines"
    );
    assert_eq!(
        of(vec![relu("x", "z")]),
        "output \"y\" of the model is not computed by any node"
    );
    let weights = vec![floats("x", &[4]), floats("x", &[4])];
    assert_eq!(
        y_of(17, "4", vec![relu("x", "y")], weights),
        "tensor \"x\" is defined twice"
    );
}

#[test]
fn inputs_that_do_not_go_together_are_refused_with_their_node() {
    let of = |node, weights| y_of(17, "batch,4", vec![node], weights);
    for (node, weights, words) in [
        (
            node("Add", &["x", "w"], &["y"]),
            vec![floats("w", &[3])],
            "[batch, 4] and [3]",
        ),
        (
            node("Add", &["x", "w"], &["y"]),
            vec![integers("w", &[1])],
            "input 1 is INT64, expected FP32",
        ),
        (
            node("Not", &["x"], &["y"]),
            vec![],
            "input 0 is FP32, expected BOOL",
        ),
        (
            node("Conv", &["x", "w"], &["y"]),
            vec![floats("w", &[1, 1, 3])],
            "input 0 has shape [batch, 4]",
        ),
        (
            node("Concat", &["x", "w"], &["y"]).int("axis", 2),
            vec![floats("w", &[4, 4])],
            "axis is 2",
        ),
        (
            node("Transpose", &["x"], &["y"]).ints("perm", &[0, 0]),
            vec![],
            "perm is ",
        ),
        (
            node("Gather", &["x", "w"], &["y"]).int("axis", 1),
            vec![integers("w", &[4])],
            "indices is 4",
        ),
        (
            node("Reshape", &["x", "w"], &["y"]),
            vec![integers("w", &[-1, -1])],
            "shape is [-1, -1]",
        ),
        (
            node("Squeeze", &["x", "w"], &["y"]),
            vec![integers("w", &[1])],
            "dimension 1, which is squeezed",
        ),
        (
            node("Gemm", &["x"], &["y"]),
            vec![],
            "got 1 inputs, expected 2 to 3",
        ),
        (
            node("Relu", &["", "x"], &["y"]),
            vec![],
            "got 2 inputs, expected 1",
        ),
        (
            node("MaxPool", &["x"], &["y"]),
            vec![],
            "attribute kernel_shape is missing",
        ),
    ] {
        let message = of(node, weights);
        assert!(
            message.starts_with("node \"y_node\" (") && message.contains(words),
            "{message}"
        );
    }
}
