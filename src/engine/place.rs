//! Blocks at their places: made on the host, then brought to a device, where their memory is accounted for.
//!
//! A block is made in two steps, so that it can wait on the host for room on the device: [`stage`] reads and packs,
//! [`Staged::place`] brings what came of it to the device. [`prepare_for`] does both.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::telemetry::metrics::{self, BlockMetrics};
use crate::types::{
    CudaSpec, Device, Dim, EagerReason, FaultPoint, Heap, Rooms, Signature, Tensor, byte_count,
    lock,
};

use super::ledger::{Charge, Lease, Ledger};
use super::prepare::make;
use super::sim::SimDevice;
use super::timeline::noted;
use super::transfer::{bring, bytes_elsewhere, leave};
use super::{BlockSource, Capture, EngineError, Held, Prepared, Session, check_device};

/// Where a block is to run, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    pub block: &'a str,
    pub device: Device,
    /// Of one run at most.
    pub rows_max: usize,
    pub cuda: CudaSpec,
}

/// A block that is made, and on the host still.
#[derive(Debug)]
pub struct Staged {
    inner: Arc<dyn Prepared>,
    block: String,
    device: Device,
    rows_max: usize,
    took: Duration,
}

/// A block that is accounted for at its place.
#[derive(Debug)]
struct Placed {
    inner: Arc<dyn Prepared>,
    block: String,
    /// Where it runs.
    device: Device,
    /// Where its memory is accounted for now.
    at: Mutex<Device>,
    /// A simulated one.
    sim: Option<Arc<SimDevice>>,
    workspace_bytes: u64,
    uses: Arc<Uses>,
    took: Duration,
}

/// What is told of a block for as long as it or a session of it lives.
#[derive(Debug)]
struct Uses {
    lease: Arc<Lease>,
    metrics: Arc<BlockMetrics>,
    weight_bytes: i64,
}

#[derive(Debug)]
struct PlacedSession {
    inner: Box<dyn Session>,
    block: Arc<str>,
    device: Device,
    sim: Option<Arc<SimDevice>>,
    workspace_bytes: u64,
    /// What inputs and outputs of a run take, as declared.
    _workspace: Option<Charge>,
    /// What captured runs take, for each of them.
    captured: Vec<Charge>,
    told: bool,
    uses: Arc<Uses>,
}

/// Makes a block on the host.
pub fn stage(
    source: BlockSource<'_>,
    threads: usize,
    seat: Seat<'_>,
) -> Result<Staged, EngineError> {
    check_device(seat.device)?;
    if let Some(sim) = SimDevice::of(seat.device) {
        sim.check()?;
    }
    let started = Instant::now();
    Ok(Staged {
        inner: make(source, threads, seat.device, seat.cuda)?,
        block: seat.block.to_owned(),
        device: seat.device,
        rows_max: seat.rows_max,
        took: started.elapsed(),
    })
}

/// Makes a block at its place.
pub fn prepare_for(
    source: BlockSource<'_>,
    threads: usize,
    seat: Seat<'_>,
) -> Result<Arc<dyn Prepared>, EngineError> {
    stage(source, threads, seat)?.place()
}

/// Returns the bytes of the inputs and outputs of one run, where sizes that a request chooses are 1, or `rows` where they
/// count rows of a batch.
pub fn workspace_bytes(signature: &Signature, rows: usize) -> u64 {
    let rows = if signature.batchable() {
        rows.max(1)
    } else {
        1
    };
    let specs = signature.inputs.iter().chain(&signature.outputs);
    let bytes = specs.map(|spec| {
        let dims = spec.shape.0.iter().enumerate();
        let shape: Vec<usize> = dims
            .map(|(place, dim)| match dim {
                Dim::Fixed(size) => *size,
                Dim::Symbol(_) if place == 0 => rows,
                Dim::Symbol(_) | Dim::Any => 1,
            })
            .collect();
        byte_count(spec.dtype, &shape).map_or(0, |bytes| bytes as u64)
    });
    bytes.fold(0, u64::saturating_add)
}

impl Staged {
    /// Returns the name of the block.
    pub fn block(&self) -> &str {
        &self.block
    }

    /// Returns what it holds.
    pub fn held(&self) -> Held {
        self.inner.held()
    }

