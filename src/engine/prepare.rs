//! From a block's source to something that runs, whichever the engine.

use std::path::Path;
use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{
    AlignedBytes, DType, Device, Dim, ImageSpec, MockSpec, Shape, Signature, Tensor, TensorError,
    byte_count,
};

use super::builtin::DecodeImage;
use super::cuda::presence;
use super::mock::MockPrepared;
use super::torch::{AtenPrepared, TorchScriptPrepared};
use super::{EngineError, Prepared, Session};

/// What a block runs.
#[derive(Debug, Clone)]
pub enum BlockSource<'a> {
    /// A graph, with the signature of its inputs and outputs in their order.
    Graph {
        graph: &'a Graph,
        signature: Signature,
    },
    /// A TorchScript file with its declared signature.
    TorchScript {
        path: &'a Path,
        signature: &'a Signature,
    },
    DecodeImage(&'a ImageSpec),
    Mock(&'a MockSpec),
}

/// Makes a block ready. `threads` is the number that the operators of one session use.
///
/// May take long: files are read and weights copied. Nothing of the source is needed afterwards.
pub fn prepare(
    source: BlockSource<'_>,
    threads: usize,
    device: Device,
) -> Result<Arc<dyn Prepared>, EngineError> {
    if device != Device::Cpu {
        let cause = format!("{}, but blocks run on \"cpu\" only so far", presence());
        return Err(EngineError::Device { device, cause });
    }
    Ok(match source {
        BlockSource::Graph { graph, signature } => {
            Arc::new(AtenPrepared::new(graph, signature, threads)?)
        }
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
/// Does nothing for a session that does not want it, or that takes BYTES, of which there is no zero.
pub fn warm(session: &mut dyn Session, signature: &Signature) -> Result<(), EngineError> {
    if !session.wants_warming()
        || signature
            .inputs
            .iter()
            .any(|spec| spec.dtype == DType::Bytes)
    {
        return Ok(());
    }
    let inputs: Vec<Tensor> = signature
        .inputs
        .iter()
        .map(|spec| {
            let shape: Shape = spec
                .shape
                .0
                .iter()
                .map(|dim| Dim::fixed(dim).unwrap_or(1))
                .collect();
            let length = byte_count(spec.dtype, &shape).map_err(TensorError::from)?;
            Tensor::new(spec.dtype, shape, Arc::new(AlignedBytes::zeroed(length)))
        })
        .collect::<Result<_, _>>()?;
    session.run(&inputs).map(drop)
}
