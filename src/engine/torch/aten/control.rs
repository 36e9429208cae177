//! Operators that run bodies: If, Loop, Scan, `SequenceMap`.
//!
//! How often a body runs is read from data, so nothing is set aside for it beforehand: between two iterations only
//! the states are kept, and what the body put out to be stacked.

use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::graph::{Body, Control, Scan, Scanned};
use crate::types::Dim;

use super::super::cause::Cause;
use super::super::dtype::kind_of;
use super::args::{Args, Kernel, Outputs, axis_of, integers, is_integer, signed};
use super::context::NodeContext;
use super::datum::Datum;
use super::frame::Frame;
use super::plan::Plan;
use super::storage::kept_as;
use super::strings;

pub(super) fn control(context: &NodeContext<'_>, op: &Control) -> Result<Kernel, Cause> {
    match op {
        Control::If { then, otherwise } => branch(context, then, otherwise),
        Control::Loop { body, states } => repeat(context, body, *states),
        Control::Scan(op) if op.batched => batched_scan(context, op),
        Control::Scan(op) => scan(context, op),
        Control::SequenceMap { body, mapped } => sequence_map(context, body, *mapped),
    }
}

fn run(frame: &mut Frame, inputs: Vec<Datum>) -> Result<Vec<Datum>, Cause> {
    frame
        .run(inputs)
        .map_err(|error| Cause::new(error.to_string()))
}

/// Returns handles on the inputs from `first` on.
fn handles(args: &Args<'_>, first: usize) -> Result<Vec<Datum>, Cause> {
    (first..args.inputs.len())
        .map(|input| Ok(args.datum(input)?.handle()))
        .collect()
}

/// Reads a tensor of one element as a condition.
fn is_true(datum: &Datum) -> Result<bool, Cause> {
    let tensor = datum.tensor()?;
    if tensor.numel() != 1 || !is_integer(tensor)? {
        return Err(Cause::new(format!(
            "a condition is {:?}{:?}, not one boolean",
            tensor.f_kind()?,
            tensor.size()
        )));
    }
    Ok(tensor.f_reshape([1])?.f_int64_value(&[0])? != 0)
}

/// `test_if`, `test_if_seq`, `test_if_opt`, `test_affine_grid_2d_expanded`
fn branch(context: &NodeContext<'_>, then: &Body, otherwise: &Body) -> Result<Kernel, Cause> {
    let (then, otherwise) = (context.plan(then)?, context.plan(otherwise)?);
    Ok(Box::new(move |args| {
        let (plan, first) = if is_true(args.datum(0)?)? {
            (&then, 1)
        } else {
            (&otherwise, 1 + then.inputs.len())
        };
        let inputs = first..first + plan.inputs.len();
        let inputs = inputs
            .map(|input| args.passed_on(input))
            .collect::<Result<_, _>>()?;
        run(&mut Frame::new(plan.clone()), inputs).map(Outputs::Many)
    }))
}

/// What the iterations of a body put out for one output, to be stacked.
struct Pile {
    items: Vec<Datum>,
    empty: Empty,
}

/// What there is to say of elements when there are none.
#[derive(Debug, Clone)]
struct Empty {
    /// `None` for strings.
    kind: Option<Kind>,
    /// Of one element; sizes that are not known are 0.
    shape: Vec<i64>,
}

impl Empty {
    /// Describes output `output` of a body, which has to be known only where there are no elements.
    fn of(body: &Body, output: usize) -> Result<Self, Cause> {
        let value = body.outputs.get(output).map(|&id| body.value(id));
        let value = value.ok_or_else(|| Cause::new(format!("the body has no output {output}")))?;
        let dims = value.shape.iter().flat_map(|shape| &shape.0);
        let size = |dim: &Dim| dim.fixed().map_or(0, signed);
        let kind = match value.dtype {
            Some(crate::types::DType::Bytes) => None,
            Some(dtype) => Some(kind_of(kept_as(dtype))?),
            None => Some(Kind::Float),
        };
        Ok(Self {
            kind,
            shape: dims.map(size).collect(),
        })
    }
}

