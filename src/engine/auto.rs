//! The engine that is whichever of the others is faster on a block, found by trying.
//!
//! Both run the block in turn on zeros of its declared shapes, symbolic sizes being 1, for a bounded time; the one with
//! the lower median stays, the other is dropped. The choice is remembered by the graph's structure, the number of
//! threads and the version of ONNX Runtime for as long as the process lives, so a block that is rebuilt or swapped for
//! one with other weights runs on the same engine. Results differ between engines in the last digits: cutting a model
//! with `auto` gives its parts to engines of their own choice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::graph::{Digest, Graph};
use crate::types::{Passes, Signature, Tensor};

use super::graphs::{Aten, OnnxRuntime};
use super::prepare::{warm, zeros};
use super::{Engine, EngineError, Prepared, Session};

/// Rounds of a trial at most, and the time after which no further one begins.
const ROUNDS_MAX: usize = 15;
const ROUNDS_MIN: usize = 3;
const TRIAL_MAX: Duration = Duration::from_millis(1500);

#[derive(Debug)]
pub(super) struct Auto;

/// Structure of the graph, threads.
type Key = (Digest, usize);

static CHOICES: Mutex<Option<HashMap<Key, &'static str>>> = Mutex::new(None);

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
        let key = (graph.structure_hash(), threads);
        let candidates: [&dyn Engine; 2] = [&Aten, &OnnxRuntime];
        let known = remembered(&key);
        if let Some(engine) = candidates.into_iter().find(|one| Some(one.name()) == known)
            && let Ok(prepared) = engine.prepare(graph, signature.clone(), threads, passes)
        {
            return Ok(prepared);
        }
        let [first, second] =
            candidates.map(|engine| engine.prepare(graph, signature.clone(), threads, passes));
        let (aten, runtime) = match (first, second) {
            (Ok(aten), Ok(runtime)) => (aten, runtime),
            (Ok(only), Err(error)) | (Err(error), Ok(only)) => {
                tracing::debug!(%error, "one engine left to choose from");
                return Ok(only);
            }
            // That of the engine which is always there says more.
            (Err(error), Err(_)) => return Err(error),
        };
        let faster = match trial([&aten, &runtime], &signature) {
            Ok(times) => {
                tracing::debug!(path = %graph.path.display(), ?times, "engines tried");
                usize::from(times[1] < times[0])
            }
            Err(error) => {
                tracing::debug!(%error, "no trial on zeros; staying with aten");
                0
            }
        };
        remember(key, candidates[faster].name());
        Ok([aten, runtime][faster].clone())
    }
}

/// Returns the median time of each.
fn trial(
    candidates: [&Arc<dyn Prepared>; 2],
    signature: &Signature,
) -> Result<[Duration; 2], EngineError> {
    let inputs: Vec<Tensor> = signature
        .inputs
        .iter()
        .map(zeros)
        .collect::<Result<_, _>>()?;
    let [first, second] = candidates;
    let mut sessions = [first.session()?, second.session()?];
    for session in &mut sessions {
        warm(session.as_mut(), signature)?;
    }
    let mut times: [Vec<Duration>; 2] = Default::default();
    let began = Instant::now();
    for round in 0..ROUNDS_MAX {
        if round >= ROUNDS_MIN && began.elapsed() > TRIAL_MAX {
            break;
        }
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            times.push(timed(session.as_mut(), &inputs)?);
        }
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    }))
}

fn timed(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Duration, EngineError> {
    let began = Instant::now();
    session.run(inputs)?;
    Ok(began.elapsed())
}

fn remembered(key: &Key) -> Option<&'static str> {
    let choices = CHOICES.lock().unwrap_or_else(PoisonError::into_inner);
    choices.as_ref()?.get(key).copied()
}

fn remember(key: Key, engine: &'static str) {
    let mut choices = CHOICES.lock().unwrap_or_else(PoisonError::into_inner);
    choices.get_or_insert_default().insert(key, engine);
}
