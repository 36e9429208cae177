//! Segments and chains: what a cut holds, and which cuts are refused with which words.

use proptest::prelude::*;

use blockflow::graph::{Graph, GraphError, Op, ValueOrigin};

use crate::graph_file::*;

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn segment(
    graph: &Graph,
    inputs: Option<&[&str]>,
    outputs: Option<&[&str]>,
) -> Result<Graph, GraphError> {
    let (inputs, outputs) = (inputs.map(owned), outputs.map(owned));
    graph.segment(inputs.as_deref(), outputs.as_deref())
}

/// Returns the message of a refused cut, without the file's path.
fn refusal<T: std::fmt::Debug>(result: Result<T, GraphError>) -> String {
    let message = result.unwrap_err().to_string();
    message
        .rsplit_once(".onnx")
        .unwrap()
        .1
        .trim_start_matches([':', ' '])
        .to_owned()
}

fn names(graph: &Graph, ids: &[blockflow::graph::ValueId]) -> Vec<String> {
    ids.iter().map(|&id| graph.value(id).name.clone()).collect()
}

fn weights(graph: &Graph) -> Vec<&str> {
    let weight = |origin: &ValueOrigin| matches!(origin, ValueOrigin::Initializer(_));
    graph
        .values
        .iter()
        .filter(|value| weight(&value.origin))
        .map(|value| value.name.as_str())
        .collect()
}

/// x → a → b → c → y, where a skips to c, x to y, and a second output leaves at b.
fn skipping() -> Graph {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("Add", &["b", "a"], &["c"]),
        node("Mul", &["c", "x"], &["y"]),
    ];
    let mut file = model(17, "batch,4", nodes, vec![floats("w", &[4, 4])]);
    file.graph_mut().outputs.push(untyped("b"));
    file.read().unwrap()
}

#[test]
fn a_segment_without_ends_is_the_whole_model() {
    let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
    let whole = graph.segment(None, None).unwrap();
    assert_eq!(signature(&whole), signature(&graph));
    assert_eq!(whole.nodes.len(), graph.nodes.len());
}

#[test]
fn a_segment_holds_only_the_nodes_and_weights_it_needs() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let head = segment(&graph, Some(&["hidden_relu"]), Some(&["output"])).unwrap();
    assert_eq!(head.nodes.len(), 1);
    assert_eq!(weights(&head), ["output.weight", "output.bias"]);
    assert_eq!(signature(&head).0, ["hidden_relu: FP32[batch, 8]"]);
    let body = segment(&graph, None, Some(&["hidden_relu"])).unwrap();
    assert_eq!(weights(&body), ["hidden.weight", "hidden.bias"]);
    assert_eq!(signature(&body).1, ["hidden_relu: FP32[batch, 8]"]);
}

#[test]
fn a_segment_shares_the_memory_of_its_weights() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let body = segment(&graph, None, Some(&["hidden"])).unwrap();
    let address = |graph: &Graph| match &graph.value(graph.find("hidden.weight").unwrap()).origin {
        ValueOrigin::Initializer(weight) => weight.tensor.bytes().as_ptr(),
        other => panic!("{other:?}"),
    };
    assert_eq!(address(&body), address(&graph));
}

#[test]
fn inputs_that_no_output_needs_are_left_out_unless_named() {
    let mut file = model(17, "batch,4", vec![node("Relu", &["x"], &["y"])], vec![]);
    file.graph_mut().inputs.push(info("z", FLOAT, "batch,4"));
    let graph = file.read().unwrap();
    assert_eq!(signature(&graph).0.len(), 2);
    assert_eq!(
        signature(&graph.segment(None, None).unwrap()).0,
        ["x: FP32[batch, 4]"]
    );
    assert_eq!(
        refusal(segment(&graph, Some(&["x", "z"]), None)),
        r#"no output among ["y"] depends on input "z", leave it out"#
    );
}

#[test]
fn ends_keep_the_order_they_are_named_in() {
    let graph = Graph::read(&data("tiny/two_in_two_out.onnx")).unwrap();
    let turned = segment(&graph, Some(&["b", "a"]), Some(&["diff", "sum"])).unwrap();
    assert_eq!(names(&turned, &turned.inputs), ["b", "a"]);
    assert_eq!(names(&turned, &turned.outputs), ["diff", "sum"]);
}

#[test]
fn a_tensor_that_is_input_and_output_passes_through() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let segment = segment(&graph, Some(&["hidden"]), Some(&["hidden", "output"])).unwrap();
    assert_eq!(segment.outputs[0], segment.inputs[0]);
}

#[test]
fn an_output_of_a_node_that_is_given_is_not_computed_again() {
    let nodes = vec![
        node("Split", &["x"], &["a", "b"]).int("axis", 1),
        node("Sub", &["a", "b"], &["y"]),
    ];
    let graph = model(17, "batch,4", nodes, vec![]).read().unwrap();
    let part = segment(&graph, Some(&["x", "a"]), None).unwrap();
    let split = part
        .nodes
        .iter()
        .find(|node| matches!(node.op, Op::Split { .. }))
        .unwrap();
    assert_eq!(split.outputs.len(), 2);
    assert_eq!(split.outputs[0], None);
}

#[test]
fn a_missing_input_is_named() {
    let graph = skipping();
    assert_eq!(
        refusal(segment(&graph, Some(&["c"]), Some(&["y"]))),
        r#"output "y" cannot be computed from ["c"] alone, it also needs input "x""#
    );
}