impl Pile {
    fn new(empty: &Empty) -> Self {
        Self {
            items: Vec::new(),
            empty: empty.clone(),
        }
    }

    fn stacked(mut self, way: Scanned) -> Result<Datum, Cause> {
        if way.reverse {
            self.items.reverse();
        }
        let Some(first) = self.items.first() else {
            let mut shape = self.empty.shape;
            shape.insert(axis_of(way.axis, shape.len() + 1)?, 0);
            return match self.empty.kind {
                Some(kind) => Ok(Tensor::f_empty(shape, (kind, tch::Device::Cpu))?.into()),
                None => strings::empty(&shape),
            };
        };
        let axis = axis_of(way.axis, first.rank()? + 1)?;
        if matches!(first, Datum::Strings(_)) {
            return strings::stack(&self.items, axis);
        }
        let tensors = self.items.iter().map(Datum::tensor);
        let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_stack(&tensors, signed(axis))?.into())
    }
}

/// A body that computes states from states, and elements besides.
struct Stepper {
    plan: Arc<Plan>,
    states: usize,
    elements: Vec<Empty>,
}

impl Stepper {
    /// The elements are the outputs of `body` from `first` on.
    fn new(
        context: &NodeContext<'_>,
        body: &Body,
        states: usize,
        first: usize,
    ) -> Result<Self, Cause> {
        let elements = (first..body.outputs.len()).map(|output| Empty::of(body, output));
        Ok(Self {
            plan: context.plan(body)?,
            states,
            elements: elements.collect::<Result<_, _>>()?,
        })
    }

    fn piles(&self) -> Vec<Pile> {
        self.elements.iter().map(Pile::new).collect()
    }

    /// Runs the body once. Its inputs are `before`, the states, `after`; its outputs the states, then the elements.
    fn step(
        &self,
        frame: &mut Frame,
        states: &mut Vec<Datum>,
        piles: &mut [Pile],
        after: Vec<Datum>,
    ) -> Result<(), Cause> {
        let mut inputs = std::mem::take(states);
        inputs.extend(after);
        let mut outputs = run(frame, inputs)?;
        let elements = outputs.split_off(self.states.min(outputs.len()));
        for (pile, element) in piles.iter_mut().zip(elements) {
            pile.items.push(element);
        }
        *states = outputs;
        Ok(())
    }
}

/// Reads a number of iterations.
fn count_of(tensor: &Tensor) -> Result<i64, Cause> {
    match integers(tensor)?.as_slice() {
        [count] => Ok(*count),
        _ => Err(Cause::new(format!(
            "the trip count has shape {:?}, not one number",
            tensor.size()
        ))),
    }
}

/// `test_loop11`, `test_range_float_type_positive_delta_expanded`, `test_range_int32_type_negative_delta_expanded`
fn repeat(context: &NodeContext<'_>, body: &Body, states: usize) -> Result<Kernel, Cause> {
    let stepper = Stepper::new(context, body, states + 1, states + 1)?;
    // With neither count nor condition nothing would ever end it.
    let endless = !context.has_input(0) && !context.has_input(1);
    if endless {
        return Err(Cause::new("neither a trip count nor a condition ends it"));
    }
    Ok(Box::new(move |args| {
        let most = args.optional(0)?.map(count_of).transpose()?;
        let conditional = args.given(1).is_some();
        let mut goes_on = args.given(1).map_or(Ok(true), is_true)?;
        let mut carried = (2..2 + states)
            .map(|input| args.passed_on(input))
            .collect::<Result<Vec<_>, _>>()?;
        let captured = handles(args, 2 + states)?;
        let mut frame = Frame::new(stepper.plan.clone());
        let mut piles = stepper.piles();
        let mut iteration = 0_i64;
        while goes_on && most.is_none_or(|most| iteration < most) {
            let mut inputs: Vec<Datum> = vec![
                Tensor::f_from_slice(&[iteration])?
                    .f_reshape([0_i64; 0])?
                    .into(),
                Tensor::f_from_slice(&[goes_on])?
                    .f_reshape([0_i64; 0])?
                    .into(),
            ];
            inputs.append(&mut carried);
            let after = captured.iter().map(Datum::handle).collect();
            stepper.step(&mut frame, &mut inputs, &mut piles, after)?;
            carried = inputs;
            let condition = carried.remove(0);
            goes_on = !conditional || is_true(&condition)?;
            iteration += 1;
        }
        let stacked = piles
            .into_iter()
            .map(|pile| pile.stacked(Scanned::default()));
        for datum in stacked {
            carried.push(datum?);
        }
        Ok(Outputs::Many(carried))
    }))
}

