//! Equations, losses and transforms: shapes with symbolic dimensions, and what contradicts itself.

use crate::graph_file::*;

fn einsum(equation: &str, x: &str, others: &[TensorPart]) -> String {
    let mut inputs = vec!["x"];
    inputs.extend(others.iter().map(|other| other.name.as_str()));
    let node = node("Einsum", &inputs, &["y"]).text("equation", equation);
    y_of(17, x, vec![node], others.to_vec())
}

#[test]
fn equations_keep_symbols() {
    let w = || [floats("w", &[3, 5])];
    assert_eq!(
        einsum("bij,jk->bik", "batch,2,3", &w()),
        "y: FP32[batch, 2, 5]"
    );
    assert_eq!(
        einsum("...j, jk", "batch,2,3", &w()),
        "y: FP32[batch, 2, 5]"
    );
    assert_eq!(einsum("bii->ib", "batch,4,4", &[]), "y: FP32[4, batch]");
    assert_eq!(einsum("ij->", "batch,4", &[]), "y: FP32[]");
}

#[test]
fn equations_that_do_not_fit_are_refused() {
    let expected = "expected letters for the dimensions of each input, then -> and some of them";
    for equation in [
        "ij->ik",
        "ij->ii",
        "i1->i",
        "....ij->j",
        "ij->i->j",
        "......i->i",
    ] {
        assert_eq!(
            einsum(equation, "batch,4", &[]),
            format!("node \"y_node\" (Einsum): attribute equation is {equation:?}, {expected}")
        );
    }
    assert_eq!(
        einsum("ijk->i", "batch,4", &[]),
        "node \"y_node\" (Einsum): input 0 has shape [batch, 4], expected the dimensions that ijk->i names"
    );
    assert_eq!(
        einsum("ij,jk->ik", "batch,4", &[floats("w", &[3, 5])]),
        "node \"y_node\" (Einsum): input 1 has shape [3, 5], expected the dimensions that ij,jk->ik names"
    );
}

#[test]
fn a_transform_of_a_symbolic_batch_keeps_it() {
    let transform = |one_sided| {
        let node = node("DFT", &["x"], &["y"]).int("onesided", one_sided);
        y_of(17, "batch,10,1", vec![node], Vec::new())
    };
    assert_eq!(transform(0), "y: FP32[batch, 10, 2]");
    assert_eq!(transform(1), "y: FP32[batch, 6, 2]");
    let node = node("DFT", &["x"], &["y"]).int("axis", 2);
    assert_eq!(
        y_of(17, "batch,10,1", vec![node], Vec::new()),
        "node \"y_node\" (DFT): axis is 2, expected any dimension but the last"
    );
}

#[test]
fn a_loss_without_reduction_has_the_shape_of_the_targets() {
    let loss = |targets: &[i64], reduction: &str| {
        let count = targets.iter().product::<i64>();
        let mut classes = integers("t", &vec![0; usize::try_from(count).unwrap()]);
        classes.dims = targets.to_vec();
        let node = node("SoftmaxCrossEntropyLoss", &["x", "t"], &["y"]);
        y_of(
            13,
            "n,5,4",
            vec![node.text("reduction", reduction)],
            vec![classes],
        )
    };
    assert_eq!(loss(&[2, 4], "none"), "y: FP32[2, 4]");
    assert_eq!(loss(&[2, 4], "mean"), "y: FP32[]");
    assert_eq!(
        loss(&[2, 3], "sum"),
        "node \"y_node\" (SoftmaxCrossEntropyLoss): inputs have the shapes [n, 5, 4] and [2, 3], which do not match: \
         targets have the dimensions of the scores but the second"
    );
}

#[test]
fn the_number_of_greatest_elements_is_a_size() {
    let top = |opset, count| {
        let node = node("TopK", &["x", "k"], &["y", "i"]);
        y_of(opset, "batch,5", vec![node], vec![integers("k", &[count])])
    };
    assert_eq!(top(11, 3), "y: FP32[batch, 3]");
    assert_eq!(
        top(11, 6),
        "node \"y_node\" (TopK): k is 6, expected 0 to 5, the size of dimension 1"
    );
    let old = node("TopK", &["x"], &["y", "i"]).int("k", 2);
    assert_eq!(
        y_of(9, "batch,5", vec![old], Vec::new()),
        "y: FP32[batch, 2]"
    );
}

#[test]
fn trees_that_meet_themselves_are_refused() {
    let empty = |name: &str, kind| TensorPart {
        name: name.to_owned(),
        dims: vec![1],
        kind,
        ..TensorPart::default()
    };
    let tensor = |name: &str| TensorPart {
        floats: vec![1.0],
        ..empty(name, FLOAT)
    };
    let modes = TensorPart {
        raw: vec![0],
        ..empty("", 2)
    };
    let mut ensemble = node("TreeEnsemble", &["x"], &["y"])
        .int("n_targets", 1)
        .tensor("nodes_splits", tensor(""))
        .tensor("leaf_weights", tensor(""))
        .tensor("nodes_modes", modes);
    for (name, value) in [
        ("nodes_featureids", 0),
        ("nodes_truenodeids", 0),
        ("nodes_trueleafs", 0),
        ("nodes_falsenodeids", 0),
        ("nodes_falseleafs", 1),
        ("leaf_targetids", 0),
        ("tree_roots", 0),
    ] {
        ensemble = ensemble.ints(name, &[value]);
    }
    ensemble.domain = "ai.onnx.ml".to_owned();
    assert_eq!(
        y_of(17, "batch,1", vec![ensemble], Vec::new()),
        "node \"y_node\" (ai.onnx.ml.TreeEnsemble): attribute tree_roots is of 1 nodes and 1 leaves, expected trees of \
         nodes that exist, each reached once, with lists of one length"
    );
}
