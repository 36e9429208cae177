//! From a block's source to something that runs, whichever the engine.

use std::path::Path;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{Device, GraphEngine, ImageSpec, MockSpec, Passes, Signature};

use super::builtin::DecodeImage;
use super::cuda::presence;
use super::graphs::graph_engine;
use super::mock::MockPrepared;
use super::torch::TorchScriptPrepared;
use super::{EngineError, Prepared, Seat, prepare_for};

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

/// Tells whether blocks can run on a device.
pub fn check_device(device: Device) -> Result<(), EngineError> {
    if let Device::Cpu | Device::Sim(_) = device {
        return Ok(());
    }
    let cause = format!(
        "{}, but this version runs blocks on \"cpu\" and \"sim:N\" only",
        presence()
    );
    Err(EngineError::Device { device, cause })
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
    };
    prepare_for(source, threads, seat)
}

/// Makes a block on the host.
pub(super) fn make(
    source: BlockSource<'_>,
    threads: usize,
) -> Result<Arc<dyn Prepared>, EngineError> {
    Ok(match source {
        BlockSource::Graph {
            graph,
            signature,
            engine,
            passes,
        } => graph_engine(engine).prepare(graph, signature, threads, passes)?,
        BlockSource::TorchScript { path, signature } => {
            Arc::new(TorchScriptPrepared::new(path, signature.clone(), threads)?)
        }
        BlockSource::DecodeImage(spec) => Arc::new(DecodeImage::new(spec)?),
        BlockSource::Mock(spec) => Arc::new(MockPrepared::new(spec.clone())),
    })
}
