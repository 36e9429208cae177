//! Costs of graphs in graphs, and the honest list of what no formula counts.

use blockflow::types::Bindings;

use crate::graph_file::*;

fn flops(nodes: Vec<NodePart>, weights: Vec<TensorPart>) -> (u64, Vec<&'static str>) {
    let graph = model(19, "5,4", nodes, weights).read().unwrap();
    let costs = graph.costs(&Bindings::new());
    let uncounted = costs.uncounted.keys().copied().collect();
    (costs.total(&graph).flops, uncounted)
}

fn repeated(trips: &str) -> NodePart {
    let inside = vec![
        node("MatMul", &["state", "w"], &["next"]),
        node("Identity", &["go"], &["on"]),
    ];
    let body = body(&["round", "go", "state"], inside, &["on", "next"]);
    node("Loop", &[trips, "", "x"], &["y"]).graph("body", body)
}

#[test]
fn a_body_counts_as_often_as_it_runs() {
    let product = 2 * 5 * 4 * 4;
    let weights = vec![floats("w", &[4, 4]), scalar("trips", 3)];
    let (seen, uncounted) = flops(vec![repeated("trips")], weights);
    assert_eq!((seen, uncounted), (3 * product, vec![]));

    // One row of `x` in each of its 5 steps.
    let inside = vec![
        node("MatMul", &["row", "w"], &["part"]),
        node("Identity", &["part"], &["out"]),
    ];
    let scan = node("Scan", &["x"], &["y"])
        .int("num_scan_inputs", 1)
        .graph("body", body(&["row"], inside, &["out"]));
    let (seen, uncounted) = flops(vec![scan], vec![floats("w", &[4, 4])]);
    assert_eq!((seen, uncounted), (product, vec![]));

    let less = body(&[], vec![node("Neg", &["x"], &["a"])], &["a"]);
    let more = body(&[], vec![node("MatMul", &["x", "w"], &["b"])], &["b"]);
    let branch = vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["is_any"]).int("to", 9),
        node("If", &["is_any"], &["y"])
            .graph("then_branch", less)
            .graph("else_branch", more),
    ];
    let (seen, uncounted) = flops(branch, vec![floats("w", &[4, 4])]);
    assert_eq!((seen, uncounted), (20 + product, vec![]));
}

#[test]
fn what_only_data_decides_is_told_to_be_missing() {
    let nodes = vec![
        node("ReduceMax", &["x"], &["most"]).int("keepdims", 0),
        node("Cast", &["most"], &["trips"]).int("to", 7),
        repeated("trips"),
    ];
    let (seen, uncounted) = flops(nodes, vec![floats("w", &[4, 4])]);
    assert_eq!((seen, uncounted), (20, vec!["Loop"]));
}
