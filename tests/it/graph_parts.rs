//! Cuts at any set of tensors: chains, trees and graphs of parts, what crosses between them, and where one tensor
//! carries all.

use std::collections::HashSet;
use std::path::Path;

use proptest::prelude::*;

use blockflow::graph::{Cost, Extent, Graph, GraphError, Part, ValueId};
use blockflow::types::Bindings;

use crate::graph_file::{data, floats, info, model, node, untyped};

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn names(graph: &Graph, ids: &[ValueId]) -> Vec<String> {
    ids.iter().map(|&id| graph.value(id).name.clone()).collect()
}

/// Shows parts as `inputs -> outputs`.
fn shown(parts: &[Part]) -> Vec<String> {
    let ends = |graph: &Graph| {
        let inputs = names(graph, &graph.inputs).join(" ");
        format!("{inputs} -> {}", names(graph, &graph.outputs).join(" "))
    };
    parts.iter().map(|part| ends(&part.graph)).collect()
}

fn parts(graph: &Graph, cuts: &[&str]) -> Result<Vec<Part>, GraphError> {
    graph.parts(&owned(cuts))
}

fn network(name: &str) -> Graph {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-models");
    Graph::read(&folder.join(format!("{name}.onnx"))).unwrap()
}

fn points(graph: &Graph) -> Vec<String> {
    let points = graph.cut_points(&graph.costs(&Bindings::new()));
    points
        .iter()
        .map(|point| graph.value(point.value).name.clone())
        .collect()
}

/// x → a → b → c → y, where a skips to c.
fn skipping() -> Graph {
    let nodes = vec![
        node("MatMul", &["x", "w"], &["a"]),
        node("Relu", &["a"], &["b"]),
        node("Add", &["b", "a"], &["c"]),
        node("Neg", &["c"], &["y"]),
    ];
    let weights = vec![floats("w", &[4, 4])];
    model(17, "batch,4", nodes, weights).read().unwrap()
}

#[test]
fn heads_that_meet_only_in_the_cut_are_parts_of_their_own() {
    let graph = Graph::read(&data("digits/digits.onnx")).unwrap();
    let parts = parts(&graph, &["features"]).unwrap();
    let expected = [
        "image -> features",
        "features -> digit_logits",
        "features -> parity_logits",
        "features -> legible_logits",
    ];
    assert_eq!(shown(&parts), expected);
    assert!(parts.iter().all(|part| part.added.is_empty()));
    let nodes: usize = parts.iter().map(|part| part.graph.nodes.len()).sum();
    assert_eq!(nodes, graph.nodes.len());
}

#[test]
fn towers_over_one_input_are_joined_after_the_cut() {
    let nodes = vec![
        node("Relu", &["x"], &["left"]),
        node("Exp", &["x"], &["right"]),
        node("Add", &["left", "right"], &["y"]),
    ];
    let graph = model(17, "batch,4", nodes, Vec::new()).read().unwrap();
    let expected = ["x -> left", "x -> right", "left right -> y"];
    assert_eq!(shown(&parts(&graph, &["right", "left"]).unwrap()), expected);
    // One tower alone: the other needs nothing of the cut and serves only what comes after, so it goes there.
    let expected = ["x -> left", "x left -> y"];
    assert_eq!(shown(&parts(&graph, &["left"]).unwrap()), expected);
}

#[test]
fn what_crosses_beside_the_cut_is_an_added_edge() {
    let parts = parts(&skipping(), &["b"]).unwrap();
    assert_eq!(shown(&parts), ["x -> a b", "a b -> y"]);
    assert!(parts[0].added.is_empty());
    assert_eq!(parts[1].added, ["a"]);
}

#[test]
fn a_set_of_cuts_makes_a_graph_of_parts() {
    let nodes = vec![
        node("Relu", &["x"], &["stem"]),
        node("Exp", &["stem"], &["left"]),
        node("Neg", &["stem"], &["right"]),
        node("Abs", &["right"], &["far"]),
        node("Add", &["left", "far"], &["y"]),
    ];
    let graph = model(17, "batch,4", nodes, Vec::new()).read().unwrap();
    let parts = parts(&graph, &["far", "stem", "left"]).unwrap();
    let expected = ["x -> stem", "stem -> left", "stem -> far", "left far -> y"];
    assert_eq!(shown(&parts), expected);
}

