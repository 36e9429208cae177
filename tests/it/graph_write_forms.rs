//! What operators become in a written file: bodies that read names around them, names that are met once, versions, and
//! what has no form.

use blockflow::engine::{BlockSource, prepare};
use blockflow::graph::{Graph, Op};
use blockflow::types::{Device, GraphEngine, Passes, Tensor};
use prost::Message;

use crate::engine_support::{f32s, noise, values_f32};
use crate::graph_file::*;

fn run(graph: &Graph, engine: GraphEngine, inputs: &[Tensor]) -> Vec<Tensor> {
    let signature = graph.signature().unwrap();
    let source = BlockSource::Graph {
        graph,
        signature,
        engine,
        passes: Passes::default(),
    };
    let prepared = prepare(source, 1, Device::Cpu).unwrap_or_else(|error| panic!("{error}"));
    prepared.session().unwrap().run(inputs).unwrap()
}

/// Checks that onnxruntime computes of a graph what we do, and that the graph is the same when it is read again.
fn assert_written(graph: &Graph, inputs: &[Tensor]) {
    let again = read_bytes(&graph.to_onnx().unwrap()).unwrap();
    assert_eq!(graph.hashes(&mut |_| ()), again.hashes(&mut |_| ()));
    let ours = run(graph, GraphEngine::Aten, inputs);
    let theirs = run(graph, GraphEngine::OnnxRuntime, inputs);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        for (ours, theirs) in values_f32(ours).into_iter().zip(values_f32(theirs)) {
            assert!((ours - theirs).abs() < 1e-4, "{ours} and {theirs}");
        }
    }
}

/// A loop of three rounds, each of which adds `w · state` in a branch that always runs but is not known to.
fn nested() -> Graph {
    let then = body(
        &[],
        vec![
            node("MatMul", &["state", "w"], &["product"]),
            node("Add", &["product", "x"], &["a"]),
        ],
        &["a"],
    );
    let otherwise = body(&[], vec![node("Neg", &["state"], &["a"])], &["a"]);
    let inside = vec![
        node("Less", &["round", "many"], &["few"]),
        node("If", &["few"], &["next"])
            .graph("then_branch", then)
            .graph("else_branch", otherwise),
        node("Identity", &["go"], &["on"]),
    ];
    let nodes = vec![
        node("MatMul", &["x", "w"], &["state"]),
        node("Loop", &["rounds", "", "state"], &["y"]).graph(
            "body",
            body(&["round", "go", "state"], inside, &["on", "next"]),
        ),
    ];
    let weights = vec![
        floats("w", &[40, 40]),
        scalar("rounds", 3),
        scalar("many", 2),
    ];
    model(17, "2,40", nodes, weights).read().unwrap()
}

#[test]
fn bodies_read_what_is_around_them_by_name_and_share_large_weights() {
    let graph = nested();
    assert_written(&graph, &[f32s(&[2, 40], &noise(80, 3))]);
    let bytes = graph.to_onnx().unwrap().len();
    assert!(bytes < 2 * 4 * 40 * 40, "{bytes} bytes");
}

#[test]
fn no_two_nodes_of_a_file_have_one_name() {
    let loss =
        node("SoftmaxCrossEntropyLoss", &["x", "class"], &["y", "log"]).text("reduction", "none");
    let mut file = model(17, "2,4", vec![loss], vec![integers("class", &[1, 3])]);
    file.graph_mut().outputs.push(untyped("log"));
    let mut graph = file.read().unwrap();
    let distinct = |names: Vec<String>| {
        let mut seen = std::collections::HashSet::new();
        names
            .iter()
            .all(|name| seen.insert(name))
            .then_some(())
            .ok_or(names)
    };
    let names = graph.nodes.iter().map(|node| node.name.clone()).collect();
    distinct(names).unwrap();
    for node in &mut graph.nodes {
        node.name = "same".to_owned();
    }
    let written = Model::decode(graph.to_onnx().unwrap().as_slice()).unwrap();
    let nodes = written.graph.unwrap().nodes.into_iter();
    distinct(nodes.map(|node| node.name).collect()).unwrap();
    assert_written(&graph, &[f32s(&[2, 4], &noise(8, 5))]);
}

