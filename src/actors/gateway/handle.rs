//! What front ends hold of the gateway.
//!
//! A handle is cheap to clone and may be used from any thread. Admission is decided here, before anything is queued.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::queue::ArrayQueue;
use tokio::sync::{Notify, oneshot};

use crate::actors::board::{BlockState, Board};
use crate::plan::Plan;
use crate::telemetry::{Event, RequestRefused};
use crate::types::{Failure, FailureKind, RequestId, Signature, Tensor, lock};

/// A pipeline as clients see it.
#[derive(Debug, Clone)]
pub struct PipelineInfo {
    pub name: String,
    pub signature: Signature,
    pub deadline: Duration,
}

/// Whether a pipeline takes requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineState {
    Ready,
    /// Not ready, with the reason: still loading, or a block is stuck or was given up.
    NotReady {
        reason: String,
    },
}

/// One request: tensors in the order of the pipeline's inputs.
#[derive(Debug)]
pub struct InferRequest {
    /// Index into [`Gateway::pipelines`].
    pub pipeline: usize,
    pub inputs: Vec<Tensor>,
    /// Asked for by the client; the pipeline's own deadline holds where it is shorter.
    pub deadline: Option<Duration>,
}

/// What a request is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody waits for the answer.
    Answer,
    /// To compare: it is counted apart.
    Shadow,
}

/// Tensors in the order of the pipeline's outputs.
#[derive(Debug)]
pub struct InferReply {
    pub outputs: Vec<Tensor>,
}

/// Answer to one request.
pub(super) type Reply = Result<InferReply, Failure>;

/// An admitted request on its way to the gateway actor.
#[derive(Debug)]
pub(super) struct Submission {
    pub id: RequestId,
    pub pipeline: usize,
    pub inputs: Vec<Tensor>,
    pub started: Instant,
    pub deadline: Instant,
    pub reply: oneshot::Sender<Reply>,
    pub slot: Slot,
    pub purpose: Purpose,
}

/// What handles and the gateway actor share.
pub(super) struct Shared {
    plan: Arc<Plan>,
    pipelines: Vec<PipelineInfo>,
    board: Board,
    next_id: AtomicU64,
    in_flight: AtomicUsize,
    /// Why no request is admitted any more.
    closed: RwLock<Option<Failure>>,
    /// Nobody takes submissions any more.
    ended: AtomicBool,
    idle_lock: Mutex<()>,
    idle: Condvar,
    pub submissions: ArrayQueue<Submission>,
    pub cancellations: ArrayQueue<RequestId>,
    pub wake: Notify,
    /// Rung when `closed` is set.
    closing: Notify,
}

/// A place among the requests in flight, given back when dropped.
pub(super) struct Slot(Arc<Shared>);

/// Handle to the gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(super) shared: Arc<Shared>,
}

/// A request in flight: a future of its reply. Dropping it cancels the request.
#[derive(Debug)]
pub struct Ticket {
    id: RequestId,
    reply: oneshot::Receiver<Reply>,
    answered: bool,
    shared: Arc<Shared>,
}