#[test]
fn what_is_computed_of_weights_alone_belongs_to_every_part_that_needs_it() {
    let nodes = vec![
        node("Exp", &["w"], &["scale"]),
        node("Mul", &["x", "scale"], &["a"]),
        node("Mul", &["a", "scale"], &["y"]),
    ];
    let graph = model(17, "batch,4", nodes, vec![floats("w", &[4])])
        .read()
        .unwrap();
    let parts = parts(&graph, &["a"]).unwrap();
    assert_eq!(shown(&parts), ["x -> a", "a -> y"]);
    assert!(parts.iter().all(|part| part.graph.find("scale").is_some()));
    assert_eq!(points(&graph), ["a"]);
}

#[test]
fn unused_inputs_and_outputs_that_nothing_computes_stay_with_the_first_part() {
    let nodes = vec![node("Relu", &["x"], &["h"]), node("Neg", &["h"], &["y"])];
    let mut file = model(17, "batch,4", nodes, vec![floats("w", &[4])]);
    file.graph_mut().inputs.push(info("unused", 1, "batch"));
    file.graph_mut().inputs.push(info("passed", 1, "batch"));
    file.graph_mut()
        .outputs
        .extend([untyped("passed"), untyped("w")]);
    let parts = parts(&file.read().unwrap(), &["h"]).unwrap();
    assert_eq!(shown(&parts), ["x unused passed -> h passed w", "h -> y"]);
}

#[test]
fn cuts_that_separate_nothing_are_refused() {
    let constant = node("Exp", &["w"], &["scale"]);
    let nodes = vec![
        constant,
        node("Mul", &["x", "scale"], &["hidden"]),
        node("Neg", &["hidden"], &["y"]),
    ];
    let graph = model(17, "batch,4", nodes, vec![floats("w", &[4])])
        .read()
        .unwrap();
    for (cuts, reason) in [
        (&["x"][..], "is an input of the model"),
        (&["w"], "is a weight, cut at a tensor that is computed"),
        (&["scale"], "is a weight, cut at a tensor that is computed"),
        (&["y"], "nothing is computed after cut \"y\""),
        (
            &["hiden"],
            "has no tensor \"hiden\", did you mean \"hidden\"?",
        ),
        (&["hidden", "hidden"], "is named twice in one cut"),
    ] {
        let error = parts(&graph, cuts).unwrap_err().to_string();
        assert!(error.contains(reason), "{cuts:?}: {error}");
    }
}

#[test]
fn cut_points_are_the_tensors_that_alone_carry_all_that_follows() {
    assert_eq!(points(&skipping()), ["a", "c"]);
    let digits = Graph::read(&data("digits/digits.onnx")).unwrap();
    let found = points(&digits);
    assert!(found.contains(&"features".to_owned()), "{found:?}");
    for name in ["resnet18", "mobilenetv2", "mobilenetv3", "mlp"] {
        let graph = network(name);
        let found: HashSet<_> = points(&graph).into_iter().collect();
        assert!(found.len() > 2, "{name}: {found:?}");
        for node in &graph.nodes {
            let value = graph.value(node.outputs[0].unwrap()).name.clone();
            let alone = graph
                .chain(std::slice::from_ref(&value))
                .is_ok_and(|parts| parts[0].outputs.len() == 1);
            assert_eq!(found.contains(&value), alone, "{name}: {value}");
        }
    }
}

