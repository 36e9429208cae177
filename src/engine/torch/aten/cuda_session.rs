//! One thread's runs of a graph on a CUDA device.
//!
//! A session owns the stream that its kernels run in, and one for copies from the host. A run returns when its kernels are
//! queued: outputs take an event along, and whoever needs them waits for that where it needs them.

use std::sync::Arc;

use crate::engine::cuda::{Context, CudaError, Stream};
use crate::engine::ledger::Ledger;
use crate::engine::outputs::check_outputs;
use crate::engine::store::Holding;
use crate::engine::{Capture, EngineError, OutOfMemory, Session, timeline};
use crate::types::{Device, EagerReason, Rooms, Signature, Tensor};

use super::super::cause::Cause;
use super::super::ffi::InferenceMode;
use super::super::ffi::cuda::{
    InStream, Numbers, TransferError, WithNumbers, graphs_available, take_in,
    while_none_is_captured,
};
use super::cuda_graphs::{Graphs, Obstacle, Output};
use super::cuda_prepared::{Manner, Resident};
use super::datum::Datum;
use super::frame::Frame;
use super::plan::Plan;

/// What is said where there is no memory: by libtorch's allocator, the runtime, and the libraries of kernels.
const OUT_OF_MEMORY: [&str; 4] = [
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
];

/// Takes tensors in, runs the plan, gives tensors out.
#[derive(Debug)]
pub(super) struct CudaSession {
    signature: Arc<Signature>,
    plan: Arc<Plan>,
    /// What was captured, which goes before the weights that it reads.
    graphs: Graphs,
    obstacle: Option<Arc<Obstacle>>,
    /// Whether the last run was a replay, where anything was captured.
    replayed: Option<bool>,
    frame: Frame,
    ordinal: u16,
    numbers: Numbers,
    /// Whether a run may draw numbers.
    draws: bool,
    /// In which kernels run.
    stream: Stream,
    /// In which inputs come from the host.
    copies: Stream,
    /// The weights in the frame and in the plan, which go first.
    _weights: (Arc<Resident>, Arc<Holding>),
}

/// Why a run, or a move, did not succeed.
#[derive(Debug)]
pub(in crate::engine::torch) enum Failed {
    Engine(EngineError),
    Cuda(CudaError),
    Torch(Cause),
}

impl CudaSession {
    pub(super) fn new(
        signature: Arc<Signature>,
        plan: Arc<Plan>,
        obstacle: Option<Arc<Obstacle>>,
        (on_host, resident): (Arc<Holding>, Arc<Resident>),
        manner: Manner,
    ) -> Result<Self, Failed> {
        let context = Context::of(manner.ordinal)?;
        // What a run waits for is as urgent as the run.
        let stream = Stream::new(&context, manner.priority)?;
        let copies = Stream::new(&context, manner.priority)?;
        let mut weights = Vec::new();
        {
            let _mode = InferenceMode::enter()?;
            let _current = InStream::enter(&stream)?;
            for (slot, weight) in &resident.weights {
                // Notes also that this stream uses it, as long as there are kernels in it that do.
                let weight = take_in(weight, &stream, &copies)?;
                weights.push((*slot, Datum::Tensor(weight)));
            }
        }
        Ok(Self {
            frame: Frame::with(plan.clone(), weights),
            graphs: Graphs::default(),
            obstacle,
            replayed: None,
            signature,
            plan,
            ordinal: manner.ordinal,
            numbers: manner.numbers,
            draws: manner.draws,
            stream,
            copies,
            _weights: (resident, on_host),
        })
    }

