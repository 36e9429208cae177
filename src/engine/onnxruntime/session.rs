//! One thread's session.

use std::borrow::Cow;
use std::fmt;

use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as Runtime, SessionInputValue};

use crate::engine::outputs::check_outputs;
use crate::engine::store::Holding;
use crate::engine::{EngineError, OutOfMemory, Session};
use crate::types::{Device, Rooms, Signature, Tensor};

use super::library::environment;
use super::tensor;

pub(super) struct OnnxRuntimeSession {
    signature: Signature,
    runtime: Runtime,
    /// Of each input: whether ONNX Runtime has it, which drops those that nothing reads.
    reads: Vec<bool>,
    /// The weights of the session, which nobody shares.
    weights: Holding,
}

impl OnnxRuntimeSession {
    /// Makes a session of a model's bytes, `weight_bytes` of which are weights; the error is what ONNX Runtime says of it.
    pub(super) fn new(
        signature: &Signature,
        model: &[u8],
        threads: usize,
        weight_bytes: usize,
    ) -> Result<Self, String> {
        let runtime = open(model, threads).map_err(|error| first_line(&error))?;
        let (seen, expected) = (runtime.outputs().len(), signature.outputs.len());
        if seen != expected {
            return Err(format!(
                "onnxruntime sees {seen} outputs, expected {expected}"
            ));
        }
        let knows = |name: &str| runtime.inputs().iter().any(|known| known.name() == name);
        let reads = signature.inputs.iter().map(|spec| knows(&spec.name));
        let reads = reads.collect();
        let mut weights = Holding::new(Device::Cpu);
        weights.add_own(weight_bytes);
        Ok(Self {
            signature: signature.clone(),
            reads,
            runtime,
            weights,
        })
    }

    /// Has its weights be accounted for on another device.
    pub(super) fn move_to(&self, device: Device) -> Result<(), OutOfMemory> {
        self.weights.move_to(device)
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        let given = self.signature.inputs.iter().zip(inputs);
        for ((spec, input), &is_read) in given.zip(&self.reads) {
            if is_read {
                let value = tensor::input(input).map_err(|error| {
                    EngineError::Input(format!("input {:?}: {error}", spec.name))
                })?;
                values.push((Cow::Borrowed(&spec.name), value));
            }
        }
        let outputs = self
            .runtime
            .run(values)
            .map_err(|error| EngineError::Run(first_line(&error)))?;
        let specs = &self.signature.outputs;
        outputs
            .into_iter()
            .zip(specs)
            .map(|((_, value), spec)| {
                tensor::output(value, spec.dtype)
                    .map_err(|error| EngineError::Fault(format!("output {:?}: {error}", spec.name)))
            })
            .collect()
    }
}

fn open(model: &[u8], threads: usize) -> ort::Result<Runtime> {
    let environment = environment().map_err(|error| ort::Error::new(error.to_string()))?;
    let mut builder = Runtime::builder(environment)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_optimization_level(GraphOptimizationLevel::All)?;
    builder.commit_from_memory(model)
}

fn first_line(error: &ort::Error) -> String {
    error
        .to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

impl Session for OnnxRuntimeSession {
    /// Nothing is written into rooms: `ort` copies every borrowed input of a run whose outputs are given memory.
    fn run_in(&mut self, inputs: &[Tensor], _: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let bindings = self.signature.bind(inputs)?;
        let outputs = self.compute(inputs)?;
        check_outputs(&self.signature, &outputs, &bindings)?;
        Ok(outputs)
    }
}

impl fmt::Debug for OnnxRuntimeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntimeSession")
            .field("signature", &self.signature)
            .finish_non_exhaustive()
    }
}
