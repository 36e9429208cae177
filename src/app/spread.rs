//! Devices for the blocks of which the configuration leaves it open: what there is, what each block asks for, and the choice.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::engine::cuda;
use crate::engine::{EngineError, Held, check_device, check_place, workspace_bytes};
use crate::graph::{Digest, Graph};
use crate::plan::{Candidate, EdgeFrom, EdgeTo, Flow, Need, Plan, PlannedBlock, compile, spread};
use crate::types::{
    Bindings, BlockSpec, Device, DeviceChoice, DeviceSpec, Problem, Signature, SourceSpec, Spec,
};

use super::Loaded;
use super::memory::guess;

/// Operations that a mock counts as for each nanosecond of its latency.
const MOCK_OPERATIONS_PER_NS: u128 = 10;

/// Where blocks are, by name.
pub(super) type Present = BTreeMap<String, Device>;

/// Returns where the blocks of a plan are.
pub(super) fn devices_now(plan: &Plan) -> Present {
    let blocks = plan.blocks.iter();
    blocks
        .map(|block| (block.spec.name.clone(), block.placement.device))
        .collect()
}

impl Loaded {
    /// Chooses devices for blocks that have none yet.
    pub(super) fn choose_devices(self) -> Result<Self, Vec<Problem>> {
        let open = |block: &BlockSpec| block.device_choice == DeviceChoice::Open;
        if !self.spec.blocks.iter().any(open) {
            return Ok(self);
        }
        self.choose(&Present::new())
    }

    /// Chooses anew, where blocks are somewhere already.
    pub(super) fn choose_devices_again(self, present: &Present) -> Result<Self, Vec<Problem>> {
        if !self.spec.blocks.iter().any(is_left_open) {
            return Ok(self);
        }
        self.choose(present).map(Self::noting_reach)
    }

    fn choose(mut self, present: &Present) -> Result<Self, Vec<Problem>> {
        let devices = devices(&self.spec);
        let blocks = self.candidates(&devices, present);
        let seats = spread(&blocks, &flows(&self.plan), &devices);
        for (block, seat) in self.spec.blocks.iter_mut().zip(seats) {
            if is_left_open(block) {
                block.device = seat.device;
                block.device_choice = DeviceChoice::Chosen {
                    reason: seat.reason,
                };
            }
        }
        let signatures = self.plan.blocks.iter();
        let signatures: Vec<Option<Signature>> = signatures
            .map(|block| Some(block.signature.clone()))
            .collect();
        self.plan = compile(&self.spec, &signatures, self.plan.epoch)?;
        Ok(self)
    }

    fn candidates(&self, devices: &[DeviceSpec], present: &Present) -> Vec<Candidate> {
        let blocks = self.plan.blocks.iter().zip(&self.graphs).enumerate();
        let candidate = |(index, (block, graph)): (usize, (&PlannedBlock, &Option<Graph>))| {
            let fixed = if is_left_open(&block.spec) {
                self.host_only(index, devices)
            } else {
                Some("named by the configuration".to_owned())
            };
            // What fits cannot be a question where there is no choice.
            let held = match devices {
                [_] => Held::default(),
                _ => self.estimate(index),
            };
            let device = if is_left_open(&block.spec) {
                Device::Cpu
            } else {
                block.spec.device
            };
            let mut need = need(block, device, held);
            if matches!(devices, [only] if only.device == Device::Cpu) {
                // What a run on the host takes is in no ledger.
                need.workspace = 0;
            }
            Candidate {
                need,
                fixed,
                present: present.get(&block.spec.name).copied(),
                work: work(&block.spec.source, graph.as_ref()),
            }
        };
        blocks.map(candidate).collect()
    }

    /// Says why a block has to be on the host, if it cannot be on an accelerator of this machine.
    fn host_only(&self, block: usize, devices: &[DeviceSpec]) -> Option<String> {
        let first = devices.first()?.device;
        let error = check_place(&self.source(block), first).err()?;
        Some(match error {
            EngineError::Device { cause, .. } => cause,
            other => other.to_string(),
        })
    }
}

