//! The engines that run graphs, by name.

use std::sync::Arc;

use crate::graph::Graph;
use crate::types::{GraphEngine, Passes, Signature};

use super::auto::Auto;
use super::onnxruntime::OnnxRuntimePrepared;
use super::torch::AtenPrepared;
use super::{Engine, EngineError, Prepared, onnxruntime};

/// Returns the engine that a configuration asks for.
pub fn graph_engine(choice: GraphEngine) -> &'static dyn Engine {
    match choice {
        GraphEngine::Aten => &Aten,
        GraphEngine::OnnxRuntime => &OnnxRuntime,
        GraphEngine::Auto => &Auto,
    }
}

#[derive(Debug)]
pub(super) struct Aten;

#[derive(Debug)]
pub(super) struct OnnxRuntime;

impl Engine for Aten {
    fn name(&self) -> &'static str {
        "aten"
    }

    fn available(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn prepare(
        &self,
        graph: &Graph,
        signature: Signature,
        threads: usize,
        passes: Passes,
    ) -> Result<Arc<dyn Prepared>, EngineError> {
        Ok(Arc::new(AtenPrepared::new(
            graph, signature, threads, passes,
        )?))
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn available(&self) -> Result<(), EngineError> {
        onnxruntime::available()
    }

    fn prepare(
        &self,
        graph: &Graph,
        signature: Signature,
        threads: usize,
        // It rewrites graphs itself.
        _passes: Passes,
    ) -> Result<Arc<dyn Prepared>, EngineError> {
        Ok(Arc::new(OnnxRuntimePrepared::new(
            graph, signature, threads,
        )?))
    }
}
