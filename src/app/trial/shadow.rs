//! One shadowed request: asked of the new epoch too, and both answers compared.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::actors::{Gateway, InferRequest, PipelineInfo, Purpose};
use crate::engine::compare;
use crate::types::{Failure, FailureKind, Tensor, Tolerance};

use super::tally::is_fault;

/// Outputs of the epoch that serves; `None`: it failed.
pub(super) type Answer = Option<Vec<Tensor>>;

/// A copy of a live request.
#[derive(Debug)]
pub(super) struct Shadow {
    /// As the new epoch numbers pipelines.
    pub request: InferRequest,
    /// Closed where the client went away.
    pub answer: oneshot::Receiver<Answer>,
    pub began: Instant,
}

/// What came of a shadow, and how long both answers took where there are two.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Followed {
    pub shadowing: Shadowing,
    pub old: Option<Duration>,
    pub new: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shadowing {
    Equal {
        relative_max: f64,
    },
    Different {
        relative_max: f64,
        example: String,
    },
    /// The new epoch failed where the old one did not.
    Failed {
        example: String,
    },
    /// The old one failed, or its client went away: there is nothing to compare with.
    Alone,
    /// The new epoch had no room for it.
    Dropped,
}

/// Asks the new epoch and waits for both answers; the deadline of the pipeline holds for it.
pub(super) async fn follow(
    Shadow {
        request,
        answer,
        began,
    }: Shadow,
    new: Gateway,
    tolerance: Tolerance,
) -> Followed {
    let pipeline = request.pipeline;
    let asked = async {
        let asked = Instant::now();
        let reply = match new.offer(request, Purpose::Shadow) {
            Ok(ticket) => ticket.await,
            Err(failure) => Err(failure),
        };
        (reply, asked.elapsed())
    };
    // At once: what an answer lies in may be lent by a producer that needs it again.
    let kept = async {
        let outputs = answer.await.ok().flatten()?;
        let took = began.elapsed();
        let outputs: Vec<_> = outputs.iter().map(Tensor::copied).collect();
        Some((outputs, took))
    };
    let (expected, (seen, took)) = tokio::join!(kept, asked);
    let info = &new.pipelines()[pipeline];
    let new = seen.is_ok().then_some(took);
    let old = expected.as_ref().map(|(_, took)| *took);
    let shadowing = match (expected, seen) {
        (None, _) => Shadowing::Alone,
        (Some((expected, _)), Ok(reply)) => compared(info, &expected, &reply.outputs, tolerance),
        (Some(_), Err(failure)) => failed(info, &failure),
    };
    Followed {
        shadowing,
        old,
        new,
    }
}

fn failed(info: &PipelineInfo, failure: &Failure) -> Shadowing {
    if failure.kind == FailureKind::Overloaded || !is_fault(failure.kind) {
        return Shadowing::Dropped;
    }
    Shadowing::Failed {
        example: format!("pipeline {:?} failed: {failure}", info.name),
    }
}

fn compared(
    info: &PipelineInfo,
    expected: &[Tensor],
    seen: &[Tensor],
    tolerance: Tolerance,
) -> Shadowing {
    let mut largest: f64 = 0.0;
    let mut example = None;
    if expected.len() != seen.len() {
        example = Some(format!(
            "pipeline {:?} gave {} outputs, expected {}",
            info.name,
            seen.len(),
            expected.len()
        ));
    }
    let pairs = expected.iter().zip(seen).zip(&info.signature.outputs);
    for ((expected, seen), spec) in pairs {
        let comparison = compare(expected, seen, tolerance);
        largest = largest.max(comparison.relative_max);
        if comparison.different > 0 && example.is_none() {
            example = Some(format!(
                "pipeline {:?}, output {:?}, {} of {} elements, the worst {}",
                info.name,
                spec.name,
                comparison.different,
                comparison.compared,
                comparison.worst.unwrap_or_default()
            ));
        }
    }
    match example {
        None => Shadowing::Equal {
            relative_max: largest,
        },
        Some(example) => Shadowing::Different {
            relative_max: largest,
            example,
        },
    }
}
