//! Identity by content: what changes a hash of a graph, and what does not.

use proptest::prelude::*;

use blockflow::graph::{Graph, Hashes};

use crate::graph_file::{Model, data, floats, integers, model, node};

/// x · w1 → relu → · w2 → + skip → reshape.
fn network() -> Model {
    let nodes = vec![
        node("MatMul", &["x", "w1"], &["a"]),
        node("LeakyRelu", &["a"], &["b"]).float("alpha", 0.1),
        node("MatMul", &["b", "w2"], &["c"]),
        node("Add", &["c", "a"], &["d"]),
        node("Reshape", &["d", "shape"], &["y"]),
    ];
    let mut w2 = floats("w2", &[4, 4]);
    w2.floats[3] = 0.25;
    let shape = integers("shape", &[-1, 2, 2]);
    model(17, "batch,4", nodes, vec![floats("w1", &[4, 4]), w2, shape])
}

fn hashes(file: &Model) -> Hashes {
    file.read().unwrap().hashes(&mut |_| ())
}

#[test]
fn names_have_no_part_in_a_hash() {
    let mut renamed = network();
    let graph = renamed.graph_mut();
    graph.name = "another".to_owned();
    for node in &mut graph.nodes {
        node.name.push('!');
        let names = node.inputs.iter_mut().chain(&mut node.outputs);
        names.for_each(|name| name.push('?'));
    }
    graph
        .weights
        .iter_mut()
        .for_each(|weight| weight.name.push('?'));
    let ends = graph.inputs.iter_mut().chain(&mut graph.outputs);
    ends.for_each(|end| end.name.push('?'));
    assert_eq!(hashes(&renamed), hashes(&network()));
}

#[test]
fn nor_has_the_batch_size_a_file_is_exported_for() {
    let mut fixed = network();
    let one = model(17, "1,4", Vec::new(), Vec::new())
        .graph_mut()
        .inputs
        .clone();
    fixed.graph_mut().inputs = one;
    assert_eq!(hashes(&fixed), hashes(&network()));
}

#[test]
fn other_weights_are_another_content_of_the_same_structure() {
    let before = hashes(&network());
    let mut trained = network();
    trained.graph_mut().weights[0].floats[5] = 0.75;
    let after = hashes(&trained);
    assert_eq!(after.structure, before.structure);
    assert_ne!(after.weights, before.weights);
    assert_ne!(after.content, before.content);
}

#[test]
fn weights_that_change_places_are_other_weights() {
    let mut swapped = network();
    swapped.graph_mut().weights[0].name = "w2".to_owned();
    swapped.graph_mut().weights[1].name = "w1".to_owned();
    let (before, after) = (hashes(&network()), hashes(&swapped));
    assert_eq!(after.structure, before.structure);
    assert_ne!(after.weights, before.weights);
    assert_ne!(after.content, before.content);
}

#[test]
fn whatever_computes_something_else_is_another_structure() {
    let before = hashes(&network());
    type Change = (&'static str, fn(&mut Model));
    let changes: [Change; 6] = [
        ("a parameter", |file| {
            file.graph_mut().nodes[1].attributes[0].float = 0.2;
        }),
        ("an operator", |file| {
            file.graph_mut().nodes[3].operator = "Mul".to_owned();
        }),
        ("the wiring", |file| {
            file.graph_mut().nodes[3].inputs[1] = "b".to_owned();
        }),
        ("the order of inputs", |file| {
            file.graph_mut().nodes[3].inputs.reverse();
        }),
        ("a shape that is a setting", |file| {
            file.graph_mut().weights[2] = integers("shape", &[-1, 4, 1]);
        }),
        ("an output", |file| {
            file.graph_mut().outputs[0].name = "d".to_owned();
        }),
    ];
    for (what, change) in changes {
        let mut file = network();
        change(&mut file);
        let after = hashes(&file);
        assert_ne!(after.structure, before.structure, "{what}");
        assert_ne!(after.content, before.content, "{what}");
    }
}

#[test]
fn a_hash_reads_every_byte_of_the_weights_once() {
    let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
    let mut seen = 0;
    graph.hashes(&mut |bytes| seen += bytes);
    let total = graph.costs(&Default::default()).total(&graph).weight_bytes;
    assert_eq!(seen, total);
}

proptest! {
    #[test]
    fn the_order_of_nodes_and_weights_in_the_file_has_no_part(seed in any::<u64>()) {
        let mut shuffled = network();
        let graph = shuffled.graph_mut();
        let mut random = fastrand::Rng::with_seed(seed);
        random.shuffle(&mut graph.nodes);
        random.shuffle(&mut graph.weights);
        prop_assert_eq!(hashes(&shuffled), hashes(&network()));
    }
}
