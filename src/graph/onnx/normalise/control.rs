//! Operators that run graphs: If, Loop, Scan, `SequenceMap`.

use super::super::attributes::wrong;
use super::super::proto::GraphProto;
use super::call::{Call, Form};
use super::registry::Rule;
use crate::graph::build::literal::read_single;
use crate::graph::infer::{Fact, either_fact, loop_header, slice_of};
use crate::graph::{Body, Container, Control, Fault, Op, Scan, Scanned, ValueId};

pub(super) const RULES: &[Rule] = &[
    ("If", branch),
    ("Loop", repeat),
    ("Scan", scan),
    ("SequenceMap", sequence_map),
];

fn branch(call: &mut Call<'_>) -> Result<Form, Fault> {
    call.at_most_inputs(1)?;
    let condition = call.input(0)?;
    let (then, otherwise) = (
        call.attributes.graph("then_branch")?,
        call.attributes.graph("else_branch")?,
    );
    match known_truth(call) {
        Some(true) => return call.inline("then_branch", then),
        Some(false) => return call.inline("else_branch", otherwise),
        None => {}
    }
    let (then, mut left) = call.body("then_branch", then, &[])?;
    let (otherwise, mut right) = call.body("else_branch", otherwise, &[])?;
    let mut inputs = vec![Some(condition)];
    inputs.append(&mut left);
    inputs.append(&mut right);
    let op = Control::If { then, otherwise };
    Ok(Form::Node(Op::Control(op), inputs))
}

/// Returns the condition, if it is known now.
fn known_truth(call: &Call<'_>) -> Option<bool> {
    if let Some(weight) = call.weight(0) {
        return Some(read_single(weight)? != 0.0);
    }
    match call.builder.fact(call.input(0).ok()?).numbers()?.as_slice() {
        [value] => Some(*value != 0),
        _ => None,
    }
}

/// Returns what is known of inputs, but for their elements, which differ from one run of a body to the next.
fn facts(call: &Call<'_>, inputs: std::ops::Range<usize>) -> Result<Vec<Fact>, Fault> {
    inputs
        .map(|input| {
            let fact = call.builder.fact(call.input(input)?);
            Ok(Fact::new(fact.dtype, fact.shape.clone()).within(fact.container))
        })
        .collect()
}

/// Reads a body that computes states from states, so that what it takes for granted of them holds in every run of it.
///
/// The first attempt takes what is known of the initial states, a second one what that and what the body computed from it
/// have in common, the last one nothing of shapes that still change. `before` and `after` are the other inputs; the states
/// are the outputs from `first`.
fn settled(
    call: &mut Call<'_>,
    graph: &GraphProto,
    before: &[Fact],
    mut states: Vec<Fact>,
    after: &[Fact],
    first: usize,
) -> Result<(Body, Vec<Option<ValueId>>), Fault> {
    const ATTEMPTS: usize = 3;
    let mut attempt = 1;
    loop {
        let given = [before, &states, after].concat();
        let (body, captured) = call.body("body", graph, &given)?;
        let mut widened = Vec::with_capacity(states.len());
        for (place, state) in states.iter().enumerate() {
            let output = body.outputs.get(first + place);
            let value = body.value(*output.ok_or_else(|| Fault::Parameter {
                parameter: "body",
                seen: format!("a graph with {} outputs", body.outputs.len()),
                expected: format!("at least {}", first + states.len()),
            })?);
            let next = Fact::new(value.dtype, value.shape.clone()).within(value.container);
            widened.push(either_fact(place, state, &next)?);
        }
        if widened == states || attempt == ATTEMPTS {
            return Ok((body, captured));
        }
        attempt += 1;
        if attempt == ATTEMPTS {
            for (widened, state) in widened.iter_mut().zip(&states) {
                if widened.shape != state.shape {
                    widened.shape = None;
                }
            }
        }
        states = widened;
    }
}

/// Inputs: trip count?, condition?, initial states.
fn repeat(call: &mut Call<'_>) -> Result<Form, Fault> {
    let graph = call.attributes.graph("body")?;
    call.inputs.resize(call.inputs.len().max(2), None);
    let initial = facts(call, 2..call.inputs.len())?;
    let states = initial.len();
    let (body, mut captured) = settled(call, graph, &loop_header(), initial, &[], 1)?;
    let mut inputs = call.inputs.clone();
    inputs.append(&mut captured);
    let op = Control::Loop { body, states };
    Ok(Form::Node(Op::Control(op), inputs))
}