fn is_left_open(block: &BlockSpec) -> bool {
    block.device_choice != DeviceChoice::Named
}

/// Returns the devices to choose from: those that the configuration simulates, else the accelerators of this machine, else the
/// host.
fn devices(spec: &Spec) -> Vec<DeviceSpec> {
    let declared = spec.devices.iter();
    let mut simulated: Vec<_> = declared
        .filter(|spec| matches!(spec.device, Device::Sim(_)))
        .cloned()
        .collect();
    if !simulated.is_empty() {
        simulated.sort_by_key(|spec| spec.device);
        return simulated;
    }
    let said = |device| {
        spec.devices
            .iter()
            .find(|spec| spec.device == device)
            .cloned()
    };
    let cuda = present_cuda().iter().map(|&(ordinal, memory_bytes)| {
        let device = Device::Cuda(ordinal);
        let spec = said(device).unwrap_or_else(|| DeviceSpec::unbounded(device));
        DeviceSpec {
            memory_bytes: spec.memory_bytes.or(Some(memory_bytes)),
            ..spec
        }
    });
    let cuda: Vec<_> = cuda
        .filter(|spec| check_device(spec.device).is_ok())
        .collect();
    if !cuda.is_empty() {
        return cuda;
    }
    vec![said(Device::Cpu).unwrap_or_else(|| DeviceSpec::unbounded(Device::Cpu))]
}

/// Returns the CUDA devices of this machine with their memory, which is asked for once.
fn present_cuda() -> &'static [(u16, u64)] {
    static FOUND: OnceLock<Vec<(u16, u64)>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let all = cuda::devices().unwrap_or_default().into_iter();
        all.map(|found| (found.ordinal, found.memory_bytes))
            .collect()
    })
}

fn need(block: &PlannedBlock, device: Device, held: Held) -> Need {
    let spec = &block.spec;
    let sessions = spec.instances as u64;
    let session = workspace_bytes(&block.signature, spec.batch.rows_max);
    let identity = Digest::of("placed", spec.name.as_bytes());
    let mut weights = held.by_content;
    if held.own > 0 {
        weights.insert(identity, guess(held.own));
    }
    let process = &block.placement.process;
    Need {
        block: spec.name.clone(),
        identity,
        device,
        process: process.clone(),
        weights,
        workspace: sessions.saturating_mul(held.by_session.saturating_add(session)),
        load: std::time::Duration::ZERO,
    }
}

/// Returns the operations of a run on inputs of the smallest shape.
fn work(source: &SourceSpec, graph: Option<&Graph>) -> u64 {
    match (source, graph) {
        (_, Some(graph)) => graph.costs(&Bindings::new()).total(graph).flops,
        (SourceSpec::Mock(mock), None) => {
            let operations = mock.latency.as_nanos() * MOCK_OPERATIONS_PER_NS;
            u64::try_from(operations).unwrap_or(u64::MAX)
        }
        (
            SourceSpec::Graph { .. } | SourceSpec::TorchScript { .. } | SourceSpec::DecodeImage(_),
            None,
        ) => 0,
    }
}

/// Returns the bytes that go from block to block for one request of each pipeline.
fn flows(plan: &Plan) -> Vec<Flow> {
    let pipelines = plan.pipelines.iter();
    let flows = pipelines.flat_map(|pipeline| {
        pipeline.edges.iter().filter_map(|edge| {
            let (EdgeFrom::Step { step: from, output }, EdgeTo::Step { step: to, .. }) =
                (edge.from, edge.to)
            else {
                return None;
            };
            let [from, to] = [from, to].map(|step| pipeline.steps[step].block);
            let tensor = plan.blocks[from].signature.outputs[output].clone();
            let signature = Signature {
                inputs: vec![tensor],
                outputs: Vec::new(),
            };
            let bytes = workspace_bytes(&signature, 1);
            Some(Flow { from, to, bytes })
        })
    });
    flows.collect()
}