/// Returns the size that all scanned tensors have along their axes.
fn steps_of(scanned: &[Datum], ways: &[Scanned]) -> Result<(i64, Vec<usize>), Cause> {
    let mut steps = None;
    let mut axes = Vec::with_capacity(ways.len());
    for (datum, way) in scanned.iter().zip(ways) {
        let shape = datum.shape()?;
        let axis = axis_of(way.axis, shape.len())?;
        if *steps.get_or_insert(shape[axis]) != shape[axis] {
            return Err(Cause::new(
                "scanned tensors differ in their number of steps",
            ));
        }
        axes.push(axis);
    }
    Ok((steps.unwrap_or(0), axes))
}

/// Scans `steps` steps of what has `all` of them.
fn scan_over(
    stepper: &Stepper,
    op: &Ways,
    mut states: Vec<Datum>,
    scanned: &[Datum],
    captured: &[Datum],
    length: Option<i64>,
) -> Result<(Vec<Datum>, Vec<Pile>), Cause> {
    let (all, axes) = steps_of(scanned, &op.inputs)?;
    let steps = length.unwrap_or(all);
    if !(0..=all).contains(&steps) {
        return Err(Cause::new(format!(
            "a sequence of {steps} is scanned, but there are {all} steps"
        )));
    }
    let mut frame = Frame::new(stepper.plan.clone());
    let mut piles = stepper.piles();
    for step in 0..steps {
        let slices = scanned.iter().zip(&axes).zip(&op.inputs);
        let slices = slices.map(|((datum, &axis), way)| {
            let place = if way.reverse { steps - 1 - step } else { step };
            datum.select(axis, place)
        });
        let mut after = slices.collect::<Result<Vec<_>, _>>()?;
        after.extend(captured.iter().map(Datum::handle));
        stepper.step(&mut frame, &mut states, &mut piles, after)?;
    }
    Ok((states, piles))
}

/// How a scan takes tensors apart and puts them together.
struct Ways {
    inputs: Vec<Scanned>,
    outputs: Vec<Scanned>,
}

/// `test_scan9_sum`, `test_scan9_multi_state`, `test_scan9_scalar`
fn scan(context: &NodeContext<'_>, op: &Scan) -> Result<Kernel, Cause> {
    let stepper = Stepper::new(context, &op.body, op.states, op.states)?;
    let ways = Ways {
        inputs: op.inputs.clone(),
        outputs: op.outputs.clone(),
    };
    Ok(Box::new(move |args| {
        let mut states = handles(args, 0)?;
        let mut scanned = states.split_off(stepper.states.min(states.len()));
        let captured = scanned.split_off(ways.inputs.len().min(scanned.len()));
        let (mut outputs, piles) = scan_over(&stepper, &ways, states, &scanned, &captured, None)?;
        for (pile, &way) in piles.into_iter().zip(&ways.outputs) {
            outputs.push(pile.stacked(way)?);
        }
        Ok(Outputs::Many(outputs))
    }))
}

