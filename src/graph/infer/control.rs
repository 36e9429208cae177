//! Operators that run bodies. Each body was read against what is known of its inputs, so its values carry what is known
//! of its outputs.

use crate::types::{DType, Dim, ShapeSpec};

use super::Fact;
use super::join::either_fact;
use super::operands::Operands;
use crate::graph::{Body, Container, Control, Fault, Scan};

pub(super) fn control(op: &Control, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    match op {
        Control::If { then, otherwise } => branch(then, otherwise, operands),
        Control::Loop { body, states } => repeat(body, *states, operands),
        Control::Scan(op) => scan(op, operands),
        Control::SequenceMap { body, mapped } => sequence_map(body, *mapped, operands),
    }
}

/// Returns what is known of a body's outputs.
fn outputs(body: &Body) -> Vec<Fact> {
    let fact = |&id| {
        let value = body.value(id);
        Fact::new(value.dtype, value.shape.clone()).within(value.container)
    };
    body.outputs.iter().map(fact).collect()
}

fn branch(then: &Body, otherwise: &Body, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let count = 1 + then.inputs.len() + otherwise.inputs.len();
    operands.count(count, count)?;
    operands.require_bool(0)?;
    operands.get(0)?;
    let (left, right) = (outputs(then), outputs(otherwise));
    if left.len() != right.len() {
        return Err(Fault::Parameter {
            parameter: "else_branch",
            seen: format!("a graph with {} outputs", right.len()),
            expected: format!("{}, as then_branch has", left.len()),
        });
    }
    left.iter()
        .zip(&right)
        .enumerate()
        .map(|(output, (left, right))| either_fact(output, left, right))
        .collect()
}

/// Splits off the outputs of a body that are states; the others are elements, which are tensors.
fn states_of(body: &Body, states: usize) -> Result<(Vec<Fact>, Vec<Fact>), Fault> {
    let mut all = outputs(body);
    if all.len() < states {
        return Err(Fault::Parameter {
            parameter: "body",
            seen: format!("a graph with {} outputs", all.len()),
            expected: format!("at least {states}"),
        });
    }
    let elements = all.split_off(states);
    match elements
        .iter()
        .position(|fact| fact.container != Container::Tensor)
    {
        None => Ok((all, elements)),
        Some(place) => Err(Fault::Parameter {
            parameter: "body",
            seen: format!("a graph whose output {} is no tensor", states + place),
            expected: "tensors behind the states".to_owned(),
        }),
    }
}

fn repeat(body: &Body, states: usize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    // Absent inputs at the end are not counted.
    let count = body.inputs.len();
    operands.count(if count > 2 { count } else { 0 }, count)?;
    operands.require_int64(0)?;
    operands.require_bool(1)?;
    let (mut last, elements) = states_of(body, states + 1)?;
    last.remove(0);
    let mut facts = Vec::with_capacity(states + elements.len());
    for (place, state) in last.iter().enumerate() {
        // With no iteration at all, it is the initial state.
        facts.push(either_fact(place, operands.get(2 + place)?, state)?);
    }
    facts.extend(
        elements
            .into_iter()
            .map(|element| stacked(element, 0, Dim::Any)),
    );
    Ok(facts)
}

/// Returns what is known of elements put together along a new dimension, which lies in range.
fn stacked(element: Fact, place: usize, steps: Dim) -> Fact {
    let shape = element.shape.map(|mut shape| {
        shape.0.insert(place.min(shape.0.len()), steps);
        shape
    });
    Fact::new(element.dtype, shape)
}

fn scan(op: &Scan, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    let first = usize::from(op.batched);
    let scanned = first + op.states;
    let count = first + op.body.inputs.len();
    operands.count(count, count)?;
    let (last, elements) = states_of(&op.body, op.states)?;
    if elements.len() != op.outputs.len() {
        return Err(Fault::Parameter {
            parameter: "body",
            seen: format!("a graph with {} outputs", op.states + elements.len()),
            expected: (op.states + op.outputs.len()).to_string(),
        });
    }
    let mut rows = Dim::Any;
    let mut steps = Dim::Any;
    for (place, scan) in op.inputs.iter().enumerate() {
        let Some(dims) = operands.get(scanned + place)?.dims() else {
            continue;
        };
        steps = dims[super::axis(scan.axis, dims.len(), "scan_input_axes")?].clone();
        rows = dims[0].clone();
    }
    let mut facts = Vec::with_capacity(last.len() + elements.len());
    for (place, state) in last.into_iter().enumerate() {
        let state = if op.batched {
            stacked(state, 0, rows.clone())
        } else {
            state
        };
        facts.push(either_fact(place, operands.get(first + place)?, &state)?);
    }
    for (element, scan) in elements.into_iter().zip(&op.outputs) {
        let place = match element.rank() {
            Some(rank) => super::axis(scan.axis, rank + 1, "scan_output_axes")?,
            None => 0,
        };
        let whole = stacked(element, place, steps.clone());
        facts.push(if op.batched {
            stacked(whole, 0, rows.clone())
        } else {
            whole
        });
    }
    Ok(facts)
}

fn sequence_map(body: &Body, mapped: usize, operands: Operands<'_>) -> Result<Vec<Fact>, Fault> {
    operands.count(body.inputs.len(), body.inputs.len())?;
    let first = operands.get(0)?;
    if mapped == 0 || first.container != Container::Sequence {
        return Err(Fault::Container {
            input: 0,
            seen: first.container,
            expected: Container::Sequence,
        });
    }
    let (_, elements) = states_of(body, 0)?;
    let of = |fact: Fact| fact.within(Container::Sequence);
    Ok(elements.into_iter().map(of).collect())
}

/// Returns what is known of a slice of a scanned tensor: all dimensions but that of the steps, and but the rows where
/// those are taken one by one.
pub(in crate::graph) fn slice_of(scanned: &Fact, axis: i64, batched: bool) -> Result<Fact, Fault> {
    let Some(dims) = scanned.dims() else {
        return Ok(Fact::new(scanned.dtype, None));
    };
    let mut dims = dims.to_vec();
    dims.remove(super::axis(axis, dims.len(), "scan_input_axes")?);
    if batched && !dims.is_empty() {
        dims.remove(0);
    }
    Ok(Fact::new(scanned.dtype, Some(ShapeSpec(dims))))
}

/// The iteration number and the condition that a loop gives its body.
pub(in crate::graph) fn loop_header() -> [Fact; 2] {
    [DType::I64, DType::Bool].map(|dtype| Fact::new(Some(dtype), Some(ShapeSpec::default())))
}