#[test]
fn costs_before_and_after_a_point_add_up() {
    let graph = network("resnet18");
    let costs = graph.costs(&Bindings::from([("N".into(), 3)]));
    let total = costs.total(&graph);
    assert_eq!(total.uncounted, 0, "{:?}", costs.uncounted);
    let mut before = Cost::default();
    for point in graph.cut_points(&costs) {
        assert_eq!(point.before.flops + point.after.flops, total.flops);
        assert_eq!(
            point.before.parameters + point.after.parameters,
            total.parameters
        );
        assert_eq!(point.before.nodes + point.after.nodes, total.nodes);
        assert!(point.before.flops >= before.flops);
        before = point.before;
    }
    let one = graph.costs(&Bindings::new()).total(&graph);
    assert_eq!(total.flops, 3 * one.flops);
    assert_eq!(total.parameters, one.parameters);
}

#[test]
fn bytes_of_a_tensor_are_told_by_symbol() {
    let graph = skipping();
    let value = graph.value(graph.find("a").unwrap());
    assert_eq!(Extent::of(value).unwrap().to_string(), "16 × batch");
    let sizes = Bindings::from([("batch".into(), 5)]);
    assert_eq!(
        graph.costs(&sizes).bytes(graph.find("a").unwrap()),
        Some(80)
    );
}

#[test]
fn balanced_cuts_make_a_chain_of_about_equal_parts() {
    let graph = network("resnet18");
    let costs = graph.costs(&Bindings::new());
    let total = costs.total(&graph).flops;
    for count in [2, 3, 5] {
        let cuts = graph.balanced_cuts(&costs, count).unwrap();
        let parts = graph.parts(&names(&graph, &cuts)).unwrap();
        assert_eq!(parts.len(), count);
        for part in &parts {
            assert!(part.added.is_empty());
            let flops = part.graph.costs(&Bindings::new()).total(&part.graph).flops;
            assert!(flops < total * 8 / 10, "{count}: {flops} of {total}");
        }
    }
    let error = graph.balanced_cuts(&costs, 1000).unwrap_err().to_string();
    assert!(error.contains("cannot be cut into 1000 parts"), "{error}");
}

proptest! {
    /// Every node is in a part, parts read only from parts before them, and exchange the tensors of the cut.
    #[test]
    fn any_cut_of_any_graph_is_a_graph_of_parts(
        sources in prop::collection::vec((0_usize..100, 0_usize..100), 2..24),
        chosen in prop::collection::vec(0_usize..100, 1..5),
    ) {
        let names: Vec<String> = (0..sources.len()).map(|place| format!("v{place}")).collect();
        let name = |place: usize, limit: usize| {
            if limit == 0 || place % (limit + 1) == limit { "x" } else { &names[place % (limit + 1)] }
        };
        let nodes = sources.iter().enumerate().map(|(place, (one, other))| {
            node("Add", &[name(*one, place), name(*other, place)], &[&names[place]])
        });
        let mut file = model(17, "batch,4", nodes.collect(), Vec::new());
        file.graph_mut().outputs = vec![untyped(names.last().unwrap())];
        let graph = file.read().unwrap();
        let computed: Vec<_> = graph.nodes.iter().flat_map(|node| &node.outputs).flatten().collect();
        let cuts: HashSet<String> = chosen
            .iter()
            .map(|place| graph.value(*computed[place % computed.len()]).name.clone())
            .filter(|name| *name != names[names.len() - 1])
            .collect();
        let cuts: Vec<_> = cuts.into_iter().collect();
        let parts = graph.parts(&cuts).unwrap();
        let total: usize = parts.iter().map(|part| part.graph.nodes.len()).sum();
        prop_assert_eq!(total, graph.nodes.len());
        let mut known: HashSet<String> = ["x".to_owned()].into();
        let mut given = HashSet::new();
        for part in &parts {
            let inputs = self::names(&part.graph, &part.graph.inputs);
            prop_assert!(inputs.iter().all(|input| known.contains(input)), "{:?}", shown(&parts));
            let outputs = self::names(&part.graph, &part.graph.outputs);
            for input in inputs.into_iter().filter(|input| input != "x") {
                prop_assert!(cuts.contains(&input) != part.added.contains(&input));
                given.insert(input);
            }
            known.extend(outputs);
        }
        prop_assert!(cuts.iter().all(|cut| given.contains(cut)), "{:?}", shown(&parts));
    }
}
