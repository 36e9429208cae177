//! Preparing on the engine that is remembered, or on the one that wins the trial.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use crate::engine::graphs::{Aten, OnnxRuntime};
use crate::engine::onnxruntime::OnnxRuntimePrepared;
use crate::engine::torch::AtenPrepared;
use crate::engine::{Engine, EngineError, Prepared};
use crate::graph::Graph;
use crate::types::{Passes, Signature};

use super::key::Key;
use super::store;
use super::trial::trial;

#[derive(Debug)]
pub(in crate::engine) struct Auto;

impl Engine for Auto {
    fn name(&self) -> &'static str {
        "auto"
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
        let candidates: [&dyn Engine; 2] = [&Aten, &OnnxRuntime];
        let key = Key::of(graph, &signature, threads, passes);
        let known = store::recall(&key);
        if let Some(engine) = candidates.into_iter().find(|one| known == one.name())
            && let Ok(prepared) = engine.prepare(graph, signature.clone(), threads, passes)
        {
            tracing::debug!(path = %graph.path.display(), engine = known, "engine remembered");
            return Ok(prepared);
        }
        let (aten, runtime) = thread::scope(|scope| {
            let runtime =
                scope.spawn(|| OnnxRuntimePrepared::new(graph, signature.clone(), threads));
            let aten = AtenPrepared::new(graph, signature.clone(), threads, passes);
            (
                aten,
                runtime.join().unwrap_or_else(|panic| resume_unwind(panic)),
            )
        });
        let (aten, runtime) = match (aten, runtime) {
            (Ok(aten), Ok(runtime)) => (aten, runtime),
            (Ok(only), Err(error)) => {
                tracing::debug!(%error, "one engine left to choose from");
                return Ok(Arc::new(only));
            }
            (Err(error), Ok(only)) => {
                tracing::debug!(%error, "one engine left to choose from");
                return Ok(Arc::new(only));
            }
            // That of the engine which is always there says more.
            (Err(error), Err(_)) => return Err(error),
        };
        let tried = aten.session().and_then(|mut first| {
            runtime.with_first(|second| trial([first.as_mut(), second], &signature))?
        });
        let faster = match tried {
            Ok([first, second]) => {
                tracing::debug!(path = %graph.path.display(), ?first, ?second, "engines tried");
                usize::from(second < first)
            }
            Err(error) => {
                tracing::debug!(%error, "no trial on zeros; staying with aten");
                0
            }
        };
        store::remember(key, candidates[faster].name());
        Ok(match faster {
            0 => Arc::new(aten),
            _ => Arc::new(runtime),
        })
    }
}