    /// Brings it to its device. Where there is no room, nothing of it stays there.
    pub fn place(self) -> Result<Arc<dyn Prepared>, EngineError> {
        let Self {
            inner,
            block,
            device,
            rows_max,
            took,
        } = self;
        let started = Instant::now();
        let ledger = Ledger::of(device);
        let sim = SimDevice::of(device);
        if let Some(sim) = &sim {
            let bytes = inner.held().total(1);
            sim.enter(FaultPoint::Load, &block, bytes)?;
            inner.move_to(device)?;
            sim.transfer(bytes);
        } else if let Device::Cuda(_) = device {
            inner.move_to(device)?;
        }
        ledger.check()?;
        let uses = Arc::new(Uses::new(&block, &ledger, inner.weight_bytes() as u64));
        inner.settle(&uses.lease);
        let workspace_bytes = match device {
            Device::Sim(_) | Device::Cuda(_) => workspace_bytes(inner.signature(), rows_max),
            Device::Cpu => 0,
        };
        Ok(Arc::new(Placed {
            inner,
            block,
            device,
            at: Mutex::new(device),
            sim,
            workspace_bytes,
            uses,
            took: took + started.elapsed(),
        }))
    }
}

impl Prepared for Placed {
    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn weight_bytes(&self) -> usize {
        self.inner.weight_bytes()
    }

    fn held(&self) -> Held {
        self.inner.held()
    }

    fn move_to(&self, device: Device) -> Result<(), EngineError> {
        let mut at = lock(&self.at);
        if *at == device {
            return Ok(());
        }
        self.inner.move_to(device)?;
        if let Some(sim) = &self.sim {
            sim.transfer(self.inner.held().total(1));
        }
        *at = device;
        Ok(())
    }

    fn tenant(&self) -> Option<u64> {
        Some(self.uses.lease.id())
    }

    fn load_time(&self) -> Duration {
        self.took
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        let Self { sim, uses, .. } = self;
        if let Some(sim) = sim {
            sim.check()?;
        }
        let workspace = match self.device {
            Device::Sim(_) | Device::Cuda(_) => {
                Some(uses.lease.workspace_within(self.workspace_bytes)?)
            }
            Device::Cpu => None,
        };
        Ok(Box::new(PlacedSession {
            inner: self.inner.session()?,
            block: self.block.as_str().into(),
            device: self.device,
            sim: sim.clone(),
            workspace_bytes: self.workspace_bytes,
            _workspace: workspace,
            captured: Vec::new(),
            told: false,
            uses: uses.clone(),
        }))
    }
}

impl Uses {
    /// `weights` are the bytes of the weights that the block uses. One without a name is told of to nobody.
    fn new(block: &str, ledger: &Arc<Ledger>, weights: u64) -> Self {
        let metrics = match block {
            "" => Arc::default(),
            named => metrics::block(named),
        };
        let weight_bytes = i64::try_from(weights).unwrap_or(i64::MAX);
        // Added and not set: blocks of another configuration, or in another process, may bear the name.
        metrics.weight_bytes.add(weight_bytes);
        Self {
            lease: ledger.lease(block, weights),
            metrics,
            weight_bytes,
        }
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        self.metrics.weight_bytes.sub(self.weight_bytes);
        self.lease.forget_weights();
    }
}

impl PlacedSession {
    /// Runs on a simulated device: what comes from elsewhere is copied there, and what leaves the process from there.
    fn simulate(
        &mut self,
        sim: &SimDevice,
        inputs: &[Tensor],
        rooms: &dyn Rooms,
    ) -> Result<Vec<Tensor>, EngineError> {
        let taken = bytes_of(inputs);
        sim.enter(FaultPoint::Run, &self.block, taken)?;
        // Beyond what is declared, as where sizes are the request's to choose.
        let beyond = taken.saturating_sub(self.workspace_bytes);
        let _inputs = self.more(beyond)?;
        let inputs = bring(inputs, self.device, &self.uses.metrics)?;
        let outputs = self.inner.run_in(&inputs, &Heap)?;
        let all = taken.saturating_add(bytes_of(&outputs));
        let _outputs = self.more(all.saturating_sub(self.workspace_bytes) - beyond)?;
        leave(outputs, self.device, rooms, &self.uses.metrics)
    }

