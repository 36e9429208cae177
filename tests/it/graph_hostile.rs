//! Files that are damaged or mean harm: an error, and never a panic or work without bound.

use std::sync::OnceLock;

use proptest::prelude::*;
use prost::Message;

use blockflow::graph::{Defect, Graph, GraphError};

use crate::graph_file::*;

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Graph::read(&data("tiny/absent.onnx")).unwrap_err();
    assert!(matches!(&error, GraphError::Read { .. }), "{error}");
    assert!(error.to_string().contains("absent.onnx"), "{error}");
}

#[test]
fn a_directory_and_an_empty_file_are_refused() {
    assert!(matches!(
        Graph::read(&data("tiny")),
        Err(GraphError::Read { .. })
    ));
    let error = read_bytes(&[]).unwrap_err();
    assert!(
        matches!(&error, GraphError::Model { source, .. } if **source == Defect::NoGraph),
        "{error}"
    );
}

#[test]
fn windows_and_sizes_beyond_all_bounds_are_refused() {
    let pool = |values: &[(&str, i64)]| {
        let mut pool = node("MaxPool", &["x"], &["y"]).ints("kernel_shape", &[2, 2]);
        for (name, value) in values {
            let count = if *name == "pads" { 4 } else { 2 };
            pool = pool.ints(name, &vec![*value; count]);
        }
        y_of(17, "batch,1,4,4", vec![pool], vec![])
    };
    assert!(pool(&[("strides", 0)]).contains("strides is [0, 0], expected 2 positive sizes"));
    assert!(pool(&[("strides", -1)]).contains("attribute strides is [-1, -1]"));
    assert!(pool(&[("dilations", i64::MAX)]).contains("of at least the window"));
    assert_eq!(pool(&[("strides", i64::MAX)]), "y: FP32[batch, 1, 1, 1]");
    let most = i64::MAX;
    let shape = vec![integers("w", &[most, most, most])];
    let message = y_of(
        17,
        "1",
        vec![
            node("Expand", &["x", "w"], &["y"]),
            node("Flatten", &["y"], &["z"]),
        ],
        shape,
    );
    assert!(
        message.contains("larger than this machine can address"),
        "{message}"
    );
}

#[test]
fn ranks_do_not_grow_without_bound() {
    let mut nodes = vec![node("Gather", &["w", "w"], &["h0"])];
    for step in 0..40 {
        let (from, to) = (format!("h{step}"), format!("h{}", step + 1));
        nodes.push(node("Gather", &[&from, &from], &[&to]));
    }
    nodes.push(node("Add", &["x", "h40"], &["y"]));
    let zeros = TensorPart {
        dims: vec![1, 1, 1],
        int64s: vec![0],
        ..integers("w", &[0])
    };
    let message = y_of(17, "1", nodes, vec![zeros]);
    assert!(
        message.contains("dimensions, supported are up to 32"),
        "{message}"
    );
}

#[test]
fn messages_nested_beyond_the_limit_are_refused() {
    let bytes = [vec![0x0b; 100_000], vec![0x0c; 100_000]].concat();
    assert!(matches!(read_bytes(&bytes), Err(GraphError::Decode { .. })));
}

#[test]
fn graphs_nested_beyond_the_limit_are_refused() {
    let nested = |depth: usize| {
        let mut inner = body(&[], vec![node("Relu", &["x"], &["r"])], &["r"]);
        for _ in 0..depth {
            let branch = node("If", &["c"], &["r"])
                .graph("then_branch", inner)
                .graph(
                    "else_branch",
                    body(&[], vec![node("Abs", &["x"], &["r"])], &["r"]),
                );
            inner = body(&[], vec![branch], &["r"]);
        }
        let nodes = vec![
            node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
            node("Cast", &["most"], &["c"]).int("to", 9),
            NodePart {
                outputs: vec!["y".to_owned()],
                ..inner.nodes.remove(0)
            },
        ];
        model(17, "4", nodes, vec![]).encode_to_vec()
    };
    assert!(read_bytes(&nested(24)).is_ok());
    for depth in [40, 150] {
        assert!(matches!(
            read_bytes(&nested(depth)),
            Err(GraphError::Decode { .. })
        ));
    }
}

#[test]
fn long_chains_and_long_circles_need_no_stack() {
    let count = 20_000;
    let step = |at: usize| node("Relu", &[&format!("h{at}")], &[&format!("h{}", at + 1)]);
    let mut nodes: Vec<_> = (0..count).map(step).collect();
    nodes.push(node("Identity", &[&format!("h{count}")], &["y"]));
    let mut file = model(17, "4", nodes, vec![]);
    assert!(file.y().starts_with("node \"h1_node\" reads tensor \"h0\""));
    file.graph_mut()
        .nodes
        .push(node("Identity", &["x"], &["h0"]));
    assert_eq!(file.y(), "y: FP32[4]");
    file.graph_mut().nodes.last_mut().unwrap().inputs = vec![format!("h{count}")];
    assert!(
        file.y()
            .starts_with("nodes depend on each other in a circle")
    );
}

