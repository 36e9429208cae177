//! A graph made ready for a CUDA device.
//!
//! It is made on the host, where its weights wait; [`Prepared::move_to`] brings them to the device, and back to where they
//! can wait for another block to go. A session takes the weights as they are then.

use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::cuda::{Context, Priority, Stream};
use crate::engine::store::Holding;
use crate::engine::{EngineError, Held, Prepared, Session};
use crate::graph::{Digest, Graph};
use crate::types::{self, CudaSpec, Device, Passes, Precision, Signature, StreamPriority};

use super::super::ffi::cuda::{InStream, Numbers, download, leave, take_in};
use super::super::ffi::{InferenceMode, set_threads};
use super::cuda_graphs::{Obstacle, draws};
use super::cuda_session::{CudaSession, Failed};
use super::plan::Plan;
use super::prepared::ready;
use super::sites::Sites;
use super::weights::Weights;

/// A block of the `aten` engine on a CUDA device, shared by its instances.
#[derive(Debug)]
pub struct AtenCudaPrepared {
    manner: Manner,
    signature: Arc<Signature>,
    plan: Arc<Plan>,
    /// Why its runs cannot be captured.
    obstacle: Option<Arc<Obstacle>>,
    /// Weights that steps on the host read, few and small.
    on_host: Arc<Holding>,
    resident: Mutex<Arc<Resident>>,
    threads: usize,
}

/// Where and how its sessions run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) ordinal: u16,
    pub(super) priority: Priority,
    pub(super) numbers: Numbers,
    /// Whether runs may draw numbers.
    pub(super) draws: bool,
}

/// Weights where they are now.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) device: Device,
    /// Each with its slot.
    pub(super) weights: Vec<(usize, Arc<types::Tensor>)>,
    contents: Vec<Digest>,
    holding: Holding,
}

impl AtenCudaPrepared {
    /// Makes a graph ready on the host for `cuda:ordinal`, with what it asks of it. An operator that cannot run there is
    /// refused by name.
    pub fn new(
        graph: &Graph,
        signature: Signature,
        threads: usize,
        passes: Passes,
        (ordinal, cuda): (u16, CudaSpec),
    ) -> Result<Self, EngineError> {
        let graph = &ready(graph, &signature, threads, passes)?;
        let sites = Sites::of(graph).map_err(|misplaced| refusal(ordinal, &misplaced))?;
        let weights = Weights::for_device(threads.max(1));
        let (plan, sited) = Plan::on_device(graph, &weights, &sites)?;
        let mut holding = Holding::new(Device::Cpu);
        let mut contents = Vec::new();
        let mut held = Vec::new();
        for (slot, one) in sited {
            let form = form(&one.tensor);
            let bytes = one.tensor.byte_count();
            let make = || Ok::<_, EngineError>((one.tensor, bytes));
            held.push((slot, holding.get(one.content, form, make)?));
            contents.push(one.content);
        }
        let manner = Manner {
            ordinal,
            priority: match cuda.stream_priority {
                StreamPriority::Normal => Priority::Normal,
                StreamPriority::High => Priority::High,
            },
            numbers: Numbers {
                shortened: passes.precision() == Precision::Tf32,
                tried: cuda.cudnn_autotune,
            },
            draws: graph.nodes.iter().any(draws),
        };
        Ok(Self {
            manner,
            signature: Arc::new(signature),
            plan: Arc::new(plan),
            obstacle: Obstacle::of(graph, &sites).map(Arc::new),
            on_host: Arc::new(weights.into_holding()),
            resident: Mutex::new(Arc::new(Resident {
                device: Device::Cpu,
                weights: held,
                contents,
                holding,
            })),
            threads: threads.max(1),
        })
    }

    fn resident(&self) -> Arc<Resident> {
        let resident = self.resident.lock();
        resident.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Names the way in which the store holds a weight. Here and on a device they are of one type, and on different ones.
fn form(tensor: &types::Tensor) -> String {
    format!("{} for devices", tensor.dtype().name())
}

fn refusal(ordinal: u16, misplaced: &[super::sites::Misplaced]) -> EngineError {
    let first = misplaced.first();
    let named = first.map_or_else(String::new, |one| {
        format!("operator {:?} ({}): {}", one.node, one.op, one.cause)
    });
    let more = match misplaced.len() {
        0 | 1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    EngineError::Device {
        device: Device::Cuda(ordinal),
        cause: format!(
            "{named}{more}; run the block on \"cpu\", or cut the model before and behind it"
        ),
    }
}

impl Resident {
    /// Brings the weights to the device, or to the host. Both have them until that is done.
    fn moved_to(&self, ordinal: u16, device: Device) -> Result<Self, EngineError> {
        let mut holding = Holding::new(device);
        let failed = |failed: Failed| failed.on(ordinal, None);
        let context = Context::of(ordinal).map_err(|error| failed(error.into()))?;
        let stream =
            Stream::new(&context, Priority::Normal).map_err(|error| failed(error.into()))?;
        let mut weights = Vec::new();
        for ((slot, weight), content) in self.weights.iter().zip(&self.contents) {
            let bytes = weight.byte_count();
            let make = || -> Result<(types::Tensor, usize), EngineError> {
                let there = carried(weight, device, &stream).map_err(failed)?;
                Ok((there, bytes))
            };
            let there = holding.get_within(*content, form(weight), make)?;
            weights.push((*slot, there));
        }
        // Sessions have streams of their own, and of another block that made one of these there is nothing to wait for.
        let done = stream.record().and_then(|event| event.wait());
        done.map_err(|error| failed(error.into()))?;
        Ok(Self {
            device,
            weights,
            contents: self.contents.clone(),
            holding,
        })
    }
}

/// Returns a weight on the device of a stream, or on the host.
fn carried(
    weight: &types::Tensor,
    device: Device,
    stream: &Stream,
) -> Result<types::Tensor, Failed> {
    if device == Device::Cpu {
        return Ok(download(weight, stream)?.copied());
    }
    let _mode = InferenceMode::enter()?;
    let _current = InStream::enter(stream)?;
    let there = take_in(weight, stream, stream)?;
    let mut left = leave(vec![there], stream)?;
    left.pop()
        .ok_or_else(|| super::super::cause::Cause::new("nothing came of a weight").into())
}

impl Prepared for AtenCudaPrepared {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn weight_bytes(&self) -> usize {
        self.resident().holding.bytes() + self.on_host.bytes()
    }

    fn held(&self) -> Held {
        self.resident().holding.held()
    }

    fn move_to(&self, device: Device) -> Result<(), EngineError> {
        let before = self.resident();
        if before.device == device {
            return Ok(());
        }
        let moved = before.moved_to(self.manner.ordinal, device)?;
        let mut resident = self.resident.lock().unwrap_or_else(PoisonError::into_inner);
        *resident = Arc::new(moved);
        Ok(())
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        set_threads(self.threads);
        let resident = self.resident();
        if resident.device != Device::Cuda(self.manner.ordinal) {
            let cause = "the weights are on the host".to_owned();
            return Err(EngineError::Fault(cause));
        }
        let session = CudaSession::new(
            self.signature.clone(),
            self.plan.clone(),
            self.obstacle.clone(),
            (self.on_host.clone(), resident),
            self.manner,
        );
        Ok(Box::new(
            session.map_err(|failed| failed.on(self.manner.ordinal, None))?,
        ))
    }
}