    fn compute(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Failed> {
        let _mode = InferenceMode::enter()?;
        let _numbers = WithNumbers::enter(self.numbers)?;
        let current = InStream::enter(&self.stream)?;
        let taken = take_all(&self.plan, inputs, (&self.stream, &self.copies))?;
        let captured = self.graphs.find(inputs);
        self.replayed = (!self.graphs.is_empty()).then_some(captured.is_some());
        let noted = timeline::begun(&self.stream);
        let outputs = match captured {
            Some(place) => (self.graphs).replay(place, &taken, (&self.stream, &current))?,
            None => {
                let alone = self.draws.then(while_none_is_captured);
                let outputs = self.frame.run(taken);
                drop(alone);
                let outputs = outputs
                    .map_err(Failed::Engine)?
                    .into_iter()
                    .zip(&self.signature.outputs);
                let outputs = outputs.map(|(datum, spec)| Output::of(datum, spec));
                Output::leave(outputs.collect::<Result<_, _>>()?, &self.stream)?
            }
        };
        if let Some(noted) = noted {
            noted.ended(&self.stream);
        }
        Ok(outputs)
    }

    fn capture_run(&mut self, inputs: &[Tensor]) -> Result<u64, Failed> {
        let _mode = InferenceMode::enter()?;
        let _numbers = WithNumbers::enter(self.numbers)?;
        let current = InStream::enter(&self.stream)?;
        let taken = take_all(&self.plan, inputs, (&self.stream, &self.copies))?;
        let computes = (&mut self.frame, &*self.signature);
        let stream = (&self.stream, &current);
        self.graphs.capture(computes, (inputs, &taken), stream)
    }
}

/// Takes the inputs that the plan uses.
fn take_all(
    plan: &Plan,
    inputs: &[Tensor],
    (stream, copies): (&Stream, &Stream),
) -> Result<Vec<Datum>, Failed> {
    let taken = plan.inputs.iter().zip(inputs);
    let taken = taken.map(|(&(_, used), tensor)| match used {
        true => Ok(Datum::Tensor(take_in(tensor, stream, copies)?)),
        false => Ok(Datum::Nothing),
    });
    taken.collect()
}

impl Session for CudaSession {
    /// Outputs stay on the device, whatever rooms the host has.
    fn run_in(&mut self, inputs: &[Tensor], _: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let bindings = self.signature.bind(inputs)?;
        let outputs = self.compute(inputs);
        let outputs = outputs.map_err(|failed| failed.on(self.ordinal, Some(&self.stream)))?;
        check_outputs(&self.signature, &outputs, &bindings)?;
        Ok(outputs)
    }

    fn can_capture(&self) -> bool {
        true
    }

    fn capture(&mut self, inputs: &[Tensor]) -> Result<Capture, EngineError> {
        let refused = |why, cause| Ok(Capture::Refused { why, cause });
        self.signature.bind(inputs)?;
        if let Some(obstacle) = &self.obstacle {
            return refused(obstacle.why, obstacle.cause.clone());
        }
        if let Err(error) = graphs_available() {
            return refused(EagerReason::Unavailable, error.to_string());
        }
        if self.graphs.find(inputs).is_some() {
            return Ok(Capture::Done { bytes: 0 });
        }
        let failed = match self.capture_run(inputs) {
            Ok(bytes) => return Ok(Capture::Done { bytes }),
            Err(failed) => failed,
        };
        // Nothing may be asked of a stream that is captured still.
        let ended = self.stream.end_capture();
        let error = failed.on(self.ordinal, Some(&self.stream));
        ended.map_err(|error| Failed::from(error).on(self.ordinal, None))?;
        match error {
            error if error.loses_device() => Err(error),
            EngineError::OutOfMemory(full) => refused(EagerReason::NoRoom, full.to_string()),
            error => refused(EagerReason::Failed, error.to_string()),
        }
    }

    fn forget_capture(&mut self) {
        self.graphs.forget();
    }

