//! Bodies, containers and indices run on data: results, and refusals of data that does not fit.

use blockflow::engine::EngineError;
use blockflow::graph::{Combine, Index, Op};
use blockflow::types::Tensor;

use crate::engine_support::{bools, f32s, i64s, list, noise, prepare_graph, run_op, values_f32};
use crate::graph_file::*;

/// Reads a model of one input `x`, and runs it.
fn run(file: &Model, x: &Tensor) -> Result<Vec<Tensor>, EngineError> {
    let graph = file.read().unwrap_or_else(|error| panic!("{error}"));
    let signature = graph.signature().unwrap();
    prepare_graph(&graph, signature)?
        .session()?
        .run(std::slice::from_ref(x))
}

fn message(result: Result<Vec<Tensor>, EngineError>) -> String {
    result.unwrap_err().to_string()
}

/// A loop that doubles `x` until its sum is at least 100, at most `most` times; with every state on the way.
fn doubling(most: i64) -> Model {
    let nodes = vec![
        node("Add", &["state", "state"], &["next"]),
        node("ReduceSum", &["next"], &["sum"]).int("keepdims", 0),
        node("Less", &["sum", "limit"], &["goes_on"]),
        node("Identity", &["next"], &["element"]),
    ];
    let body = body(
        &["i", "go", "state"],
        nodes,
        &["goes_on", "next", "element"],
    );
    let limit = TensorPart {
        dims: vec![],
        floats: vec![100.0],
        ..floats("limit", &[1])
    };
    let yes = TensorPart {
        dims: vec![],
        kind: 9,
        int32s: vec![1],
        name: "yes".to_owned(),
        ..TensorPart::default()
    };
    let nodes = vec![node("Loop", &["most", "yes", "x"], &["last", "y"]).graph("body", body)];
    model(17, "2", nodes, vec![scalar("most", most), limit, yes])
}

#[test]
fn a_loop_ends_by_its_count_or_by_its_condition() {
    let x = f32s(&[2], &[1.0, 2.0]);
    let twice = run(&doubling(2), &x).unwrap();
    assert_eq!(values_f32(&twice[0]), [2.0, 4.0, 4.0, 8.0]);
    let many = run(&doubling(i64::MAX), &x).unwrap();
    assert_eq!(many[0].shape(), [6, 2]);
    let none = run(&doubling(-5), &x).unwrap();
    assert_eq!(none[0].shape(), [0, 2]);
}

#[test]
fn a_loop_that_nothing_would_end_is_refused() {
    let body = body(
        &["i", "go", "state"],
        vec![
            node("Identity", &["go"], &["on"]),
            node("Neg", &["state"], &["next"]),
        ],
        &["on", "next"],
    );
    let nodes = vec![node("Loop", &["", "", "x"], &["y"]).graph("body", body)];
    assert_eq!(
        message(run(
            &model(17, "2", nodes, vec![]),
            &f32s(&[2], &[1.0, 2.0])
        )),
        "operator \"y_node\" (Loop) failed: neither a trip count nor a condition ends it"
    );
}

#[test]
fn a_branch_that_sizes_forbid_fails_only_where_it_runs() {
    let weights = vec![integers("zero", &[0]), integers("flat", &[-1])];
    let nodes = vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["any"]).int("to", 9),
        node("If", &["any"], &["h"])
            .graph(
                "then_branch",
                body(&[], vec![node("Squeeze", &["x", "zero"], &["t"])], &["t"]),
            )
            .graph(
                "else_branch",
                body(&[], vec![node("Neg", &["x"], &["t"])], &["t"]),
            ),
        node("Reshape", &["h", "flat"], &["y"]),
    ];
    let file = model(17, "2", nodes, weights);
    let outputs = run(&file, &f32s(&[2], &[-1.0, 0.0])).unwrap();
    assert_eq!(values_f32(&outputs[0]), [1.0, 0.0]);
    assert_eq!(
        message(run(&file, &f32s(&[2], &[-1.0, 1.0]))),
        "operator \"h_node\" (If) failed: operator \"t_node\" (Squeeze) failed: dimension 0 of [2] is not 1"
    );
}

/// A loop that puts out the first three elements of `x`.
fn first_three() -> Model {
    let nodes = vec![
        node("Identity", &["go"], &["on"]),
        node("Gather", &["x", "i"], &["element"]),
    ];
    let body = body(&["i", "go"], nodes, &["on", "element"]);
    let nodes = vec![node("Loop", &["three"], &["y"]).graph("body", body)];
    model(17, "n", nodes, vec![scalar("three", 3)])
}

