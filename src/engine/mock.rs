//! The `mock` engine: a block with declared latency, shapes and failures, and no model.
//!
//! Runs are counted for the block, over all its sessions, so that "every third run" holds while sessions are rebuilt.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::types::{
    Bindings, DType, Device, Dim, MockFailure, MockSpec, Rooms, Shape, Signature, Tensor,
    TensorError, TensorSpec, byte_count, element_count, room_or_heap,
};

use super::store::Holding;
use super::{EngineError, Held, Lease, Prepared, Session};

/// A block of the `mock` engine.
#[derive(Debug)]
pub struct MockPrepared {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: MockSpec,
    runs: AtomicU64,
    holding: Holding,
    /// Under which it leaks.
    lease: OnceLock<Weak<Lease>>,
}

#[derive(Debug)]
struct MockSession {
    shared: Arc<Shared>,
}

impl MockPrepared {
    pub fn new(spec: MockSpec) -> Self {
        let mut holding = Holding::new(Device::Cpu);
        if spec.weight_bytes > 0 {
            holding.add_own(usize::try_from(spec.weight_bytes).unwrap_or(usize::MAX));
        }
        Self {
            shared: Arc::new(Shared {
                spec,
                runs: AtomicU64::new(0),
                holding,
                lease: OnceLock::new(),
            }),
        }
    }
}

impl Shared {
    /// Holds on to as much as the inputs of a run, whatever becomes of the block.
    fn leak(&self, inputs: &[Tensor]) {
        let bytes = inputs.iter().map(|input| input.byte_count() as u64).sum();
        if let Some(lease) = self.lease.get().and_then(Weak::upgrade) {
            std::mem::forget(lease.workspace(bytes));
        }
        for input in inputs {
            std::mem::forget(input.bytes().to_vec());
        }
    }
}

impl Prepared for MockPrepared {
    fn signature(&self) -> &Signature {
        &self.shared.spec.signature
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

    fn settle(&self, lease: &Arc<Lease>) {
        // It is placed once.
        let _ = self.shared.lease.set(Arc::downgrade(lease));
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        if let Some(MockFailure::SlowWarming { time }) = self.shared.spec.failure {
            pass(time);
        }
        Ok(Box::new(MockSession {
            shared: self.shared.clone(),
        }))
    }
}

impl Session for MockSession {
    /// # Panics
    /// Where the specification says so.
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let spec = &self.shared.spec;
        let bindings = spec.signature.bind(inputs)?;
        let run = self.shared.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let due = |every: u64| run.is_multiple_of(every);
        let mut time = spec.latency;
        match spec.failure {
            Some(MockFailure::Hang { every, time: more }) if due(every) => time += more,
            Some(MockFailure::Panic { every }) if due(every) => {
                pass(time);
                panic!("mock block panics on run {run}, as declared");
            }
            Some(MockFailure::Error { every }) if due(every) => {
                pass(time);
                return Err(EngineError::Fault(format!(
                    "mock block fails on run {run}, as declared"
                )));
            }
            Some(MockFailure::Leak { every }) if due(every) => self.shared.leak(inputs),
            Some(MockFailure::LostDevice { every }) if due(every) => {
                pass(time);
                return Err(EngineError::DeviceLost {
                    device: Device::Cpu,
                    cause: format!("mock block loses it on run {run}, as declared"),
                });
            }
            _ => {}
        }
        pass(time);
        let is_nan = matches!(spec.failure, Some(MockFailure::NotANumber { every }) if due(every));
        let content: Vec<u8> = inputs
            .iter()
            .flat_map(content_of)
            .map(|byte| byte.wrapping_add(1))
            .collect();
        spec.signature
            .outputs
            .iter()
            .enumerate()
            .map(|(place, output)| {
                let nan = Some(output.dtype).filter(|_| is_nan).and_then(nan_of);
                let tail = nan.unwrap_or(&[0]);
                let content = if nan.is_some() { &[] } else { &content[..] };
                output_of(output, &bindings, (content, tail), (rooms, place))
            })
            .collect()
    }

    /// Warming would take one of the counted runs.
    fn wants_warming(&self) -> bool {
        false
    }
}

/// The declared latency. Sleeping is what this block does, not how it waits for something.
fn pass(time: Duration) {
    if !time.is_zero() {
        std::thread::sleep(time);
    }
}

fn content_of(tensor: &Tensor) -> Vec<u8> {
    match tensor.dtype() {
        DType::Bytes => tensor.byte_strings().concat(),
        _ => tensor.bytes().to_vec(),
    }
}

/// Returns the bytes of NaN, where the type has one that arithmetic knows.
const fn nan_of(dtype: DType) -> Option<&'static [u8]> {
    Some(match dtype {
        DType::F16 => &[0, 0x7e],
        DType::BF16 => &[0xc0, 0x7f],
        DType::F32 => &[0, 0, 0xc0, 0x7f],
        DType::F64 => &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
        _ => return None,
    })
}

/// Makes one output: `content`, cut or padded with the bytes of `tail` over and over. BYTES get all of it as their first
/// element, and BOOL only the lowest bit of each byte, for other values are none.
fn output_of(
    spec: &TensorSpec,
    bindings: &Bindings,
    (content, tail): (&[u8], &[u8]),
    (rooms, place): (&dyn Rooms, usize),
) -> Result<Tensor, EngineError> {
    let shape: Shape = spec
        .shape
        .0
        .iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => *size,
            Dim::Symbol(symbol) => bindings.get(symbol).copied().unwrap_or(1),
            Dim::Any => 1,
        })
        .collect();
    if spec.dtype == DType::Bytes {
        let mut strings: Vec<&[u8]> = vec![&[]; element_count(&shape).map_err(TensorError::from)?];
        if let Some(first) = strings.first_mut() {
            *first = content;
        }
        return Ok(Tensor::from_byte_strings(shape, &strings)?);
    }
    let length = byte_count(spec.dtype, &shape).map_err(TensorError::from)?;
    let mut memory = room_or_heap(rooms, place, length);
    let padded = content.iter().chain(tail.iter().cycle()).copied();
    for (target, byte) in memory.as_mut_slice().iter_mut().zip(padded) {
        *target = if spec.dtype == DType::Bool {
            byte & 1
        } else {
            byte
        };
    }
    Ok(Tensor::new(spec.dtype, shape, memory.into_memory())?)
}