#[test]
fn a_file_is_of_the_lowest_operator_sets_that_have_what_it_uses() {
    let of = |nodes: Vec<NodePart>| {
        let graph = model(27, "2,4", nodes, vec![scalar("axis", 0)])
            .read()
            .unwrap();
        let written = Model::decode(graph.to_onnx().unwrap().as_slice()).unwrap();
        let opsets = written.opsets.iter();
        let opsets: Vec<_> = opsets
            .map(|set| format!("{}{}", set.domain, set.version))
            .collect();
        (written.ir_version, opsets.join(" "))
    };
    let encoder = NodePart {
        domain: "ai.onnx.ml".to_owned(),
        ..node("TreeEnsemble", &["x"], &["y"])
    };
    let encoder = encoder
        .ints("tree_roots", &[0])
        .ints("nodes_featureids", &[0])
        .ints("nodes_truenodeids", &[0])
        .ints("nodes_trueleafs", &[1])
        .ints("nodes_falsenodeids", &[0])
        .ints("nodes_falseleafs", &[1])
        .ints("leaf_targetids", &[0])
        .tensor("leaf_weights", floats("", &[1]))
        .tensor("nodes_splits", floats("", &[1]))
        .tensor(
            "nodes_modes",
            TensorPart {
                dims: vec![1],
                kind: 2,
                raw: vec![0],
                ..TensorPart::default()
            },
        );
    let nested = body(&[], vec![node("Swish", &["x"], &["s"])], &["s"]);
    let branch = vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["is_any"]).int("to", 9),
        node("If", &["is_any"], &["y"])
            .graph("then_branch", nested.clone())
            .graph("else_branch", nested),
    ];
    for (nodes, version, opsets) in [
        (vec![node("Relu", &["x"], &["y"])], 10, "21"),
        (vec![node("Swish", &["x"], &["y"])], 12, "24"),
        (branch, 12, "24"),
        (vec![node("CumProd", &["x", "axis"], &["y"])], 13, "26"),
        (vec![node("Cast", &["x"], &["y"]).int("to", 16)], 12, "24"),
        (vec![encoder], 10, "21 ai.onnx.ml5"),
    ] {
        assert_eq!(of(nodes), (version, opsets.to_owned()));
    }
}

#[test]
fn rounding_that_follows_from_the_factors_is_written_as_what_it_comes_to() {
    for (factor, size) in [(2.0, 8), (0.5, 2)] {
        let mut scales = floats("scales", &[4]);
        scales.floats = vec![1.0, 1.0, factor, 1.0];
        let nodes = vec![node("Resize", &["x", "scales"], &["y"])];
        let graph = model(10, "1,1,4,3", nodes, vec![scales]).read().unwrap();
        assert_eq!(signature(&graph).1, [format!("y: FP32[1, 1, {size}, 3]")]);
        assert_written(&graph, &[f32s(&[1, 1, 4, 3], &noise(12, 9))]);
    }
}

#[test]
fn what_has_no_form_is_named_with_its_node() {
    // Factors that the model computes: which way to round is known only then.
    let nodes = vec![
        node("Shape", &["x"], &["shape"]),
        node("Cast", &["shape"], &["scales"]).int("to", 1),
        node("Resize", &["x", "scales"], &["y"]),
    ];
    let graph = model(10, "a,b", nodes, Vec::new()).read().unwrap();
    let refused: Vec<_> = graph.unwritable().collect();
    assert_eq!(refused.len(), 1);
    let (node, error) = &refused[0];
    assert!(matches!(node.op, Op::Resize(_)));
    let message = error.to_string();
    assert!(
        message.contains("\"y_node\"") && message.contains("Resize"),
        "{message}"
    );
    assert_eq!(graph.to_onnx().unwrap_err().to_string(), message);
    assert_eq!(nested().unwritable().count(), 0);
}