#[test]
fn a_failure_in_a_body_names_the_node_inside_and_leaves_nothing_behind() {
    let graph = first_three().read().unwrap();
    let prepared = prepare_graph(&graph, graph.signature().unwrap()).unwrap();
    let mut session = prepared.session().unwrap();
    for _ in 0..2 {
        let three = session.run(&[f32s(&[4], &[5.0, 6.0, 7.0, 8.0])]).unwrap();
        assert_eq!(values_f32(&three[0]), [5.0, 6.0, 7.0]);
        assert_eq!(
            message(session.run(&[f32s(&[2], &[5.0, 6.0])])),
            "operator \"y_node\" (Loop) failed: operator \"element_node\" (Gather) failed: index 2 lies outside of \
             a dimension of 2"
        );
    }
}

#[test]
fn weights_that_bodies_share_are_copied_once() {
    let branch = |name: &str| {
        let sum = node(name, &["x", "w"], &["t"]);
        body(&[], vec![sum], &["t"])
    };
    let nodes = vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["any"]).int("to", 9),
        node("If", &["any"], &["h"])
            .graph("then_branch", branch("Add"))
            .graph("else_branch", branch("Sub")),
        node("Add", &["h", "w"], &["y"]),
    ];
    let graph = model(17, "64", nodes, vec![floats("w", &[64])])
        .read()
        .unwrap();
    let prepared = prepare_graph(&graph, graph.signature().unwrap()).unwrap();
    assert_eq!(prepared.weight_bytes(), 256);
    let outputs = prepared
        .session()
        .unwrap()
        .run(&[f32s(&[64], &[0.0; 64])])
        .unwrap();
    assert_eq!(values_f32(&outputs[0]), [0.0; 64]);
}

#[test]
fn positions_outside_of_a_sequence_are_refused() {
    let file = |operator: &str, at: i64| {
        let (inputs, last): (&[&str], _) = match operator {
            "SequenceInsert" => (&["s", "x", "at"], true),
            _ => (&["s", "at"], operator == "SequenceErase"),
        };
        let mut nodes = vec![node("SequenceConstruct", &["x", "x"], &["s"])];
        if last {
            nodes.push(node(operator, inputs, &["t"]));
            nodes.push(node("ConcatFromSequence", &["t"], &["y"]).int("axis", 0));
        } else {
            nodes.push(node(operator, inputs, &["y"]));
        }
        model(17, "n", nodes, vec![scalar("at", at)])
    };
    let x = f32s(&[1], &[4.0]);
    for (operator, inside, outside, length) in [
        ("SequenceAt", [-2, 1], [-3, 2], 1),
        ("SequenceInsert", [-2, 2], [-3, 3], 3),
        ("SequenceErase", [-2, 1], [-3, 2], 1),
    ] {
        for at in inside {
            assert_eq!(run(&file(operator, at), &x).unwrap()[0].shape(), [length]);
        }
        for at in outside.into_iter().chain([i64::MIN, i64::MAX]) {
            let message = message(run(&file(operator, at), &x));
            let expected = format!("position {at} lies outside of a sequence of 2");
            assert!(message.ends_with(&expected), "{message}");
        }
    }
}

