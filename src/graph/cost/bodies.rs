//! Operations of bodies: those of one run, as often as it runs; of branches, those of the one that takes more.

use crate::graph::infer::{Fact, axis, slice_of};
use crate::graph::{Body, Control, Graph, Scan};
use crate::types::Bindings;

use super::costs::{nodes_work, total_flops};
use super::shapes::times;
use super::sizes::sized_with;

/// Returns the operations of an operator that runs graphs; `None` if those of a node in there are not known, or how often
/// it runs.
pub(super) fn work(op: &Control, inputs: &[Option<&Fact>], sizes: &Bindings) -> Option<u64> {
    match op {
        Control::If { then, otherwise } => {
            let (then_inputs, else_inputs) =
                inputs.get(1..)?.split_at_checked(then.inputs.len())?;
            let then = once(then, then_inputs, sizes)?;
            Some(then.max(once(otherwise, else_inputs, sizes)?))
        }
        Control::Loop { body, states } => {
            let trips = inputs.first().copied().flatten()?.numbers()?;
            let trips = u64::try_from(*trips.first()?).unwrap_or(0);
            let mut given = vec![None; 2];
            // A state may have another size in the next run.
            given.resize(2 + states, None);
            given.extend(inputs.get(2 + states..).unwrap_or_default());
            Some(times(trips, once(body, &given, sizes)?))
        }
        Control::Scan(op) => scan(op, inputs, sizes),
        // As often as a sequence has tensors, which no shape tells.
        Control::SequenceMap { .. } => None,
    }
}

fn scan(op: &Scan, inputs: &[Option<&Fact>], sizes: &Bindings) -> Option<u64> {
    let first = usize::from(op.batched) + op.states;
    let mut given: Vec<Option<Fact>> = vec![None; op.states];
    let mut runs = 0;
    for (place, way) in op.inputs.iter().enumerate() {
        let scanned = inputs.get(first + place).copied().flatten()?;
        let shape = scanned.shape.as_ref()?.concrete()?;
        let steps = *shape.get(axis(way.axis, shape.len(), "scan_input_axes").ok()?)?;
        let rows = if op.batched { *shape.first()? } else { 1 };
        runs = times(steps as u64, rows as u64);
        given.push(slice_of(scanned, way.axis, op.batched).ok());
    }
    let around = inputs.get(first + op.inputs.len()..).unwrap_or_default();
    given.extend(around.iter().map(|fact| fact.cloned()));
    let given: Vec<_> = given.iter().map(Option::as_ref).collect();
    Some(times(runs, once(&op.body, &given, sizes)?))
}

/// Returns the operations of one run of a body, of whose inputs `given` is known.
fn once(body: &Body, given: &[Option<&Fact>], sizes: &Bindings) -> Option<u64> {
    let graph: &Graph = body;
    total_flops(&nodes_work(graph, &sized_with(graph, given, sizes), sizes))
}
