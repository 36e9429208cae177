//! Running a session behind a fence: whatever it does, the actor goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::engine::{EngineError, Prepared, Session, prove, warm_up};
use crate::types::{FaultKind, ProofSpec, Rooms, Signature, Tensor, panic_message};

/// Why a run gave no outputs.
#[derive(Debug)]
pub(super) enum RunError {
    /// The request is at fault.
    Request(String),
    /// The run failed on what it was given; the session is sound.
    Run(String),
    /// The block is at fault, or its device; the session must be rebuilt.
    Block(FaultKind, String),
}

fn fence<T>(run: impl FnOnce() -> Result<T, EngineError>) -> Result<T, RunError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if error.is_callers() => Err(RunError::Request(error.to_string())),
        Ok(Err(error)) if error.keeps_session() => Err(RunError::Run(error.to_string())),
        Ok(Err(error)) => {
            let kind = if error.loses_device() {
                FaultKind::DeviceLost
            } else {
                FaultKind::Error
            };
            Err(RunError::Block(kind, error.to_string()))
        }
        Err(panic) => {
            let cause = format!("panicked: {}", panic_message(&*panic));
            Err(RunError::Block(FaultKind::Panic, cause))
        }
    }
}

/// Makes a session on this thread and runs it on every shape that is declared, so that the first request finds it warm.
/// The `first` one of an instance also has to give golden outputs.
pub(super) fn build(
    prepared: &Arc<dyn Prepared>,
    proof: &ProofSpec,
    first: bool,
) -> Result<Box<dyn Session>, (FaultKind, String)> {
    let built = fence(|| {
        let mut session = prepared.session()?;
        warm_up(session.as_mut(), prepared.signature(), proof)?;
        if first {
            prove(session.as_mut(), prepared.signature(), proof)?;
        }
        Ok(session)
    });
    built.map_err(|error| match error {
        RunError::Request(cause) | RunError::Run(cause) => (FaultKind::Error, cause),
        RunError::Block(kind, cause) => (kind, cause),
    })
}

/// Runs requests of equal trailing shapes as one batch, whose outputs are put where there is room; returns those of each.
pub(super) fn run(
    session: &mut dyn Session,
    signature: &Signature,
    requests: &[&[Tensor]],
    rooms: &dyn Rooms,
) -> Result<Vec<Vec<Tensor>>, RunError> {
    fence(|| {
        if let [inputs] = requests {
            return Ok(vec![session.run_in(inputs, rooms)?]);
        }
        for inputs in requests {
            // Together they could fit where one of them does not.
            signature.bind(inputs)?;
        }
        let joined: Vec<_> = (0..signature.inputs.len())
            .map(|port| {
                let parts: Vec<_> = requests
                    .iter()
                    .filter_map(|inputs| inputs.get(port))
                    .collect();
                Tensor::join_rows(&parts)
            })
            .collect::<Result<_, _>>()?;
        let outputs = session.run_in(&joined, rooms)?;
        let rows = requests.iter().map(|inputs| rows_of(inputs)).sum();
        check_rows(signature, &outputs, rows)?;
        let mut start = 0;
        let mut split = Vec::with_capacity(requests.len());
        for inputs in requests {
            let rows = start..start + rows_of(inputs);
            start = rows.end;
            let own = outputs.iter().map(|output| output.slice_rows(rows.clone()));
            split.push(own.collect::<Result<_, _>>()?);
        }
        Ok(split)
    })
}

/// Checks that a batch of `rows` rows came out with as many, so that it can be split again.
fn check_rows(signature: &Signature, outputs: &[Tensor], rows: usize) -> Result<(), EngineError> {
    let odd = outputs
        .iter()
        .zip(&signature.outputs)
        .find(|(output, _)| output.rows() != rows);
    odd.map_or(Ok(()), |(output, spec)| {
        Err(EngineError::Output {
            name: spec.name.clone(),
            seen: format!("{output:?}"),
            expected: format!("{rows} rows, as many as the batch has"),
        })
    })
}

/// Returns the rows a request adds to a batch.
pub(super) fn rows_of(inputs: &[Tensor]) -> usize {
    inputs.first().map_or(1, Tensor::rows)
}