#[test]
fn an_unknown_tensor_is_refused_with_names_that_are_near() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    assert_eq!(
        refusal(segment(&graph, None, Some(&["hiden_relu"]))),
        r#"has no tensor "hiden_relu", did you mean "hidden_relu"?"#
    );
    assert_eq!(
        refusal(segment(&graph, None, Some(&["q"]))),
        r#"has no tensor "q""#
    );
}

#[test]
fn a_weight_is_no_place_to_cut() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    let expected = r#"tensor "hidden.bias" is a weight, cut at a tensor that is computed"#;
    assert_eq!(
        refusal(segment(&graph, Some(&["hidden.bias"]), None)),
        expected
    );
    assert_eq!(refusal(graph.chain(&owned(&["hidden.bias"]))), expected);
}

#[test]
fn ends_named_twice_or_not_at_all_are_refused() {
    let graph = skipping();
    assert_eq!(
        refusal(segment(&graph, None, Some(&["a", "a"]))),
        r#"tensor "a" is named twice in one cut"#
    );
    assert!(matches!(
        segment(&graph, None, Some(&[])),
        Err(GraphError::NoOutputs { .. })
    ));
}

#[test]
fn values_that_skip_a_cut_pass_through_the_segments_between() {
    let chain = skipping().chain(&owned(&["a", "b", "c"])).unwrap();
    let ends: Vec<_> = chain
        .iter()
        .map(|part| (names(part, &part.inputs), names(part, &part.outputs)))
        .collect();
    assert_eq!(ends[0], (owned(&["x"]), owned(&["a", "x"])));
    assert_eq!(ends[1], (owned(&["a", "x"]), owned(&["b", "a", "x"])));
    assert_eq!(ends[2], (owned(&["b", "a", "x"]), owned(&["c", "b", "x"])));
    assert_eq!(ends[3], (owned(&["c", "b", "x"]), owned(&["y", "b"])));
    assert_eq!(chain.iter().map(|part| part.nodes.len()).sum::<usize>(), 4);
}

#[test]
fn a_chain_without_cuts_is_the_model() {
    let chain = skipping().chain(&[]).unwrap();
    assert_eq!(chain.len(), 1);
    assert_eq!(chain[0].nodes.len(), 4);
}

#[test]
fn cuts_in_the_wrong_order_are_refused() {
    assert_eq!(
        refusal(skipping().chain(&owned(&["c", "a"]))),
        r#"cut "a" is computed before cut "c", list cuts in the order of the model"#
    );
}

#[test]
fn cuts_at_the_ends_of_the_model_are_refused() {
    let graph = Graph::read(&data("tiny/mlp.onnx")).unwrap();
    assert_eq!(
        refusal(graph.chain(&owned(&["input"]))),
        r#"tensor "input" is an input of the model, cut at a tensor that is computed"#
    );
    assert_eq!(
        refusal(graph.chain(&owned(&["output"]))),
        r#"nothing is computed after cut "output", leave it out"#
    );
}

/// Values that alone separate a graph: everything after them needs nothing else from before.
fn single_value_cuts(graph: &Graph) -> Vec<String> {
    let computed = graph
        .values
        .iter()
        .filter(|value| matches!(value.origin, ValueOrigin::Node(..)));
    let separates = |name: &String| {
        let (before, after) = (
            Some(std::slice::from_ref(name)),
            Some(std::slice::from_ref(name)),
        );
        graph.segment(before, None).is_ok() && graph.segment(None, after).is_ok()
    };
    computed
        .map(|value| value.name.clone())
        .filter(separates)
        .collect()
}

proptest! {
    #[test]
    fn any_single_value_cuts_give_a_chain_whose_signatures_meet(picks in prop::collection::vec(any::<bool>(), 64)) {
        let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
        let points = single_value_cuts(&graph);
        prop_assert!(points.len() > 3, "{points:?}");
        let cuts: Vec<_> = points.into_iter().zip(picks).filter(|(_, pick)| *pick).map(|(cut, _)| cut).collect();
        let chain = graph.chain(&cuts).unwrap();
        prop_assert_eq!(chain.len(), cuts.len() + 1);
        for (pair, cut) in chain.windows(2).zip(&cuts) {
            prop_assert_eq!(&signature(&pair[0]).1, &signature(&pair[1]).0);
            prop_assert_eq!(names(&pair[0], &pair[0].outputs), std::slice::from_ref(cut));
        }
        prop_assert_eq!(chain.iter().map(|part| part.nodes.len()).sum::<usize>(), graph.nodes.len());
        prop_assert_eq!(signature(&chain[0]).0, signature(&graph).0);
        prop_assert_eq!(signature(&chain[cuts.len()]).1, signature(&graph).1);
    }

    #[test]
    fn any_cuts_in_order_give_a_chain_whose_signatures_meet(picks in prop::collection::vec(any::<bool>(), 4)) {
        let graph = skipping();
        let cuts: Vec<_> =
            ["a", "b", "c"].into_iter().zip(picks).filter(|(_, pick)| *pick).map(|(cut, _)| cut.to_owned()).collect();
        let chain = graph.chain(&cuts).unwrap();
        for pair in chain.windows(2) {
            prop_assert_eq!(&signature(&pair[0]).1, &signature(&pair[1]).0);
        }
        prop_assert_eq!(chain.iter().map(|part| part.nodes.len()).sum::<usize>(), graph.nodes.len());
    }
}