    /// Counts a run that gave outputs as a replay, or as one that could have been one.
    fn note_replay(&self) {
        match self.inner.replayed() {
            Some(true) => self.uses.metrics.cuda_graph_replays.add(1),
            Some(false) => self.uses.metrics.eager(EagerReason::Shape),
            None => {}
        }
    }

    /// Counts what was not captured, and tells it once.
    fn note_capture(&mut self, capture: Capture) -> Capture {
        if let Capture::Refused { why, cause } = &capture {
            self.uses.metrics.eager(*why);
            if !std::mem::replace(&mut self.told, true) {
                let (block, device, reason) = (&self.block, self.device, why.name());
                tracing::info!(%block, %device, reason, %cause, "runs are not captured as CUDA graphs");
            }
        }
        capture
    }

    fn more(&self, bytes: u64) -> Result<Option<Charge>, EngineError> {
        let charge = (bytes > 0).then(|| self.uses.lease.workspace_within(bytes));
        Ok(charge.transpose()?)
    }
}

impl Session for PlacedSession {
    fn run_in(&mut self, inputs: &[Tensor], rooms: &dyn Rooms) -> Result<Vec<Tensor>, EngineError> {
        let (block, device) = (self.block.clone(), self.device);
        noted(&block, device, || self.run_here(inputs, rooms))
    }

    fn wants_warming(&self) -> bool {
        self.inner.wants_warming()
    }

    fn can_capture(&self) -> bool {
        self.inner.can_capture()
    }

    fn capture(&mut self, inputs: &[Tensor]) -> Result<Capture, EngineError> {
        let capture = self.inner.capture(inputs)?;
        let Capture::Done { bytes } = capture else {
            return Ok(self.note_capture(capture));
        };
        if bytes == 0 {
            return Ok(capture);
        }
        match self.uses.lease.workspace_within(bytes) {
            Ok(charge) => {
                self.captured.push(charge);
                self.uses.metrics.cuda_graphs.add(1);
                let (block, device) = (&self.block, self.device);
                tracing::debug!(%block, %device, bytes, "runs on a declared shape are captured");
                Ok(capture)
            }
            Err(full) => {
                self.inner.forget_capture();
                let (why, cause) = (EagerReason::NoRoom, full.to_string());
                Ok(self.note_capture(Capture::Refused { why, cause }))
            }
        }
    }

    fn forget_capture(&mut self) {
        self.inner.forget_capture();
        if self.captured.pop().is_some() {
            self.uses.metrics.cuda_graphs.sub(1);
        }
    }

    fn replayed(&self) -> Option<bool> {
        self.inner.replayed()
    }
}

impl PlacedSession {
    fn run_here(
        &mut self,
        inputs: &[Tensor],
        rooms: &dyn Rooms,
    ) -> Result<Vec<Tensor>, EngineError> {
        if let Some(sim) = self.sim.clone() {
            return self.simulate(&sim, inputs, rooms);
        }
        if let Device::Cuda(_) = self.device {
            let copied = inputs
                .iter()
                .map(|tensor| bytes_elsewhere(tensor, self.device));
            self.uses.metrics.bytes_copied.add(copied.sum());
            // As on a simulated one. Outputs are libtorch's by then, and its allocator's to refuse.
            let taken = bytes_of(inputs);
            let _inputs = self.more(taken.saturating_sub(self.workspace_bytes))?;
            let outputs = self.inner.run_in(inputs, rooms);
            if outputs.is_ok() {
                self.note_replay();
            }
            return outputs;
        }
        if inputs.iter().all(|tensor| tensor.device() == self.device) {
            return self.inner.run_in(inputs, rooms);
        }
        let inputs = bring(inputs, self.device, &self.uses.metrics)?;
        self.inner.run_in(&inputs, rooms)
    }
}

impl Drop for PlacedSession {
    fn drop(&mut self) {
        let captured = i64::try_from(self.captured.len()).unwrap_or(i64::MAX);
        self.uses.metrics.cuda_graphs.sub(captured);
    }
}

fn bytes_of(tensors: &[Tensor]) -> u64 {
    let bytes = tensors.iter().map(|tensor| tensor.byte_count() as u64);
    bytes.fold(0, u64::saturating_add)
}