/// Scans each row by itself. Elements behind the end of a shorter sequence are zero. `test_scan_sum`
fn batched_scan(context: &NodeContext<'_>, op: &Scan) -> Result<Kernel, Cause> {
    let stepper = Stepper::new(context, &op.body, op.states, op.states)?;
    // A row has one dimension less than what it is a row of.
    let lower = |way: &Scanned| Scanned {
        axis: way.axis - i64::from(way.axis > 0),
        ..*way
    };
    let ways = Ways {
        inputs: op.inputs.iter().map(lower).collect(),
        outputs: op.outputs.clone(),
    };
    Ok(Box::new(move |args| {
        let lengths = args.optional(0)?.map(integers).transpose()?;
        let mut states = handles(args, 1)?;
        let mut scanned = states.split_off(stepper.states.min(states.len()));
        let captured = scanned.split_off(ways.inputs.len().min(scanned.len()));
        let whole = scanned.first().map_or(Ok(Vec::new()), Datum::shape)?;
        let [rows, steps, ..] = whole[..] else {
            return Err(Cause::new(format!("shape {whole:?} has no rows of steps")));
        };
        if let Some(lengths) = &lengths
            && signed(lengths.len()) != rows
        {
            let seen = lengths.len();
            return Err(Cause::new(format!(
                "{seen} sequence lengths for {rows} rows"
            )));
        }
        let mut last: Vec<Vec<Datum>> = (0..stepper.states).map(|_| Vec::new()).collect();
        let mut stacks: Vec<Vec<Datum>> = stepper.elements.iter().map(|_| Vec::new()).collect();
        for (row, place) in (0..rows).zip(0_usize..) {
            let select = |data: &[Datum]| -> Result<Vec<Datum>, Cause> {
                data.iter().map(|datum| datum.select(0, row)).collect()
            };
            let length = lengths.as_ref().map(|lengths| lengths[place]);
            let (own, scanned) = (select(&states)?, select(&scanned)?);
            let (own, piles) = scan_over(&stepper, &ways, own, &scanned, &captured, length)?;
            for (all, state) in last.iter_mut().zip(own) {
                all.push(state);
            }
            for ((all, pile), &way) in stacks.iter_mut().zip(piles).zip(&ways.outputs) {
                all.push(padded(&pile.stacked(way)?, steps)?);
            }
        }
        let stacked = last.into_iter().chain(stacks).map(|items| {
            let tensors = items.iter().map(Datum::tensor);
            let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
            Ok(Datum::from(Tensor::f_stack(&tensors, 0)?))
        });
        stacked.collect::<Result<_, Cause>>().map(Outputs::Many)
    }))
}

/// Appends zeros along the first dimension.
fn padded(datum: &Datum, steps: i64) -> Result<Datum, Cause> {
    let tensor = datum.tensor()?;
    let mut shape = tensor.size();
    let missing = steps - shape.first().copied().unwrap_or(steps);
    if missing == 0 {
        return Ok(datum.handle());
    }
    shape[0] = missing;
    let zeros = Tensor::f_zeros(shape, (tensor.f_kind()?, tch::Device::Cpu))?;
    Ok(Tensor::f_cat(&[tensor, &zeros], 0)?.into())
}

/// `test_sequence_map_identity_1_sequence`, `test_sequence_map_add_1_sequence_1_tensor` and their like
fn sequence_map(context: &NodeContext<'_>, body: &Body, mapped: usize) -> Result<Kernel, Cause> {
    let plan = context.plan(body)?;
    Ok(Box::new(move |args| {
        let inputs = handles(args, 0)?;
        let count = match inputs.first() {
            Some(Datum::Sequence(items)) => items.len(),
            _ => return Err(Cause::new("input 0 is no sequence")),
        };
        let mut frame = Frame::new(plan.clone());
        let mut results: Vec<Vec<Datum>> = plan.outputs.iter().map(|_| Vec::new()).collect();
        for place in 0..count {
            let element = |(input, datum): (usize, &Datum)| match datum {
                Datum::Sequence(items) if input < mapped => {
                    let item = items.get(place).map(Datum::handle);
                    item.ok_or_else(|| Cause::new("sequences differ in their length"))
                }
                _ => Ok(datum.handle()),
            };
            let elements = inputs.iter().enumerate().map(element);
            let outputs = run(&mut frame, elements.collect::<Result<_, _>>()?)?;
            for (all, output) in results.iter_mut().zip(outputs) {
                all.push(output);
            }
        }
        Ok(Outputs::Many(
            results.into_iter().map(Datum::Sequence).collect(),
        ))
    }))
}
