//! From a block's source to something that runs, whichever the engine.

use std::path::Path;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{
    AlignedBytes, DType, Device, GraphEngine, ImageSpec, MockSpec, Passes, Shape, Signature,
    Tensor, TensorError, TensorSpec, byte_count,
};

use super::builtin::DecodeImage;
use super::cuda::presence;
use super::graphs::graph_engine;
use super::mock::MockPrepared;
use super::torch::TorchScriptPrepared;
use super::{EngineError, Prepared, Seat, Session, prepare_for};

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

/// Runs a session once on zeros, so that the first request does not pay for lazy initialisation, and a block whose
/// results contradict its signature is found out before traffic. Symbolic dimensions are 1.
///
/// An operator may refuse that size where it is a guess, as a convolution does an image smaller than its kernel, so then
/// its failure is none of the block. A first dimension counts rows, of which one has to do.
///
/// Does nothing for a session that does not want it, or that takes BYTES, of which there is no zero.
pub fn warm(session: &mut dyn Session, signature: &Signature) -> Result<(), EngineError> {
    let inputs = &signature.inputs;
    if !session.wants_warming() || inputs.iter().any(|spec| spec.dtype == DType::Bytes) {
        return Ok(());
    }
    let zeros = inputs.iter().map(zeros).collect::<Result<Vec<_>, _>>()?;
    let guessed = inputs
        .iter()
        .any(|spec| spec.shape.0.iter().skip(1).any(|dim| dim.fixed().is_none()));
    match session.run(&zeros) {
        Err(error @ EngineError::Operator { .. }) if guessed => {
            tracing::debug!(%error, "warming on guessed sizes failed");
            Ok(())
        }
        result => result.map(drop),
    }
}

/// Returns zeros of a declared shape, symbolic sizes being 1.
pub(super) fn zeros(spec: &TensorSpec) -> Result<Tensor, EngineError> {
    let dims = spec.shape.0.iter();
    let shape: Shape = dims.map(|dim| dim.fixed().unwrap_or(1)).collect();
    let length = byte_count(spec.dtype, &shape).map_err(TensorError::from)?;
    let memory = Arc::new(AlignedBytes::zeroed(length));
    Ok(Tensor::new(spec.dtype, shape, memory)?)
}
