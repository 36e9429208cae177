//! One thread's runs of a prepared graph.

use std::sync::Arc;

use crate::engine::outputs::{check_outputs, known_sizes};
use crate::engine::store::Holding;
use crate::engine::{EngineError, Session};
use crate::types::{Rooms, Signature, Tensor};

use super::super::ffi::{InferenceMode, with_rooms};
use super::datum::Datum;
use super::frame::Frame;
use super::plan::Plan;
use super::storage::is_native;

/// Takes tensors in, runs the plan, gives tensors out.
#[derive(Debug)]
pub(super) struct AtenSession {
    signature: Arc<Signature>,
    plan: Arc<Plan>,
    frame: Frame,
    /// The weights in the frame and in the plan, which go first.
    _holding: Arc<Holding>,
}

impl AtenSession {
    pub(super) fn new(signature: Arc<Signature>, plan: Arc<Plan>, holding: Arc<Holding>) -> Self {
        let frame = Frame::new(plan.clone());
        Self {
            signature,
            plan,
            frame,
            _holding: holding,
        }
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let _mode =
            InferenceMode::enter().map_err(|cause| EngineError::Fault(cause.to_string()))?;
        let inputs = self.plan.inputs.iter().zip(inputs);
        let inputs = inputs.map(|(&(_, used), tensor)| {
            if used {
                Datum::import(tensor)
            } else {
                Ok(Datum::Nothing)
            }
        });
        let inputs = inputs
            .collect::<Result<_, _>>()
            .map_err(|cause| EngineError::Input(cause.to_string()))?;
        let outputs = self.frame.run(inputs)?;
        let specs = &self.signature.outputs;
        let export = |(datum, spec): (Datum, &crate::types::TensorSpec)| {
            datum
                .export(spec.dtype)
                .map_err(|cause| EngineError::Fault(format!("output {:?}: {cause}", spec.name)))
        };
        outputs.into_iter().zip(specs).map(export).collect()
    }
}

impl Session for AtenSession {
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let bindings = self.signature.bind(inputs)?;
        let mut wanted = known_sizes(&self.signature, &bindings, rooms);
        // Of the others the memory is not what leaves.
        wanted.retain(|&(output, _)| is_native(self.signature.outputs[output].dtype));
        let outputs = with_rooms(rooms, &wanted, || self.compute(inputs))?;
        check_outputs(&self.signature, &outputs, &bindings)?;
        Ok(outputs)
    }
}