    fn replayed(&self) -> Option<bool> {
        self.replayed
    }
}

impl Failed {
    /// Says what it means for a device, which is asked whether it goes on: through a stream, where the caller has one.
    pub(in crate::engine::torch) fn on(self, ordinal: u16, stream: Option<&Stream>) -> EngineError {
        let device = Device::Cuda(ordinal);
        let asked = match stream {
            Some(stream) => stream.is_idle().map(drop),
            None => Context::of(ordinal).and_then(|context| context.memory().map(drop)),
        };
        if let Some(error) = asked.err().filter(CudaError::is_sticky) {
            let cause = format!("{error}; first seen as: {self}");
            return EngineError::DeviceLost { device, cause };
        }
        match self {
            Self::Cuda(error) if error.is_sticky() => EngineError::DeviceLost {
                device,
                cause: error.to_string(),
            },
            Self::Cuda(error) if error.is_out_of_memory() => out_of_memory(device, 0),
            Self::Cuda(error @ (CudaError::NotAvailable(_) | CudaError::DriverTooOld { .. })) => {
                EngineError::Device {
                    device,
                    cause: error.to_string(),
                }
            }
            Self::Cuda(error) => EngineError::Fault(error.to_string()),
            Self::Torch(cause) => match wanted(&cause.to_string()) {
                Some(bytes) => out_of_memory(device, bytes),
                None => EngineError::Fault(cause.to_string()),
            },
            Self::Engine(EngineError::Operator { node, op, cause }) => match wanted(&cause) {
                Some(bytes) => out_of_memory(device, bytes),
                None => EngineError::Operator { node, op, cause },
            },
            Self::Engine(error) => error,
        }
    }
}

fn out_of_memory(device: Device, wanted: u64) -> EngineError {
    let memory = Ledger::of(device).memory();
    EngineError::OutOfMemory(OutOfMemory {
        device,
        wanted,
        held: memory.held(),
        // It is the device that has no more.
        limit: None,
    })
}

/// Returns how many bytes were asked for, if there being too few is what failed; 0 where that is not said.
fn wanted(cause: &str) -> Option<u64> {
    const ASKED: &str = "Tried to allocate ";
    if !OUT_OF_MEMORY.iter().any(|told| cause.contains(told)) {
        return None;
    }
    let asked = cause.split_once(ASKED).map_or("", |(_, rest)| rest);
    let mut words = asked.split([' ', '.']).filter(|word| !word.is_empty());
    let (whole, rest) = (words.next(), words.next());
    let unit = match rest {
        Some("bytes" | "KiB" | "MiB" | "GiB") => rest,
        _ => words.next(),
    };
    let scale: u64 = match unit {
        Some("KiB") => 1 << 10,
        Some("MiB") => 1 << 20,
        Some("GiB") => 1 << 30,
        _ => 1,
    };
    let whole = whole.and_then(|whole| whole.parse::<u64>().ok());
    Some(whole.unwrap_or(0).saturating_mul(scale))
}

impl From<CudaError> for Failed {
    fn from(error: CudaError) -> Self {
        Self::Cuda(error)
    }
}

impl From<Cause> for Failed {
    fn from(cause: Cause) -> Self {
        Self::Torch(cause)
    }
}

impl From<TransferError> for Failed {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Cuda(error) => Self::Cuda(error),
            TransferError::Torch(cause) => Self::Torch(cause),
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Cuda(error) => error.fmt(f),
            Self::Torch(cause) => cause.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(code: u32) -> CudaError {
        CudaError::Driver {
            call: "cuMemcpyHtoDAsync",
            code,
            text: "told by the driver".into(),
        }
    }

    #[test]
    fn failures_of_a_device_are_told_from_those_of_a_run() {
        let lost = Failed::Cuda(driver(700)).on(1, None);
        assert!(lost.loses_device() && !lost.keeps_session(), "{lost}");
        let full = Failed::Cuda(driver(2)).on(1, None);
        assert!(matches!(full, EngineError::OutOfMemory(_)), "{full}");
        assert!(full.keeps_session());
        let odd = Failed::Cuda(driver(1)).on(1, None);
        assert!(
            matches!(odd, EngineError::Fault(_)) && !odd.loses_device(),
            "{odd}"
        );
    }

    #[test]
    fn the_allocators_own_words_are_out_of_memory_with_its_bytes() {
        for (told, bytes) in [
            (
                "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has",
                20 << 20,
            ),
            ("CUDA out of memory. Tried to allocate 2 GiB", 2 << 30),
            ("CUDA out of memory. Tried to allocate 512 bytes.", 512),
            ("CUDA out of memory", 0),
            ("CUDA error: out of memory", 0),
            ("cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling", 0),
            ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", 0),
        ] {
            assert_eq!(wanted(told), Some(bytes), "{told}");
        }
        assert_eq!(wanted("expected 2 numbers"), None);
        assert_eq!(wanted("CUDA error: invalid argument"), None);
        let failed = Failed::Engine(EngineError::Operator {
            node: "n".into(),
            op: "Conv".into(),
            cause: "CUDA out of memory. Tried to allocate 1.00 KiB.".into(),
        });
        let EngineError::OutOfMemory(full) = failed.on(0, None) else {
            panic!("it is told otherwise");
        };
        assert_eq!((full.wanted, full.device), (1024, Device::Cuda(0)));
    }
}
