//! What models have in common: prefixes of pairs and groups, and sub-networks in the middle, by content.

use blockflow::graph::{Graph, Segment, Sharing, share};

use crate::graph_file::{Model, NodePart, TensorPart, floats, model, node};

/// A weight of 4 × 4 elements that differ from those of another seed.
fn trained(name: &str, seed: f32) -> TensorPart {
    let mut weight = floats(name, &[4, 4]);
    weight.floats[0] = seed;
    weight
}

/// Layers one after the other, named by their outputs: `r` is a Relu, `n` a Neg, a number a product with that weight.
fn layers(prefix: &str, layers: &str) -> Model {
    let mut nodes: Vec<NodePart> = Vec::new();
    let mut weights = Vec::new();
    let mut last = "x".to_owned();
    let count = layers.chars().count();
    for (place, layer) in layers.chars().enumerate() {
        let output = if place + 1 == count {
            "y".to_owned()
        } else {
            format!("{prefix}{place}")
        };
        match layer {
            'r' => nodes.push(node("Relu", &[&last], &[&output])),
            'n' => nodes.push(node("Neg", &[&last], &[&output])),
            digit => {
                let weight = format!("{prefix}w{place}");
                let seed = digit.to_digit(10).unwrap() as u16;
                weights.push(trained(&weight, f32::from(seed)));
                nodes.push(node("MatMul", &[&last, &weight], &[&output]));
            }
        }
        last = output;
    }
    model(17, "batch,4", nodes, weights)
}

fn sharing(files: &[Model]) -> Sharing {
    let graphs: Vec<Graph> = files.iter().map(|file| file.read().unwrap()).collect();
    share(&graphs.iter().collect::<Vec<_>>(), &mut |_| ())
}

fn ends(place: &Segment) -> (usize, String) {
    (
        place.graph,
        format!("{} -> {}", place.inputs.join(" "), place.outputs.join(" ")),
    )
}

fn place(graph: usize, ends: &str) -> (usize, String) {
    (graph, ends.to_owned())
}

const WEIGHT: u64 = 64;

#[test]
fn equal_layers_from_the_inputs_on_are_a_prefix_whatever_their_names() {
    let seen = sharing(&[layers("a", "1r2r3"), layers("b", "1r2n4")]);
    assert_eq!(seen.prefixes.len(), 1);
    let prefix = &seen.prefixes[0];
    assert_eq!((prefix.nodes, prefix.saved_bytes), (3, 2 * WEIGHT));
    let places: Vec<_> = prefix.places.iter().map(ends).collect();
    assert_eq!(places, [place(0, "x -> a2"), place(1, "x -> b2")]);
    assert_eq!(seen.segments, []);
    assert_eq!(
        (seen.weight_bytes, seen.distinct_bytes),
        (6 * WEIGHT, 4 * WEIGHT)
    );
}

#[test]
fn of_several_models_each_group_with_a_longer_prefix_is_told() {
    let seen = sharing(&[
        layers("a", "1r2r3"),
        layers("b", "1r2r4"),
        layers("c", "1r5r6"),
    ]);
    let groups: Vec<_> = seen
        .prefixes
        .iter()
        .map(|prefix| {
            let graphs: Vec<_> = prefix.places.iter().map(|place| place.graph).collect();
            (graphs, prefix.nodes, prefix.saved_bytes)
        })
        .collect();
    assert_eq!(
        groups,
        [(vec![0, 1], 4, 2 * WEIGHT), (vec![0, 1, 2], 2, 2 * WEIGHT)]
    );
}

#[test]
fn equal_layers_after_different_ones_are_a_segment() {
    let seen = sharing(&[layers("a", "1r2r3rn"), layers("b", "9n2r3rr4")]);
    assert_eq!(seen.prefixes, []);
    assert_eq!(seen.segments.len(), 1);
    let segment = &seen.segments[0];
    assert_eq!((segment.nodes, segment.saved_bytes), (4, 2 * WEIGHT));
    let places: Vec<_> = segment.places.iter().map(ends).collect();
    assert_eq!(places, [place(0, "a1 -> a5"), place(1, "b1 -> b5")]);
}

#[test]
fn other_weights_or_another_order_share_nothing() {
    let seen = sharing(&[layers("a", "1r2r"), layers("b", "3r4r")]);
    assert_eq!((seen.prefixes, seen.segments), (Vec::new(), Vec::new()));
    let seen = sharing(&[layers("a", "n1r2"), layers("b", "r2r1")]);
    assert_eq!(seen.prefixes, []);
    let nodes: Vec<_> = seen.segments.iter().map(|segment| segment.nodes).collect();
    assert_eq!(nodes, [2, 1], "the layers alone, with what follows alike");
}

#[test]
fn a_model_compared_with_itself_is_all_prefix() {
    let seen = sharing(&[layers("a", "1r2r3"), layers("b", "1r2r3")]);
    assert_eq!(seen.prefixes[0].nodes, 5);
    assert_eq!(seen.segments, []);
    assert_eq!(seen.distinct_bytes * 2, seen.weight_bytes);
}

/// Two equal products around an operator that differs: together they would not be convex.
#[test]
fn what_a_difference_interrupts_is_two_segments() {
    let around = |prefix: &str, middle: &str| {
        let name = |part: &str| format!("{prefix}{part}");
        let nodes = vec![
            node(middle, &["x"], &[&name("in")]),
            node("MatMul", &[&name("in"), &name("w1")], &[&name("a")]),
            node(middle, &[&name("a")], &[&name("b")]),
            node("MatMul", &[&name("b"), &name("w2")], &[&name("c")]),
            node("Add", &[&name("a"), &name("c")], &["y"]),
        ];
        let weights = vec![trained(&name("w1"), 1.0), trained(&name("w2"), 2.0)];
        model(17, "batch,4", nodes, weights)
    };
    let seen = sharing(&[around("a", "Neg"), around("b", "Abs")]);
    let mut found: Vec<_> = seen
        .segments
        .iter()
        .map(|one| ends(&one.places[0]))
        .collect();
    found.sort();
    assert_eq!(found, [place(0, "ab aa -> y"), place(0, "ain -> aa")]);
}
