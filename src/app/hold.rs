//! Requests that wait while one configuration goes and the next comes.
//!
//! They wait before any gateway has them: as many as may be in flight, and no longer than each may take. Then they begin in
//! whatever is served by then, so a request still sees one epoch only (`REQ-2`), and gets its one reply (`REQ-1`).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;

use crate::actors::{InferReply, InferRequest, PipelineInfo};
use crate::serve::Backend as _;
use crate::telemetry::{Event, RequestRefused, metrics};
use crate::types::{Failure, FailureKind};

use super::epoch::{Admitted, Serving};

/// Where requests wait. Cheap to clone; there is one for all that is served.
#[derive(Debug, Clone)]
pub(super) struct Hold(Arc<Shared>);

struct Shared {
    state: watch::Sender<State>,
    waiting: AtomicUsize,
    /// What is served at any time.
    front: OnceLock<watch::Receiver<Arc<Serving>>>,
}

#[derive(Debug, Clone)]
enum State {
    Open,
    /// So many may wait.
    Held(usize),
    /// There is nothing to wait for.
    Over(Failure),
}

/// A place among those that wait.
#[derive(Debug)]
struct Place(Arc<Shared>);

/// Holds requests until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    hold: Hold,
    since: Instant,
}

impl Hold {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared {
            state: watch::Sender::new(State::Open),
            waiting: AtomicUsize::new(0),
            front: OnceLock::new(),
        }))
    }

    /// Tells where what is served is found.
    pub(super) fn attend(&self, front: watch::Receiver<Arc<Serving>>) {
        // Told once, when there is something to serve.
        let _ = self.0.front.set(front);
    }

    /// Has requests wait from now on, `max` at most. When this returns, nobody is just being admitted.
    pub(super) fn begin(&self, max: usize) -> Held {
        self.0.state.send_replace(State::Held(max));
        Held {
            hold: self.clone(),
            since: Instant::now(),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(*self.0.state.borrow(), State::Held(_))
    }

    /// All that wait are answered so, and nobody waits any more.
    pub(super) fn end(&self, failure: Failure) {
        self.0.state.send_if_modified(|state| {
            let held = matches!(state, State::Held(_));
            if held {
                *state = State::Over(failure);
            }
            held
        });
    }

    /// Returns how many wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Acquire)
    }

    /// Waits while requests are held; returns why there is nothing to go on with, if so.
    pub(super) async fn ended(&self) -> Option<Failure> {
        let mut state = self.0.state.subscribe();
        let ended = state.wait_for(|state| !matches!(state, State::Held(_)));
        match &*ended.await.ok()? {
            State::Over(failure) => Some(failure.clone()),
            State::Open | State::Held(_) => None,
        }
    }

    /// Submits a request, or has it wait. `of` is the pipeline that it is for; `gone` tells whether what was found to submit it
    /// to has been left since.
    pub(super) fn submit(
        &self,
        mut request: InferRequest,
        of: &PipelineInfo,
        gone: impl Fn() -> bool,
        submit: impl FnOnce(InferRequest) -> Result<Admitted, Failure>,
    ) -> Result<Admitted, Failure> {
        // Nobody can begin to hold requests until this is let go.
        let state = self.0.state.borrow();
        let max = match &*state {
            State::Open if !gone() => return submit(request),
            State::Open => None,
            State::Over(failure) => return Err(failure.clone()),
            State::Held(max) => Some(*max),
        };
        drop(state);
        let Some(max) = max else {
            let found = again(self, of).inspect_err(|failure| refused(of, failure));
            let serving;
            (serving, request.pipeline) = found?;
            return serving.submit(request);
        };
        let place = Place::take(&self.0, max).inspect_err(|failure| refused(of, failure))?;
        let waiting = wait(self.clone(), place, request, of.clone(), Instant::now());
        Ok(Admitted::waiting(Box::pin(waiting)))
    }
}

async fn wait(
    hold: Hold,
    place: Place,
    mut request: InferRequest,
    of: PipelineInfo,
    since: Instant,
) -> Result<InferReply, Failure> {
    let allowed = request
        .deadline
        .map_or(of.deadline, |asked| asked.min(of.deadline));
    let deadline = since + allowed;
    let ended = timeout(allowed, hold.ended()).await;
    drop(place);
    let found = match ended {
        Ok(None) => again(&hold, &of),
        Ok(Some(failure)) => Err(failure),
        Err(_) => {
            let cause = format!(
                "the deadline of {} ms passed while configurations changed places",
                allowed.as_millis()
            );
            Err(Failure::new(FailureKind::DeadlineExceeded, cause))
        }
    };
    let (serving, pipeline) = found.inspect_err(|failure| refused(&of, failure))?;
    request.pipeline = pipeline;
    request.deadline = Some(deadline.saturating_duration_since(Instant::now()));
    // Which may have it wait once more.
    serving.submit(request)?.await
}

/// Finds the pipeline among what is served now.
fn again(hold: &Hold, of: &PipelineInfo) -> Result<(Arc<Serving>, usize), Failure> {
    let front = hold.0.front.get();
    let serving = front.map(|front| front.borrow().clone());
    let unavailable = |cause: &str| Failure::new(FailureKind::Unavailable, cause);
    let serving = serving.ok_or_else(|| unavailable("nothing is served here"))?;
    let mut pipelines = serving.pipelines().iter();
    let place = pipelines.position(|pipeline| pipeline.name == of.name);
    let place =
        place.ok_or_else(|| unavailable("the pipeline was removed while the request waited"))?;
    if serving.pipelines()[place].signature != of.signature {
        let cause = "what the pipeline takes or gives was changed while the request waited: look at it again";
        return Err(unavailable(cause));
    }
    Ok((serving, place))
}

fn refused(of: &PipelineInfo, failure: &Failure) {
    RequestRefused {
        pipeline: &of.name,
        kind: failure.kind,
        cause: &failure.cause,
    }
    .emit();
}

impl Place {
    fn take(shared: &Arc<Shared>, max: usize) -> Result<Self, Failure> {
        let next = |count: usize| (count < max).then_some(count + 1);
        let taken = shared
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        taken.map_err(|_| {
            let cause = format!(
                "{max} requests wait for another configuration, which is limits.in_flight_max; try again later"
            );
            Failure::new(FailureKind::Overloaded, cause)
        })?;
        metrics::lifecycle().held.add(1);
        Ok(Self(shared.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Held {
    /// Lets all that wait go on. Returns how long they had to, and how many wait.
    pub(super) fn release(self) -> (Duration, usize) {
        (self.since.elapsed(), self.hold.waiting())
    }

    /// There is nothing to go on with: all are answered so.
    pub(super) fn give_up(self, failure: Failure) {
        self.hold.0.state.send_replace(State::Over(failure));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.hold.0.state.send_if_modified(|state| {
            let held = matches!(state, State::Held(_));
            if held {
                *state = State::Open;
            }
            held
        });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
