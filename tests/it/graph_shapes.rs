//! Shapes that inference derives, operator by operator.

use crate::graph_file::*;

/// Checks the output `y` of one node that reads `x` of the given shape, and weights of the given sizes.
fn check(x: &str, node: NodePart, weights: &[(&str, &[i64])], expected: &str) {
    let weights = weights
        .iter()
        .map(|(name, dims)| floats(name, dims))
        .collect();
    check_with(x, node, weights, expected);
}

fn check_with(x: &str, node: NodePart, weights: Vec<TensorPart>, expected: &str) {
    let shown = format!("{node:?}");
    assert_eq!(
        y_of(17, x, vec![node], weights),
        format!("y: FP32[{expected}]"),
        "{shown}"
    );
}

#[test]
fn windows_change_sizes_as_the_specification_says() {
    let pool = || node("MaxPool", &["x"], &["y"]).ints("kernel_shape", &[3]);
    let half = || pool().ints("strides", &[2]);
    for (node, size, expected) in [
        (pool(), 8, 6),
        (half(), 8, 3),
        (half().ints("pads", &[1, 1]), 7, 4),
        (half().int("ceil_mode", 1), 8, 4),
        (half().int("ceil_mode", 1), 7, 3),
        // A last window that lay in the padding alone is left out.
        (
            pool()
                .ints("strides", &[3])
                .ints("pads", &[1, 1])
                .int("ceil_mode", 1),
            5,
            2,
        ),
        (pool().ints("dilations", &[2]), 8, 4),
        (half().text("auto_pad", "SAME_UPPER"), 7, 4),
        (half().text("auto_pad", "SAME_LOWER"), 8, 4),
        (half().text("auto_pad", "VALID"), 8, 3),
        (half().text("auto_pad", "VALID").ints("pads", &[1, 1]), 8, 3),
    ] {
        check(
            &format!("n,2,{size}"),
            node,
            &[],
            &format!("n, 2, {expected}"),
        );
    }
}

#[test]
fn a_size_that_is_only_a_name_survives_what_leaves_it_as_it_is() {
    let conv = |pads: &[i64]| node("Conv", &["x", "w"], &["y"]).ints("pads", pads);
    check(
        "n,3,h,w",
        conv(&[1, 1, 1, 1]),
        &[("w", &[8, 3, 3, 3])],
        "n, 8, h, w",
    );
    check(
        "n,3,h,w",
        conv(&[0, 1, 0, 1]),
        &[("w", &[8, 3, 3, 3])],
        "n, 8, ?, w",
    );
    let pads = |values: &[i64]| vec![integers("p", values)];
    check_with(
        "n,h",
        node("Pad", &["x", "p"], &["y"]),
        pads(&[0, 1, 0, 1]),
        "n, ?",
    );
    check_with(
        "n,h",
        node("Pad", &["x", "p"], &["y"]),
        pads(&[0, -1, 0, 1]),
        "n, h",
    );
    check(
        "n,h,3",
        node("Transpose", &["x"], &["y"]).ints("perm", &[2, 0, 1]),
        &[],
        "3, n, h",
    );
    check(
        "n,h,3",
        node("ReduceMax", &["x"], &["y"]).ints("axes", &[-1]),
        &[],
        "n, h, 1",
    );
    check(
        "n,h,3",
        node("Concat", &["x", "x"], &["y"]).int("axis", -1),
        &[],
        "n, h, 6",
    );
    check("n,h,1", node("Flatten", &["x"], &["y"]), &[], "n, h");
    check("n,h,2", node("Flatten", &["x"], &["y"]), &[], "n, ?");
    check(
        "n,h,3,4",
        node("GlobalAveragePool", &["x"], &["y"]),
        &[],
        "n, h, 1, 1",
    );
}

#[test]
fn products_of_matrices_drop_the_inner_size() {
    check(
        "n,5,4",
        node("MatMul", &["x", "w"], &["y"]),
        &[("w", &[4, 3])],
        "n, 5, 3",
    );
    check(
        "n,5,4",
        node("MatMul", &["x", "w"], &["y"]),
        &[("w", &[4])],
        "n, 5",
    );
    check(
        "4",
        node("MatMul", &["x", "w"], &["y"]),
        &[("w", &[2, 4, 3])],
        "2, 3",
    );
    check(
        "n,1,5,4",
        node("MatMul", &["x", "w"], &["y"]),
        &[("w", &[6, 4, 3])],
        "n, 6, 5, 3",
    );
    let gemm = || node("Gemm", &["x", "w", "b"], &["y"]);
    check(
        "n,4",
        gemm().int("transB", 1),
        &[("w", &[3, 4]), ("b", &[3])],
        "n, 3",
    );
    check(
        "4,n",
        gemm().int("transA", 1),
        &[("w", &[4, 3]), ("b", &[1])],
        "n, 3",
    );
}

#[test]
fn broadcasting_stretches_ones_and_keeps_names() {
    for (x, w, expected) in [
        ("n,4", &[4][..], "n, 4"),
        ("n,1", &[4], "n, 4"),
        ("n,4", &[1, 1, 1], "1, n, 4"),
        ("n,1,4", &[3, 1], "n, 3, 4"),
        ("n,4", &[], "n, 4"),
    ] {
        check(x, node("Mul", &["x", "w"], &["y"]), &[("w", w)], expected);
    }
}

#[test]
fn slices_are_clamped_and_count_backwards() {
    let slice = |start: i64, end: i64, step: i64, expected: &str| {
        let lists = [("s", start), ("e", end), ("a", 1), ("t", step)];
        let weights = lists
            .iter()
            .map(|(name, value)| integers(name, &[*value]))
            .collect();
        check_with(
            "n,10",
            node("Slice", &["x", "s", "e", "a", "t"], &["y"]),
            weights,
            expected,
        );
    };
    slice(2, 5, 1, "n, 3");
    slice(-3, i64::MAX, 1, "n, 3");
    slice(0, 100, 3, "n, 4");
    slice(5, 2, 1, "n, 0");
    slice(-1, i64::MIN, -1, "n, 10");
    slice(8, 2, -3, "n, 2");
    slice(100, -100, -1, "n, 10");
}

#[test]
fn reshape_solves_for_the_one_open_size() {
    let reshape = |x: &str, target: &[i64], expected: &str| {
        check_with(
            x,
            node("Reshape", &["x", "t"], &["y"]),
            vec![integers("t", target)],
            expected,
        );
    };
    reshape("n,8,4", &[0, -1], "n, 32");
    reshape("n,8,4", &[-1, 4], "?, 4");
    reshape("n,8,4", &[-1, 32], "n, 32");
    reshape("n,8,4", &[0, 2, -1, 4], "n, 2, 4, 4");
    reshape("n,h,4", &[0, 0, 2, 2], "n, h, 2, 2");
    reshape("n,h,4", &[0, -1, 4], "n, h, 4");
    reshape("8,4", &[-1], "32");
}

#[test]
fn shapes_spread_by_expand_come_from_both_sides() {
    let expand = node("Expand", &["x", "t"], &["y"]);
    check_with(
        "n,1,4",
        expand.clone(),
        vec![integers("t", &[3, 1])],
        "n, 3, 4",
    );
    check_with("1", expand, vec![integers("t", &[2, 5])], "2, 5");
}
