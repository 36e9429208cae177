//! Models of the suite, written back as ONNX and read again: the same graph, and the same outputs to the last bit.

use blockflow::graph::{Graph, GraphError, WriteOptions};
use blockflow::types::{GraphEngine, Passes, Tensor};

use crate::engine_support::run_graph;

use super::case::Case;
use super::suite;

/// Cases that are written at least, so that a writer that refuses everything does not pass.
const WRITTEN_MIN: usize = 1890;

#[test]
fn models_of_the_suite_survive_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.onnx");
    let mut wrong = Vec::new();
    let mut written = 0;
    for case in Case::all(&suite()) {
        let Ok(graph) = Graph::read(&case.folder.join("model.onnx")) else {
            continue;
        };
        match graph.write(&path, &WriteOptions::default(), &mut |_| ()) {
            Ok(()) => {}
            Err(GraphError::Unwritable { .. }) => continue,
            Err(error) => panic!("{}: {error}", case.name),
        }
        written += 1;
        if let Err(cause) = compare(&case, &graph, Graph::read(&path)) {
            wrong.push(format!("{}: {cause}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(written >= WRITTEN_MIN, "only {written} models were written");
}

fn compare(case: &Case, graph: &Graph, again: Result<Graph, GraphError>) -> Result<(), String> {
    let again = again.map_err(|error| error.to_string())?;
    let several = graph.nodes.len() != again.nodes.len();
    if !several && graph.hashes(&mut |_| ()) != again.hashes(&mut |_| ()) {
        return Err("is another graph".to_owned());
    }
    // Inputs that are no tensors are not for a session.
    let Ok(inputs) = case.tensors("input") else {
        return Ok(());
    };
    let (Ok(before), after) = (run(graph, &inputs), run(&again, &inputs)) else {
        return Ok(());
    };
    let after = after?;
    if equal(&before, &after) || draws(graph, &inputs, &before) {
        Ok(())
    } else {
        Err(format!("computes {after:?}, expected {before:?}"))
    }
}

/// Tells whether the graph draws numbers without a seed, which gives others each time. Ten outcomes of a coin are the
/// same as those before once in two hundred runs, so one run more decides nothing.
fn draws(graph: &Graph, inputs: &[Tensor], before: &[Tensor]) -> bool {
    let differs = |_| run(graph, inputs).is_ok_and(|again| !equal(before, &again));
    !graph.nodes.iter().all(|node| node.op.is_repeatable()) && (0..8).any(differs)
}

fn equal(some: &[Tensor], others: &[Tensor]) -> bool {
    let same = |(one, other): (&Tensor, &Tensor)| {
        one.dtype() == other.dtype() && one.shape() == other.shape() && one.bytes() == other.bytes()
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}

fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
    run_graph(graph, GraphEngine::Aten, Passes::default(), inputs)
}
