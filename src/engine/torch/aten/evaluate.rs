//! Runs single nodes while a graph is made ready, so that what depends on weights alone is computed once.

use crate::graph::{Graph, Node, ValueOrigin};
use crate::types::Tensor;

use super::super::ffi::InferenceMode;
use super::args::{Args, Outputs};
use super::context::NodeContext;
use super::datum::Datum;
use super::registry::kernel;
use super::weights::Weights;

/// Returns the outputs of a node whose inputs are weights. `None` if it cannot run: then it fails, with a message, or
/// does not, in each run.
pub(super) fn evaluate(graph: &Graph, node: &Node) -> Option<Vec<Option<Tensor>>> {
    let weights = Weights::new(1);
    let _mode = InferenceMode::enter().ok()?;
    let kernel = kernel(&NodeContext::new(graph, node, &weights)).ok()?;
    let mut slots = Vec::with_capacity(node.inputs.len());
    let mut inputs = Vec::with_capacity(node.inputs.len());
    for input in &node.inputs {
        inputs.push(input.map(|_| slots.len()));
        if let Some(input) = input {
            let ValueOrigin::Initializer(initializer) = &graph.value(*input).origin else {
                return None;
            };
            slots.push(Some(Datum::import(&initializer.tensor).ok()?));
        }
    }
    // Weights are never written to.
    let last = vec![false; inputs.len()];
    let mut args = Args {
        slots: &mut slots,
        inputs: &inputs,
        last: &last,
    };
    let results = match kernel(&mut args).ok()? {
        Outputs::One(datum) => vec![datum],
        Outputs::Many(data) => data,
    };
    let export = |(output, datum): (&Option<_>, &Datum)| {
        let dtype = graph.value((*output)?).dtype?;
        datum.export(dtype).ok()
    };
    Some(node.outputs.iter().zip(&results).map(export).collect())
}