/// Valid files, which the properties damage.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let nodes = vec![
            node("Shape", &["x"], &["shape"]),
            node("Slice", &["shape", "zero", "one"], &["head"]),
            node("Concat", &["head", "rest"], &["target"]).int("axis", 0),
            node("Conv", &["x", "w"], &["map"])
                .ints("pads", &[1, 1, 1, 1])
                .ints("strides", &[2, 2]),
            node("MaxPool", &["map"], &["pooled"])
                .ints("kernel_shape", &[2, 2])
                .int("ceil_mode", 1),
            node("Reshape", &["pooled", "target"], &["flat"]),
            node("Clip", &["flat", "", "six"], &["clipped"]),
            node("Pad", &["clipped", "pads"], &["padded"]).text("mode", "constant"),
            node("ReduceMean", &["padded"], &["mean"]).ints("axes", &[1]),
            node("Softmax", &["mean"], &["y"]).int("axis", -1),
        ];
        let six = TensorPart {
            dims: vec![],
            ..floats("six", &[1])
        };
        let lists = [
            ("zero", vec![0]),
            ("one", vec![1]),
            ("rest", vec![-1]),
            ("pads", vec![0, 1, 0, 1]),
        ];
        let mut weights: Vec<_> = lists
            .iter()
            .map(|(name, values)| integers(name, values))
            .collect();
        weights.extend([six, floats("w", &[2, 1, 3, 3])]);
        let made = model(17, "batch,1,8,8", nodes, weights);
        assert_eq!(made.y(), "y: FP32[batch, 1]");
        let file = |name: &str| std::fs::read(data(name)).unwrap();
        vec![
            made.encode_to_vec(),
            branching().encode_to_vec(),
            file("tiny/mlp.onnx"),
            file("tiny/dynamic_hw.onnx"),
        ]
    })
}

/// A file with a loop, a branch in it, a function and a sequence.
fn branching() -> Model {
    let then = body(
        &[],
        vec![call("Bend", &["state"], &["t"]).float("slope", 0.5)],
        &["t"],
    );
    let otherwise = body(&[], vec![node("Neg", &["state"], &["t"])], &["t"]);
    let nodes = vec![
        node("If", &["go"], &["next"])
            .graph("then_branch", then)
            .graph("else_branch", otherwise),
        node("SequenceInsert", &["all", "next"], &["more"]),
        node("Identity", &["go"], &["on"]),
    ];
    let body = body(&["i", "go", "state", "all"], nodes, &["on", "next", "more"]);
    let nodes = vec![
        node("SequenceConstruct", &["x"], &["s"]),
        node("Loop", &["three", "", "x", "s"], &["last", "all"]).graph("body", body),
        node("ConcatFromSequence", &["all"], &["y"]).int("axis", 0),
    ];
    let mut made = model(17, "batch,4", nodes, vec![scalar("three", 3)]);
    let bend = node("LeakyRelu", &["a"], &["b"]).of_function("alpha", 1, "slope");
    made.functions = vec![FunctionPart {
        attributes: vec!["slope".to_owned()],
        ..function("Bend", &["a"], vec![bend], &["b"])
    }];
    assert_eq!(made.y(), "y: FP32[?, 4]");
    made
}

/// Reads damaged bytes and, where they are still a model, does with it what can be done.
fn survive(bytes: &[u8]) {
    let Ok(graph) = read_bytes(bytes) else { return };
    let _ = graph.signature();
    let names: Vec<_> = graph
        .values
        .iter()
        .map(|value| value.name.clone())
        .collect();
    for name in &names {
        let _ = graph.segment(None, Some(std::slice::from_ref(name)));
        let _ = graph.chain(std::slice::from_ref(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        survive(&bytes);
    }

    #[test]
    fn flipped_bits_never_panic(seed in 0_usize..4, flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..8)) {
        let mut bytes = seeds()[seed].clone();
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
        }
        survive(&bytes);
    }

    #[test]
    fn truncated_files_never_panic(seed in 0_usize..4, end in any::<prop::sample::Index>()) {
        let bytes = &seeds()[seed];
        survive(&bytes[..end.index(bytes.len())]);
    }

    #[test]
    fn hostile_numbers_in_attributes_and_shapes_never_panic(
        operator in prop::sample::select(vec![
            "Conv", "MaxPool", "AveragePool", "Pad", "Slice", "Split", "Transpose", "Flatten", "Squeeze", "Unsqueeze",
            "ReduceMean", "Reshape", "Expand", "Gather", "ConstantOfShape", "Softmax", "Concat", "ArgMax", "Shape", "Add",
            "GatherElements", "GatherND", "ScatterElements", "ScatterND", "Tile", "OneHot", "Trilu", "Compress", "NonZero",
            "ReverseSequence", "TensorScatter", "SplitToSequence", "SequenceConstruct", "Optional",
        ]),
        opset in 6_i64..=25,
        numbers in prop::collection::vec(prop::sample::select(vec![i64::MIN, -3, -1, 0, 1, 2, 4, i64::MAX - 1, i64::MAX]), 1..6),
        single in prop::sample::select(vec![i64::MIN, -2, -1, 0, 1, 3, i64::MAX]),
        shape in prop::sample::select(vec!["", "0", "4", "batch,4", "batch,0,4", "batch,1,4,4", "9223372036854775807,2,2,2", "?,?,?"]),
        attribute in prop::sample::select(vec![
            "kernel_shape", "pads", "strides", "dilations", "axes", "starts", "ends", "split", "perm",
        ]),
        inputs in prop::sample::select(vec!["x", "x w", "x w w", "x w w w w", "w", "w x"]),
    ) {
        let inputs: Vec<_> = inputs.split(' ').collect();
        let node = node(operator, &inputs, &["y"]).ints(attribute, &numbers);
        let plain = NodePart { attributes: vec![], ..node.clone() };
        for node in [node.clone(), node.int("axis", single), plain.clone(), plain.int("axis", single)] {
            let _ = model(opset, shape, vec![node], vec![integers("w", &numbers)]).read();
        }
    }
}
