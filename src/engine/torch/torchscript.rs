//! The `torchscript` engine: a `.pt` file run as a whole, on the CPU.
//!
//! A file says nothing of its shapes, so results are checked against the declared signature in every run. Instances
//! share one module and its weights. A module that keeps state between runs is allowed but wants `instances = 1`:
//! several would mix their states.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::outputs::check_outputs;
use crate::engine::store::Holding;
use crate::engine::{EngineError, Held, Prepared, Session};
use crate::types::{DType, Device, Rooms, ShapeSpec, Signature, Tensor, TensorSpec};

use super::cause::Cause;
use super::ffi::{Module, export, is_sole_owner, set_threads, view};

/// A block of the `torchscript` engine, shared by its instances.
#[derive(Debug)]
pub struct TorchScriptPrepared {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    path: PathBuf,
    module: Module,
    signature: Signature,
    holding: Holding,
}

impl TorchScriptPrepared {
    /// Loads a file. `signature` describes the arguments of `forward` and its result: a tensor, or a tuple or list of
    /// tensors, in order.
    pub fn new(path: &Path, signature: Signature, threads: usize) -> Result<Self, EngineError> {
        let load = |cause: String| EngineError::Load {
            path: path.to_owned(),
            cause,
        };
        if let Some(spec) = signature
            .inputs
            .iter()
            .chain(&signature.outputs)
            .find(|spec| spec.dtype == DType::Bytes)
        {
            return Err(load(format!(
                "{:?} is declared as BYTES, which TorchScript does not have",
                spec.name
            )));
        }
        // For the reason that the system gives, rather than that of the unpacker.
        std::fs::File::open(path).map_err(|error| load(error.to_string()))?;
        let module = Module::load(path)
            .map_err(|cause| load(format!("not a TorchScript file ({cause})")))?;
        let weight_bytes = module
            .parameter_bytes()
            .map_err(|cause| load(cause.to_string()))?;
        let mut holding = Holding::new(Device::Cpu);
        holding.add_own(weight_bytes);
        let shared = Shared {
            path: path.to_owned(),
            module,
            signature,
            holding,
        };
        Ok(Self {
            shared: Arc::new(shared),
            threads: threads.max(1),
        })
    }
}

impl TorchScriptPrepared {
    /// Loads a file that nobody declared a signature for: takes it from one run on `inputs`, whose names and shapes
    /// become those of the signature. The file is loaded again after it, for a module may keep state. Outputs are called `output_0`, `output_1`, ….
    pub fn observe(
        path: &Path,
        inputs: &[(String, Tensor)],
        threads: usize,
    ) -> Result<Self, EngineError> {
        let spec = |name: String, tensor: &Tensor| {
            TensorSpec::new(name, tensor.dtype(), ShapeSpec::fixed(tensor.shape()))
        };
        let declared = inputs
            .iter()
            .map(|(name, tensor)| spec(name.clone(), tensor));
        let mut signature = Signature {
            inputs: declared.collect(),
            outputs: Vec::new(),
        };
        let unchecked = Self::new(path, signature.clone(), threads)?;
        let tensors: Vec<_> = inputs.iter().map(|(_, tensor)| tensor.clone()).collect();
        set_threads(threads.max(1));
        let mut session = TorchScriptSession {
            shared: unchecked.shared,
            lends_inputs: false,
        };
        let outputs = session
            .compute(&tensors)
            .map_err(|cause| session.failed(&cause))?;
        let named = outputs.iter().enumerate();
        signature.outputs = named
            .map(|(index, tensor)| spec(format!("output_{index}"), tensor))
            .collect();
        Self::new(path, signature, threads)
    }
}

impl Prepared for TorchScriptPrepared {
    fn signature(&self) -> &Signature {
        &self.shared.signature
    }

    fn weight_bytes(&self) -> usize {
        self.shared.holding.bytes()
    }

    fn held(&self) -> Held {
        self.shared.holding.held()
    }

    fn move_to(&self, device: Device) -> Result<(), EngineError> {
        Ok(self.shared.holding.move_to(device)?)
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        set_threads(self.threads);
        Ok(Box::new(TorchScriptSession {
            shared: self.shared.clone(),
            lends_inputs: false,
        }))
    }
}

struct TorchScriptSession {
    shared: Arc<Shared>,
    /// Whether the module may see the inputs themselves: once a run over copies has shown that it leaves them alone.
    lends_inputs: bool,
}

impl TorchScriptSession {
    fn failed(&self, cause: &Cause) -> EngineError {
        let file = self.shared.path.file_name().unwrap_or_default();
        EngineError::Operator {
            node: file.to_string_lossy().into_owned(),
            op: "TorchScript".to_owned(),
            cause: cause.to_string(),
        }
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Cause> {
        let _mode = tch::no_grad_guard();
        let lends = self.lends_inputs;
        let arguments: Vec<tch::Tensor> = inputs
            .iter()
            .map(|input| {
                if lends {
                    view(input)
                } else {
                    own(view(input)?)
                }
            })
            .collect::<Result<_, _>>()?;
        let versions = versions_of(&arguments)?;
        let results = self.shared.module.forward(&arguments)?;
        let untouched = versions_of(&arguments)? == versions;
        if lends && !untouched {
            return Err(Cause::new(
                "the module wrote to an input, which it had left alone before",
            ));
        }
        self.lends_inputs = untouched;
        results
            .into_iter()
            .map(|result| export(own(result)?))
            .collect()
    }
}

/// Counts the writes to each tensor.
fn versions_of(tensors: &[tch::Tensor]) -> Result<Vec<i64>, Cause> {
    tensors
        .iter()
        .map(|tensor| Ok(tensor.f_internal_version()?))
        .collect()
}

/// Copies a tensor of which the module, or anyone, has another handle: it may write to it in a later run.
fn own(tensor: tch::Tensor) -> Result<tch::Tensor, Cause> {
    if is_sole_owner(&tensor) {
        return Ok(tensor);
    }
    let mut copy = tch::Tensor::f_empty(tensor.size(), (tensor.f_kind()?, tch::Device::Cpu))?;
    copy.f_copy_(&tensor)?;
    Ok(copy)
}

impl Session for TorchScriptSession {
    /// What a module keeps between runs is not to lie in a room, so nothing does.
    fn run_in(&mut self, inputs: &[Tensor], _: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let bindings = self.shared.signature.bind(inputs)?;
        let outputs = self.compute(inputs).map_err(|cause| self.failed(&cause))?;
        check_outputs(&self.shared.signature, &outputs, &bindings)?;
        Ok(outputs)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TorchScriptSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorchScriptSession")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}
