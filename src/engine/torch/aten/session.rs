//! One thread's run of a prepared graph.

use std::fmt;
use std::sync::Arc;

use crate::engine::outputs::check_outputs;
use crate::engine::{EngineError, Session};
use crate::types::Tensor;

use super::super::ffi::InferenceMode;
use super::args::{Args, Outputs};
use super::datum::Datum;
use super::prepared::{Plan, Step, operator_error};

/// The slots of one run at a time. Between runs only weights are in them.
pub(super) struct AtenSession {
    plan: Arc<Plan>,
    slots: Vec<Option<Datum>>,
}

impl AtenSession {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let mut slots: Vec<Option<Datum>> = (0..plan.slots).map(|_| None).collect();
        for (slot, weight) in &plan.weights {
            slots[*slot] = Some(weight.handle());
        }
        Self { plan, slots }
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let _mode =
            InferenceMode::enter().map_err(|cause| EngineError::Fault(cause.to_string()))?;
        for (&(slot, used), tensor) in self.plan.inputs.iter().zip(inputs) {
            if used {
                let datum = Datum::import(tensor);
                self.slots[slot] =
                    Some(datum.map_err(|cause| EngineError::Input(cause.to_string()))?);
            }
        }
        for step in &self.plan.steps {
            run_step(step, &mut self.slots)?;
        }
        let specs = &self.plan.signature.outputs;
        self.plan
            .outputs
            .iter()
            .zip(specs)
            .map(|(&slot, spec)| {
                let missing =
                    || EngineError::Fault(format!("output {:?} was not computed", spec.name));
                let datum = self.slots[slot].as_ref().ok_or_else(missing)?;
                datum
                    .export(spec.dtype)
                    .map_err(|cause| EngineError::Fault(format!("output {:?}: {cause}", spec.name)))
            })
            .collect()
    }

    /// Drops all tensors of the run.
    fn clear(&mut self) {
        let mut weights = self.plan.weights.iter().map(|(slot, _)| *slot).peekable();
        for (slot, tensor) in self.slots.iter_mut().enumerate() {
            // Weights are in the order of their slots.
            if weights.next_if_eq(&slot).is_none() {
                *tensor = None;
            }
        }
    }
}

fn run_step(step: &Step, slots: &mut [Option<Datum>]) -> Result<(), EngineError> {
    let mut args = Args {
        slots: &mut *slots,
        inputs: &step.inputs,
        last: &step.last,
    };
    let outputs =
        (step.kernel)(&mut args).map_err(|cause| operator_error(&step.node, step.op, &cause))?;
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

impl Session for AtenSession {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let bindings = self.plan.signature.bind(inputs)?;
        let outputs = self.compute(inputs);
        self.clear();
        let outputs = outputs?;
        check_outputs(&self.plan.signature, &outputs, &bindings)?;
        Ok(outputs)
    }
}

impl fmt::Debug for AtenSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtenSession")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
