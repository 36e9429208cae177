//! A model made ready: the bytes that each session is made from, and the first session.

use std::fmt;
use std::sync::Mutex;

use crate::engine::{EngineError, Held, Prepared, Session};
use crate::graph::{Graph, ValueOrigin};
use crate::types::{Device, Signature, lock};

use super::library::environment;
use super::session::OnnxRuntimeSession;

/// A block of the `onnxruntime` engine. Each session holds weights of its own, laid out by ONNX Runtime.
pub struct OnnxRuntimePrepared {
    signature: Signature,
    /// The graph, written as a model of its own.
    model: Vec<u8>,
    threads: usize,
    weight_bytes: usize,
    /// Whose memory sessions take.
    device: Mutex<Device>,
    /// Opened to see whether ONNX Runtime takes the model; waits for the first instance.
    first: Mutex<Option<OnnxRuntimeSession>>,
}

impl OnnxRuntimePrepared {
    /// Makes a graph ready; `threads` is the number each session's operators use.
    pub fn new(graph: &Graph, signature: Signature, threads: usize) -> Result<Self, EngineError> {
        environment()?;
        let weights = graph.values.iter().filter_map(|value| match &value.origin {
            ValueOrigin::Initializer(initializer) => Some(initializer.tensor.bytes().len()),
            ValueOrigin::Input(_) | ValueOrigin::Node(..) => None,
        });
        let weight_bytes = weights.sum();
        let refused = |cause| EngineError::Load {
            path: graph.path.clone(),
            cause,
        };
        let model = graph.to_onnx();
        let model = model.map_err(|error| refused(error.to_string()))?;
        let threads = threads.max(1);
        // A model that ONNX Runtime refuses is refused now, not when the first block starts.
        let first = OnnxRuntimeSession::new(&signature, &model, threads, weight_bytes);
        let first = first.map_err(refused)?;
        Ok(Self {
            signature,
            weight_bytes,
            model,
            threads,
            device: Mutex::default(),
            first: Mutex::new(Some(first)),
        })
    }

    /// Lends the session that waits for the first instance, which thereby need not be opened twice.
    ///
    /// # Errors
    /// If that has been taken, and another cannot be opened.
    pub(in crate::engine) fn with_first<T>(
        &self,
        run: impl FnOnce(&mut dyn Session) -> T,
    ) -> Result<T, EngineError> {
        let mut first = lock(&self.first);
        let session = match &mut *first {
            Some(session) => session,
            none => none.insert(self.open()?),
        };
        Ok(run(session))
    }

    fn open(&self) -> Result<OnnxRuntimeSession, EngineError> {
        let (signature, weight_bytes) = (&self.signature, self.weight_bytes);
        let session = OnnxRuntimeSession::new(signature, &self.model, self.threads, weight_bytes)
            .map_err(EngineError::Fault)?;
        session.move_to(*lock(&self.device))?;
        Ok(session)
    }
}

impl Prepared for OnnxRuntimePrepared {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    fn held(&self) -> Held {
        Held {
            by_session: self.weight_bytes as u64,
            ..Held::default()
        }
    }

    fn move_to(&self, device: Device) -> Result<(), EngineError> {
        if let Some(first) = &*lock(&self.first) {
            first.move_to(device)?;
        }
        *lock(&self.device) = device;
        Ok(())
    }

    fn session(&self) -> Result<Box<dyn Session>, EngineError> {
        let first = lock(&self.first).take();
        let session = match first {
            Some(session) => session,
            None => self.open()?,
        };
        Ok(Box::new(session))
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
