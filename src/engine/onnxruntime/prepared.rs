//! A model made ready: the bytes that each session is made from.

use std::fmt;
use std::sync::Arc;

use crate::engine::{EngineError, Prepared, Session};
use crate::graph::{Graph, ValueOrigin};
use crate::types::Signature;

use super::library::environment;
use super::session::OnnxRuntimeSession;

/// A block of the `onnxruntime` engine. Each session holds weights of its own, laid out by ONNX Runtime.
pub struct OnnxRuntimePrepared {
    signature: Signature,
    /// The graph, written as a model of its own.
    model: Arc<[u8]>,
    threads: usize,
    weight_bytes: usize,
}

impl OnnxRuntimePrepared {
    /// Makes a graph ready; `threads` is the number each session's operators use.
    pub fn new(graph: &Graph, signature: Signature, threads: usize) -> Result<Self, EngineError> {
        environment()?;
        let weights = graph.values.iter().filter_map(|value| match &value.origin {
            ValueOrigin::Initializer(initializer) => Some(initializer.tensor.bytes().len()),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        });
        let prepared = Self {
            signature,
            weight_bytes: weights.sum(),
            model: written(graph)?,
            threads: threads.max(1),
        };
        // A model that ONNX Runtime refuses is refused now, not when the first block starts.
        prepared.open().map_err(|cause| EngineError::Load {
            path: graph.path.clone(),
            cause,
        })?;
        Ok(prepared)
    }

    fn open(&self) -> Result<OnnxRuntimeSession, String> {
        let (signature, weight_bytes) = (&self.signature, self.weight_bytes);
        OnnxRuntimeSession::new(signature, &self.model, self.threads, weight_bytes)
    }
}

fn written(graph: &Graph) -> Result<Arc<[u8]>, EngineError> {
    let bytes = graph.to_onnx().map_err(|error| EngineError::Load {
        path: graph.path.clone(),
        cause: error.to_string(),
    })?;
    Ok(bytes.into())
}

impl Prepared for OnnxRuntimePrepared {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(self.open().map_err(EngineError::Fault)?))
    }
}

impl fmt::Debug for OnnxRuntimePrepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxRuntimePrepared")
            .field("signature", &self.signature)
            .field("threads", &self.threads)
            .field("weight_bytes", &self.weight_bytes)
            .finish_non_exhaustive()
    }
}