#[test]
fn indices_outside_of_a_dimension_are_refused() {
    let x = || Some(f32s(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    let outside = |op: &Op, inputs: &[Option<Tensor>]| {
        let constant = vec![false; inputs.len()];
        message(run_op(op, inputs, &constant, &[f32s(&[1], &[0.0])]))
    };
    for index in [2, -3, i64::MAX, i64::MIN] {
        let expected = format!("index {index} lies outside of a dimension of 2");
        let indices = || Some(i64s(&[1, 1], &[index]));
        let update = || Some(f32s(&[1, 1], &[0.0]));
        let row = || Some(f32s(&[1, 3], &[0.0; 3]));
        let combine = Combine::Add;
        let cases: [(Index, Vec<Option<Tensor>>); 4] = [
            (Index::GatherElements { axis: 0 }, vec![x(), indices()]),
            (Index::GatherNd { batch_dims: 0 }, vec![x(), indices()]),
            (
                Index::ScatterElements { axis: 0, combine },
                vec![x(), indices(), update()],
            ),
            (Index::ScatterNd { combine }, vec![x(), indices(), row()]),
        ];
        for (op, inputs) in cases {
            let message = outside(&Op::Index(op), &inputs);
            assert!(message.ends_with(&expected), "{op:?}: {message}");
        }
        let gather = outside(&Op::Gather { axis: 0 }, &[x(), Some(list(&[index]))]);
        assert!(gather.ends_with(&expected), "{gather}");
    }
    let cache = || Some(f32s(&[1, 2, 1], &[0.0; 2]));
    for start in [2, -1, i64::MAX] {
        let op = Op::Index(Index::TensorScatter {
            axis: 1,
            circular: false,
        });
        let update = Some(f32s(&[1, 1, 1], &[0.0]));
        let message = outside(&op, &[cache(), update, Some(list(&[start]))]);
        assert!(
            message.ends_with("lies outside of a dimension of 2"),
            "{message}"
        );
    }
    let op = Op::Index(Index::ReverseSequence {
        batch_axis: 0,
        time_axis: 1,
    });
    for length in [-1, 4, i64::MIN] {
        let message = outside(&op, &[x(), Some(list(&[length, 1]))]);
        assert!(
            message.ends_with(&format!("a length of {length} in 3 steps")),
            "{message}"
        );
    }
}

#[test]
fn indices_that_reach_beyond_other_dimensions_are_refused() {
    let x = f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let indices = i64s(&[1, 3], &[0, 0, 0]);
    let op = Op::Index(Index::GatherElements { axis: 0 });
    let result = run_op(
        &op,
        &[Some(x.clone()), Some(indices)],
        &[false; 2],
        &[f32s(&[1, 3], &[0.0; 3])],
    );
    assert!(message(result).ends_with("indices of shape [1, 3] for data of shape [2, 2]"));
    let op = Op::Index(Index::Compress { axis: Some(0) });
    let condition = bools(&[3], &[1, 1, 1]);
    let result = run_op(
        &op,
        &[Some(x), Some(condition)],
        &[false; 2],
        &[f32s(&[3, 2], &[0.0; 6])],
    );
    assert!(message(result).ends_with("a condition of shape [3] on a dimension of 2"));
}

#[test]
fn a_slice_backwards_starts_at_the_first_element_at_least() {
    let x = f32s(&[3], &[1.0, 2.0, 3.0]);
    let lists = [-9, -9, 0, -1].map(|value| Some(list(&[value])));
    let [starts, ends, axes, steps] = lists;
    let inputs = [Some(x), starts, ends, axes, steps];
    let sliced = run_op(&Op::Slice, &inputs, &[false; 5], &[f32s(&[1], &[1.0])]).unwrap();
    assert_eq!(values_f32(&sliced[0]), [1.0]);
}

/// FlexAttention of `x` (2, 4 heads, 3, 8) over keys and values of 2 heads.
fn flex_attention(change: impl Fn(NodePart) -> NodePart) -> Model {
    let node = node("FlexAttention", &["x", "k", "v"], &["y"]);
    let attention = NodePart {
        domain: "ai.onnx.preview".to_owned(),
        ..change(node)
    };
    let heads = |name, seed| TensorPart {
        dims: vec![2, 2, 5, 8],
        floats: noise(160, seed),
        ..floats(name, &[160])
    };
    model(
        26,
        "2,4,3,8",
        vec![attention],
        vec![heads("k", 1), heads("v", 2)],
    )
}

#[test]
fn functions_of_scores_and_probabilities_are_applied_between_the_steps_of_attention() {
    let x = f32s(&[2, 4, 3, 8], &noise(192, 3));
    let one = TensorPart {
        dims: vec![],
        floats: vec![1.0],
        ..floats("one", &[1])
    };
    let same = |operator: &str| {
        let nodes = vec![node(operator, &["given", "one"], &["made"])];
        let mut graph = body(&["given"], nodes, &["made"]);
        graph.weights.push(one.clone());
        graph
    };
    let plain = run(&flex_attention(|node| node), &x).unwrap();
    let whole = |node: NodePart| {
        node.graph("score_mod", same("Add"))
            .graph("prob_mod", same("Mul"))
    };
    let steps = run(&flex_attention(whole), &x).unwrap();
    assert_eq!(steps[0].shape(), [2, 4, 3, 8]);
    for (seen, expected) in values_f32(&steps[0]).iter().zip(values_f32(&plain[0])) {
        assert!(
            (seen - expected).abs() < 1e-5,
            "{seen}, expected {expected}"
        );
    }
    let shifted = run(
        &flex_attention(|node| node.graph("prob_mod", same("Add"))),
        &x,
    )
    .unwrap();
    assert_ne!(values_f32(&shifted[0]), values_f32(&plain[0]));
}

#[test]
fn a_function_of_scores_has_one_input() {
    let two = body(
        &["a", "b"],
        vec![node("Add", &["a", "b"], &["made"])],
        &["made"],
    );
    let error = flex_attention(|node| node.graph("score_mod", two.clone())).read();
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("\"y_node\"") && error.contains("score_mod"),
        "{error}"
    );
}