fn scan(call: &mut Call<'_>) -> Result<Form, Fault> {
    let batched = call.opset < 9;
    let graph = call.attributes.graph("body")?;
    let first = usize::from(batched);
    let count = call.attributes.int_or("num_scan_inputs", 0)?;
    let places = call.inputs.len().saturating_sub(first);
    let scanned = usize::try_from(count)
        .ok()
        .filter(|&count| (1..=places).contains(&count))
        .ok_or_else(|| wrong("num_scan_inputs", count, &format!("1 to {places}")))?;
    let states = places - scanned;
    let elements = call.outputs.len().saturating_sub(states);
    let (inputs, outputs) = if batched {
        let own = Scanned::default();
        let directions = reversed(call, "directions", scanned)?;
        let inputs = directions
            .into_iter()
            .map(|reverse| Scanned { axis: 1, reverse });
        (inputs.collect(), vec![own; elements])
    } else {
        let axes = call.attributes.ints("scan_input_axes")?;
        let reverse = reversed(call, "scan_input_directions", scanned)?;
        let inputs = ways("scan_input_axes", axes, reverse)?;
        let axes = call.attributes.ints("scan_output_axes")?;
        let reverse = reversed(call, "scan_output_directions", elements)?;
        (inputs, ways("scan_output_axes", axes, reverse)?)
    };
    let mut initial = facts(call, first..first + states)?;
    if batched {
        initial.iter_mut().for_each(drop_rows);
    }
    let slices = facts(call, first + states..call.inputs.len())?;
    let slices = slices.iter().zip(&inputs);
    let slices = slices.map(|(fact, way)| slice_of(fact, way.axis, batched));
    let slices = slices.collect::<Result<Vec<_>, _>>()?;
    let (body, mut captured) = settled(call, graph, &[], initial, &slices, 0)?;
    let mut all = call.inputs.clone();
    all.append(&mut captured);
    let op = Scan {
        body,
        states,
        inputs,
        outputs,
        batched,
    };
    Ok(Form::Node(Op::Control(Control::Scan(op)), all))
}

fn drop_rows(fact: &mut Fact) {
    if let Some(shape) = &mut fact.shape
        && !shape.0.is_empty()
    {
        shape.0.remove(0);
    }
}

/// Reads directions, 1 for the reverse one.
fn reversed(call: &Call<'_>, name: &str, count: usize) -> Result<Vec<bool>, Fault> {
    let Some(values) = call.attributes.ints(name)? else {
        return Ok(vec![false; count]);
    };
    if values.len() != count || values.iter().any(|value| !matches!(value, 0 | 1)) {
        let expected = format!("{count} times 0 or 1");
        return Err(wrong(name, format!("{values:?}"), &expected));
    }
    Ok(values.iter().map(|&value| value == 1).collect())
}

fn ways(name: &str, axes: Option<&[i64]>, reverse: Vec<bool>) -> Result<Vec<Scanned>, Fault> {
    let axes = match axes {
        Some(axes) if axes.len() != reverse.len() => {
            let expected = format!("{} axes", reverse.len());
            return Err(wrong(name, format!("{axes:?}"), &expected));
        }
        Some(axes) => axes.to_vec(),
        None => vec![0; reverse.len()],
    };
    let ways = axes.into_iter().zip(reverse);
    Ok(ways
        .map(|(axis, reverse)| Scanned { axis, reverse })
        .collect())
}

/// Inputs: sequence, then sequences and tensors.
fn sequence_map(call: &mut Call<'_>) -> Result<Form, Fault> {
    let graph = call.attributes.graph("body")?;
    let mapped = call.inputs.len();
    let given = facts(call, 0..mapped)?;
    let given: Vec<_> = given
        .into_iter()
        .map(|fact| match fact.container {
            Container::Sequence => fact.within(Container::Tensor),
            _ => fact,
        })
        .collect();
    let (body, mut captured) = call.body("body", graph, &given)?;
    let mut inputs = call.inputs.clone();
    inputs.append(&mut captured);
    let op = Control::SequenceMap { body, mapped };
    Ok(Form::Node(Op::Control(op), inputs))
}
