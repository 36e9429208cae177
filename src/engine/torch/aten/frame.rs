//! One run at a time of a plan: the values that are live in it.

use std::fmt;
use std::sync::Arc;

use crate::engine::EngineError;

use super::super::cause::Cause;
use super::super::ffi::cuda::{beside, is_on_host};
use super::args::{Args, Outputs};
use super::datum::Datum;
use super::plan::{Plan, Step, operator_error};

/// The slots of a plan. Between runs only weights are in them.
pub(super) struct Frame {
    plan: Arc<Plan>,
    slots: Vec<Option<Datum>>,
    /// Slots of the weights, in rising order.
    weights: Vec<usize>,
}

impl Frame {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self::with(plan, std::iter::empty())
    }

    /// Returns one with more weights than those of the plan, each with its slot.
    pub(super) fn with(plan: Arc<Plan>, more: impl IntoIterator<Item = (usize, Datum)>) -> Self {
        let mut slots: Vec<Option<Datum>> = (0..plan.slots).map(|_| None).collect();
        let own = plan.weights.iter();
        let own = own.map(|(slot, weight)| (*slot, weight.handle()));
        let mut weights = Vec::new();
        for (slot, weight) in own.chain(more) {
            slots[slot] = Some(weight);
            weights.push(slot);
        }
        // A weight that is also an output of the graph comes from both sides.
        weights.sort_unstable();
        weights.dedup();
        Self {
            plan,
            slots,
            weights,
        }
    }

    /// Runs the plan on values in the order of its inputs, and returns its outputs. Nothing of a run stays, whether or not
    /// it succeeds.
    pub(super) fn run(&mut self, inputs: Vec<Datum>) -> Result<Vec<Datum>, EngineError> {
        let outputs = self.compute(inputs);
        self.clear();
        outputs
    }

    fn compute(&mut self, inputs: Vec<Datum>) -> Result<Vec<Datum>, EngineError> {
        let plan = &self.plan;
        if inputs.len() != plan.inputs.len() {
            let (seen, expected) = (inputs.len(), plan.inputs.len());
            let cause = format!("a graph of {expected} inputs is given {seen}");
            return Err(EngineError::Fault(cause));
        }
        for (&(slot, used), datum) in plan.inputs.iter().zip(inputs) {
            if used {
                self.slots[slot] = Some(datum);
            }
        }
        for step in &plan.steps {
            run_step(step, &mut self.slots)?;
        }
        let output = |(place, &slot): (usize, &usize)| {
            let datum = self.slots[slot].as_ref().map(Datum::handle);
            datum.ok_or_else(|| EngineError::Fault(format!("output {place} was not computed")))
        };
        plan.outputs.iter().enumerate().map(output).collect()
    }

    /// Drops all values of the run.
    fn clear(&mut self) {
        let mut weights = self.weights.iter().peekable();
        for (slot, datum) in self.slots.iter_mut().enumerate() {
            if weights.next_if_eq(&&slot).is_none() {
                *datum = None;
            }
        }
    }
}

fn run_step(step: &Step, slots: &mut [Option<Datum>]) -> Result<(), EngineError> {
    let failed = |cause| operator_error(&step.node, step.op, &cause);
    let mut kept = step
        .layout
        .arrange(&step.inputs, &step.last, slots)
        .map_err(failed)?;
    if !step.data.is_empty() {
        kept.extend(bring(step, slots).map_err(failed)?);
    }
    let mut args = Args {
        slots: &mut *slots,
        inputs: &step.inputs,
        last: &step.last,
    };
    let outputs = (step.kernel)(&mut args).map_err(failed)?;
    for (slot, datum) in kept {
        slots[slot] = Some(datum);
    }
    for &slot in &step.frees {
        slots[slot] = None;
    }
    match outputs {
        Outputs::One(datum) => {
            if let Some(Some(slot)) = step.outputs.first() {
                slots[*slot] = Some(datum);
            }
        }
        Outputs::Many(data) => {
            for (slot, datum) in step.outputs.iter().zip(data) {
                if let Some(slot) = slot {
                    slots[*slot] = Some(datum);
                }
            }
        }
    }
    Ok(())
}

/// Brings what the host holds of a step's data to the device, where the rest of it is. Returns what was in the slots of inputs
/// that are not used for the last time, to be put back.
fn bring(step: &Step, slots: &mut [Option<Datum>]) -> Result<Vec<(usize, Datum)>, Cause> {
    let mut kept = Vec::new();
    let slot = |place: &usize| step.inputs.get(*place).copied().flatten();
    let here =
        |slot: usize| matches!(&slots[slot], Some(Datum::Tensor(tensor)) if is_on_host(tensor));
    if !step.data.iter().filter_map(slot).any(here) {
        return Ok(kept);
    }
    let tensor = |slots: &[Option<Datum>], slot: usize| match &slots[slot] {
        Some(Datum::Tensor(tensor)) => Some(tensor.shallow_clone()),
        _ => None,
    };
    let mut data = step.data.iter().filter_map(slot);
    let there = data.find_map(|slot| tensor(slots, slot).filter(|tensor| !is_on_host(tensor)));
    let Some(there) = there else {
        return Ok(kept);
    };
    for place in &step.data {
        let Some(slot) = slot(place) else {
            continue;
        };
        let Some(here) = tensor(slots, slot).filter(is_on_host) else {
            continue;
        };
        let brought = Datum::Tensor(beside(&here, &there)?);
        let before = slots[slot].replace(brought);
        kept.extend(
            before
                .filter(|_| !step.last[*place])
                .map(|datum| (slot, datum)),
        );
    }
    Ok(kept)
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
