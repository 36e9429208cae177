//! From a block's source to something that runs, whichever the engine.

use std::path::Path;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{CudaSpec, Device, GraphEngine, ImageSpec, MockSpec, Passes, Signature};

use super::builtin::DecodeImage;
use super::cuda::{Presence, presence};
use super::graphs::graph_engine;
use super::mock::MockPrepared;
use super::torch::{AtenCudaPrepared, TorchScriptPrepared};
use super::{EngineError, Prepared, Seat, prepare_for, torch};

/// What a block runs.
#[derive(Debug, Clone)]
pub enum BlockSource<'a> {
    /// A graph, with the signature of its inputs and outputs in their order, and how it may be rewritten.
    Graph {
        graph: &'a Graph,
        signature: Signature,
        engine: GraphEngine,
        passes: Passes,
    },
    /// A TorchScript file with its declared signature.
    TorchScript {
        path: &'a Path,
        signature: &'a Signature,
    },
    DecodeImage(&'a ImageSpec),
    Mock(&'a MockSpec),
}

/// Tells whether blocks can run on a device. Touches none.
pub fn check_device(device: Device) -> Result<(), EngineError> {
    let Device::Cuda(ordinal) = device else {
        return Ok(());
    };
    let unavailable = |cause: String| EngineError::Device { device, cause };
    match presence() {
        Presence::Devices(count) if usize::from(ordinal) < count => {}
        found => return Err(unavailable(found.to_string())),
    }
    torch::cuda_available().map_err(|error| unavailable(error.to_string()))
}

/// Tells why something cannot run on a device, if it cannot: what it computes on the host there is no kernel for elsewhere.
pub fn check_place(source: &BlockSource<'_>, device: Device) -> Result<(), EngineError> {
    let Device::Cuda(_) = device else {
        return Ok(());
    };
    let refused = |what: &str| {
        let cause = format!("{what}; run the block on \"cpu\"");
        Err(EngineError::Device { device, cause })
    };
    match source {
        BlockSource::Graph {
            graph,
            signature,
            engine: GraphEngine::Aten | GraphEngine::Auto,
            ..
        } => {
            let specs = signature.inputs.iter().chain(&signature.outputs);
            let mut specs = specs.filter(|spec| !torch::on_devices(spec.dtype));
            if let Some(odd) = specs.next() {
                let (name, dtype) = (&odd.name, odd.dtype);
                return refused(&format!(
                    "{name:?} is {dtype}, which the host computes with"
                ));
            }
            let misplaced = torch::misplaced(graph);
            let Some((node, op, cause)) = misplaced.first() else {
                return Ok(());
            };
            let more = match misplaced.len() {
                1 => String::new(),
                count => format!(", and {} more", count - 1),
            };
            let what = format!("operator {node:?} ({op}) cannot be placed there: {cause}{more}");
            let cause = format!("{what}; cut the model before and behind it, or run it on \"cpu\"");
            Err(EngineError::Device { device, cause })
        }
        BlockSource::Graph { .. } => refused("the engine \"onnxruntime\" runs on the CPU here"),
        BlockSource::TorchScript { .. } => refused("a TorchScript file runs on the CPU here"),
        BlockSource::DecodeImage(_) => refused("images are decoded on the host"),
        BlockSource::Mock(_) => refused("a mock computes on the host"),
    }
}

/// Makes a block ready. `threads` is the number that the operators of one session use.
///
/// May take long: files are read and weights copied. Nothing of the source is needed afterwards.
pub fn prepare(
    source: BlockSource<'_>,
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, EngineError> {
    let seat = Seat {
        block: "",
        device,
        rows_max: 1,
        cuda: CudaSpec::default(),
    };
    prepare_for(source, threads, seat)
}

/// Makes a block on the host, in the form in which a device wants it.
pub(super) fn make(
    source: BlockSource<'_>,
    threads: usize,
    device: Device,
    cuda: CudaSpec,
) -> Result<Arc<dyn Prepared>, EngineError> {
    check_place(&source, device)?;
    Ok(match source {
        BlockSource::Graph {
            graph,
            signature,
            engine,
            passes,
        } => match device {
            Device::Cuda(ordinal) => {
                let seat = (ordinal, cuda);
                Arc::new(AtenCudaPrepared::new(
                    graph, signature, threads, passes, seat,
                )?)
            }
            Device::Cpu | Device::Sim(_) => {
                graph_engine(engine).prepare(graph, signature, threads, passes)?
            }
        },
        BlockSource::TorchScript { path, signature } => {
            Arc::new(TorchScriptPrepared::new(path, signature.clone(), threads)?)
        }
        BlockSource::DecodeImage(spec) => Arc::new(DecodeImage::new(spec)?),
        BlockSource::Mock(spec) => Arc::new(MockPrepared::new(spec.clone())),
    })
}
