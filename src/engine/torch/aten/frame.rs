//! One run at a time of a plan: the values that are live in it.

use std::fmt;
use std::sync::Arc;

use crate::engine::EngineError;

use super::args::{Args, Outputs};
use super::datum::Datum;
use super::plan::{Plan, Step, operator_error};

/// The slots of a plan. Between runs only weights are in them.
pub(super) struct Frame {
    plan: Arc<Plan>,
    slots: Vec<Option<Datum>>,
}

impl Frame {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let mut slots: Vec<Option<Datum>> = (0..plan.slots).map(|_| None).collect();
        for (slot, weight) in &plan.weights {
            slots[*slot] = Some(weight.handle());
        }
        Self { plan, slots }
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
        let mut weights = self.plan.weights.iter().map(|(slot, _)| *slot).peekable();
        for (slot, datum) in self.slots.iter_mut().enumerate() {
            // Weights are in the order of their slots.
            if weights.next_if_eq(&slot).is_none() {
                *datum = None;
            }
        }
    }
}

fn run_step(step: &Step, slots: &mut [Option<Datum>]) -> Result<(), EngineError> {
    let failed = |cause| operator_error(&step.node, step.op, &cause);
    let kept = step
        .layout
        .arrange(&step.inputs, &step.last, slots)
        .map_err(failed)?;
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

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