impl Gateway {
    pub(in crate::actors) fn new(plan: Arc<Plan>, board: Board) -> Self {
        let info = plan.pipelines.iter().map(|pipeline| PipelineInfo {
            name: pipeline.name.clone(),
            signature: pipeline.signature.clone(),
            deadline: pipeline.deadline,
        });
        let in_flight_max = plan.limits.in_flight_max;
        let shared = Shared {
            pipelines: info.collect(),
            plan,
            board,
            next_id: AtomicU64::new(first_id()),
            in_flight: AtomicUsize::new(0),
            closed: RwLock::new(None),
            ended: AtomicBool::new(false),
            idle_lock: Mutex::new(()),
            idle: Condvar::new(),
            submissions: ArrayQueue::new(in_flight_max),
            // A cancellation outlives its request's slot for a moment, hence the room.
            cancellations: ArrayQueue::new(in_flight_max.saturating_mul(4)),
            wake: Notify::new(),
            closing: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn board(&self) -> &Board {
        &self.shared.board
    }

    /// Returns the pipelines in the order of the configuration.
    pub fn pipelines(&self) -> &[PipelineInfo] {
        &self.shared.pipelines
    }

    /// Tells whether a pipeline takes requests. A block that is being rebuilt does not make it unready: its queue waits.
    pub fn state(&self, pipeline: usize) -> PipelineState {
        let closed = self.shared.closed().map(|failure| failure.cause);
        match closed.or_else(|| self.shared.obstacle(pipeline)) {
            Some(reason) => PipelineState::NotReady { reason },
            None => PipelineState::Ready,
        }
    }

    /// Returns the number of requests admitted and not yet answered.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Checks the request against the signature and admits it, or says why not.
    pub fn submit(&self, request: InferRequest) -> Result<Ticket, Failure> {
        let pipeline = request.pipeline;
        self.offer(request, Purpose::Answer)
            .inspect_err(|Failure { kind, cause, .. }| {
                if let Some(PipelineInfo { name, .. }) = self.shared.pipelines.get(pipeline) {
                    RequestRefused {
                        pipeline: name,
                        kind: *kind,
                        cause,
                    }
                    .emit();
                }
            })
    }

    /// As [`Gateway::submit`], but a refusal is nobody's business but the caller's.
    pub fn offer(&self, request: InferRequest, purpose: Purpose) -> Result<Ticket, Failure> {
        let shared = &self.shared;
        let invalid = |cause: String| Failure::new(FailureKind::Invalid, cause);
        let pipeline = shared
            .pipelines
            .get(request.pipeline)
            .ok_or_else(|| invalid(format!("there is no pipeline number {}", request.pipeline)))?;
        pipeline
            .signature
            .bind(&request.inputs)
            .map_err(|error| invalid(error.to_string()))?;
        if let Some(failure) = self.shared.closed() {
            return Err(failure);
        }
        if let Some(reason) = shared.obstacle(request.pipeline) {
            return Err(Failure::new(FailureKind::Unavailable, reason));
        }
        let slot = Slot::take(shared)?;
        let id = shared.next_id();
        let allowed = request
            .deadline
            .map_or(pipeline.deadline, |asked| asked.min(pipeline.deadline));
        let started = Instant::now();
        let (reply, receiver) = oneshot::channel();
        let submission = Submission {
            id,
            pipeline: request.pipeline,
            inputs: request.inputs,
            started,
            deadline: started + allowed,
            reply,
            slot,
            purpose,
        };
        if shared.submissions.push(submission).is_err() {
            return Err(overloaded(shared.plan.limits.in_flight_max));
        }
        shared.wake.notify_one();
        if shared.ended.load(Ordering::SeqCst) {
            shared.refuse_submissions();
        }
        Ok(Ticket {
            id,
            reply: receiver,
            answered: false,
            shared: shared.clone(),
        })
    }

    /// Refuses every further request, because the program is stopping.
    pub fn close(&self) {
        let failure = Failure::new(FailureKind::ShuttingDown, "the server is shutting down");
        self.shared.close(failure);
    }

    /// Waits until the gateway takes no requests any more; returns why.
    pub async fn closed(&self) -> Failure {
        loop {
            let closing = self.shared.closing.notified();
            if let Some(failure) = self.shared.closed() {
                return failure;
            }
            closing.await;
        }
    }

    /// Blocks the thread until nothing is in flight, `limit` at most; tells whether that was reached.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        let guard = lock(&self.shared.idle_lock);
        let busy = |_: &mut ()| self.in_flight() > 0;
        let waited = self.shared.idle.wait_timeout_while(guard, limit, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Shared {
    /// Returns an id that no other request of this process has.
    pub(super) fn next_id(&self) -> RequestId {
        RequestId(self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns what keeps the blocks of a pipeline from running it.
    pub(super) fn obstacle(&self, pipeline: usize) -> Option<String> {
        let Some(planned) = self.plan.pipelines.get(pipeline) else {
            return Some("no such pipeline".into());
        };
        planned.steps.iter().find_map(|step| {
            let name = &self.plan.blocks[step.block].spec.name;
            match self.board.worst(step.block) {
                BlockState::Serving | BlockState::Restarting { .. } => None,
                BlockState::Starting => Some(format!("block {name:?} is still loading")),
                BlockState::Unreachable { cause } => {
                    Some(format!("block {name:?} cannot be reached: {cause}"))
                }
                BlockState::Stuck { cause } => Some(format!("block {name:?} is stuck: {cause}")),
                BlockState::GivenUp { cause } => Some(format!("block {name:?} was {cause}")),
            }
        })
    }

    /// The first reason given is the one that stays.
    fn close(&self, failure: Failure) {
        let mut closed = self.closed.write().unwrap_or_else(PoisonError::into_inner);
        closed.get_or_insert(failure);
        drop(closed);
        self.closing.notify_waiters();
    }

    pub(super) fn closed(&self) -> Option<Failure> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        closed.clone()
    }

    /// Closes, and answers what was submitted and not taken. From now on nobody takes submissions.
    pub(super) fn end(&self, failure: Failure) {
        self.close(failure);
        self.ended.store(true, Ordering::SeqCst);
        self.refuse_submissions();
    }

    fn refuse_submissions(&self) {
        while let Some(Submission { reply, .. }) = self.submissions.pop() {
            // A client that has gone away wants no reply.
            let _ = reply.send(self.closed().map_or_else(|| Err(stopped()), Err));
        }
    }
}

/// Microseconds since 1970, so that blocks that outlive a gateway do not take the ids of its successor for its own.
fn first_id() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| u64::try_from(since.as_micros()).unwrap_or(1))
}

pub(super) fn stopped() -> Failure {
    let cause = "the gateway stopped before the request was answered";
    Failure::new(FailureKind::ShuttingDown, cause)
}

fn overloaded(in_flight_max: usize) -> Failure {
    let cause = format!(
        "{in_flight_max} requests are in flight, which is limits.in_flight_max; try again later"
    );
    Failure::new(FailureKind::Overloaded, cause)
}

impl Slot {
    fn take(shared: &Arc<Shared>) -> Result<Self, Failure> {
        let max = shared.plan.limits.in_flight_max;
        let next = |count: usize| (count < max).then_some(count + 1);
        shared
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .map(|_| Self(shared.clone()))
            .map_err(|_| overloaded(max))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _guard = lock(&self.0.idle_lock);
            self.0.idle.notify_all();
        }
    }
}

impl Future for Ticket {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.reply).poll(ctx);
        polled.map(|received| {
            self.answered = true;
            received.unwrap_or_else(|_| Err(stopped()))
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // First, so that a submission the gateway has not taken yet is seen to be abandoned.
        self.reply.close();
        if !self.answered && self.shared.cancellations.push(self.id).is_ok() {
            self.shared.wake.notify_one();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}
