//! What the tests of passes share: rewriting a graph, running it both ways, comparing.

use blockflow::graph::{Graph, Node, ValueOrigin};
use blockflow::types::{DType, GraphEngine, Optimize, Pass, Passes, Tensor};

use crate::engine_support::{f32s, noise, run_graph, values_f32};
use crate::graph_file::*;

pub(crate) const OFF: Passes = Passes::of(Optimize::Off);
pub(crate) const FAST: Passes = Passes::of(Optimize::Fast);

/// A weight of some numbers in −1..1.
pub(crate) fn noisy(name: &str, dims: &[i64], seed: u32) -> TensorPart {
    let part = floats(name, dims);
    let floats = noise(part.floats.len(), seed);
    TensorPart { floats, ..part }
}

/// A weight of given numbers.
pub(crate) fn given(name: &str, dims: &[i64], numbers: &[f32]) -> TensorPart {
    TensorPart {
        floats: numbers.to_vec(),
        ..floats(name, dims)
    }
}

/// Runs a node of weights as a graph of its own.
fn evaluate(graph: &Graph, node: &Node) -> Option<Vec<Option<Tensor>>> {
    let outputs = node.outputs.iter().flatten();
    let names: Vec<_> = outputs.map(|&id| graph.value(id).name.clone()).collect();
    let part = graph.segment(Some(&[]), Some(&names)).ok()?;
    Some(run(&part, OFF, &[]).into_iter().map(Some).collect())
}

pub(crate) fn optimised(graph: &Graph, passes: Passes) -> Graph {
    let optimised = graph.optimise(passes, &evaluate).unwrap();
    optimised.verify().unwrap();
    assert_eq!(
        optimised.signature().unwrap(),
        graph.signature().unwrap(),
        "passes keep the signature"
    );
    optimised
}

/// Returns the names of the operators that one pass leaves.
pub(crate) fn left_by(pass: Pass, graph: &Graph) -> Vec<&'static str> {
    names(&optimised(graph, Passes::only(pass)))
}

pub(crate) fn names(graph: &Graph) -> Vec<&'static str> {
    graph.nodes.iter().map(|node| node.op.name()).collect()
}

pub(crate) fn run(graph: &Graph, passes: Passes, inputs: &[Tensor]) -> Vec<Tensor> {
    run_graph(graph, GraphEngine::Aten, passes, inputs).unwrap()
}

pub(crate) fn input(shape: &[usize]) -> Tensor {
    f32s(shape, &noise(shape.iter().product(), 77))
}

/// Checks that outputs are the same to the last bit with and without passes.
pub(crate) fn gives_the_same(graph: &Graph, passes: Passes, inputs: &[Tensor]) {
    let (plain, rewritten) = (run(graph, OFF, inputs), run(graph, passes, inputs));
    for (plain, rewritten) in plain.iter().zip(&rewritten) {
        assert_eq!(plain.shape(), rewritten.shape());
        assert!(plain.bytes() == rewritten.bytes(), "outputs differ");
    }
}

/// Returns the largest number that a graph computes on its way, or 1.
fn largest(graph: &Graph, inputs: &[Tensor]) -> f32 {
    let computed = graph.values.iter().filter(|value| {
        matches!(value.origin, ValueOrigin::Node(..)) && value.dtype == Some(DType::F32)
    });
    let names: Vec<_> = computed.map(|value| value.name.clone()).collect();
    let given: Vec<_> = graph
        .inputs
        .iter()
        .map(|&id| graph.value(id).name.clone())
        .collect();
    let all = graph.segment(Some(&given), Some(&names)).unwrap();
    let tensors = run(&all, OFF, inputs);
    let numbers = tensors.iter().flat_map(values_f32);
    numbers
        .filter(|number| number.is_finite())
        .fold(1.0, |most, number| most.max(number.abs()))
}

/// Checks that outputs are as near as rounding lets them be, which depends on the largest number on the way.
pub(crate) fn gives_nearly_the_same(graph: &Graph, passes: Passes, inputs: &[Tensor]) {
    let allowed = 1e-5 * largest(graph, inputs);
    let (plain, rewritten) = (run(graph, OFF, inputs), run(graph, passes, inputs));
    for (plain, rewritten) in plain.iter().zip(&rewritten) {
        assert_eq!(plain.shape(), rewritten.shape());
        let pairs = values_f32(plain).into_iter().zip(values_f32(rewritten));
        for (index, (plain, rewritten)) in pairs.enumerate() {
            assert!(
                (plain - rewritten).abs() <= allowed,
                "[{index}] is {rewritten}, expected {plain}"
            );
        }
    }
}
