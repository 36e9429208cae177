//! The actor: one thread, one reactor, one session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tracing::{debug, error, trace, warn};

use crate::actors::alarm::{Alarm, Pump, arm};
use crate::actors::board::BlockState;
use crate::actors::links::time_left;
use crate::actors::reactor::{Wake, wakes};
use crate::actors::seldom::Seldom;
use crate::actors::supervisor::{Fault, FaultKind, Supervisor, Up};
use crate::engine::torch::prefer_long_slices;
use crate::engine::{Prepared, Session};
use crate::plan::{Plan, Site, Wiring};
use crate::sched::Decision;
use crate::telemetry::metrics::{self, BlockMetrics};
use crate::tensormq::{Body, Context as MqContext, Discarded, LinkError, Moved, Received};
use crate::types::{Failure, FailureKind, Tensor};

use super::links::Links;
use super::queue::{Accepted, Job, Queue, Waiting};
use super::session::{self, RunError};

/// The newest run counts for one in that many in the expected run time.
const RUN_TIME_SPAN: u32 = 8;

/// What a block instance is made from.
#[derive(Debug, Clone)]
pub(in crate::actors) struct BlockConfig {
    pub plan: Arc<Plan>,
    pub site: Arc<Site>,
    pub wiring: Arc<Wiring>,
    /// Index into [`Plan::blocks`].
    pub block: usize,
    pub instance: usize,
    pub prepared: Arc<dyn Prepared>,
    pub context: MqContext,
    pub supervisor: Addr<Supervisor>,
}

/// Order to make a new session; answered by [`Up`] or [`Fault`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Rebuild;

/// Order to refuse everything from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct GiveUp {
    pub cause: String,
}

/// Order to have the gateway, which lives in another process, know how this block is doing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Announce(pub BlockState);

#[derive(Debug)]
enum State {
    Serving(Box<dyn Session>),
    /// The queue waits for a new session.
    Rebuilding,
    GivenUp(String),
}

/// A block instance.
#[derive(Debug)]
pub(in crate::actors) struct BlockActor {
    config: BlockConfig,
    name: String,
    links: Option<Links>,
    queue: Queue,
    state: State,
    /// A session of it has given golden outputs.
    proven: bool,
    run_time: Duration,
    metrics: Arc<BlockMetrics>,
    /// What this instance added to the gauge of waiting requests.
    queued: i64,
    /// What links have moved, as far as it is counted.
    moved: Moved,
    /// A continuation is on its way.
    continuing: bool,
    alarm: Alarm,
    discards: Seldom,
}

impl BlockActor {
    pub(in crate::actors) fn new(config: BlockConfig) -> Self {
        let block = &config.plan.blocks[config.block];
        let queue = Queue::new(&config.plan, config.block);
        Self {
            metrics: metrics::block(&block.spec.name),
            name: block.spec.name.clone(),
            queue,
            links: None,
            state: State::Rebuilding,
            proven: false,
            run_time: Duration::ZERO,
            queued: 0,
            moved: Moved::default(),
            continuing: false,
            alarm: Alarm::default(),
            discards: Seldom::default(),
            config,
        }
    }

    fn open(&mut self, ctx: &mut Context<Self>) -> Result<(), LinkError> {
        let BlockConfig {
            context,
            plan,
            site,
            wiring,
            block,
            instance,
            ..
        } = &self.config;
        let links = Links::open(context, plan, site, wiring.clone(), *block, *instance)?;
        for edges in links.edges()? {
            ctx.add_stream(wakes(edges));
        }
        self.links = Some(links);
        Ok(())
    }

    fn rebuild(&mut self) {
        let started = Instant::now();
        let proof = &self.config.plan.blocks[self.config.block].spec.proof;
        match session::build(&self.config.prepared, proof, !self.proven) {
            Ok(session) => {
                self.proven = true;
                self.state = State::Serving(session);
                let BlockConfig {
                    block,
                    instance,
                    supervisor,
                    ..
                } = &self.config;
                supervisor.do_send(Up {
                    block: *block,
                    instance: *instance,
                    took: started.elapsed(),
                });
            }
            Err(cause) => self.report(cause, FaultKind::Session),
        }
    }

    fn report(&mut self, cause: String, kind: FaultKind) {
        if !matches!(self.state, State::GivenUp(_)) {
            self.state = State::Rebuilding;
        }
        let BlockConfig {
            block,
            instance,
            supervisor,
            ..
        } = &self.config;
        supervisor.do_send(Fault {
            block: *block,
            instance: *instance,
            kind,
            cause,
        });
    }

    /// Returns whether a run was made, so that there may be more to do.
    fn work(&mut self, links: &mut Links) -> Result<bool, LinkError> {
        loop {
            let mut progress = links.poll()?;
            while let Some(received) = links.try_receive()? {
                progress = true;
                match received {
                    Ok(received) => self.accept(links, received)?,
                    Err(discarded) => self.discard(links, &discarded)?,
                }
            }
            let now = Instant::now();
            for late in self.queue.expire(now) {
                let cause = "the deadline passed while the request waited for this block";
                self.metrics.envelopes_dropped.add(1);
                self.refuse(links, late, FailureKind::DeadlineExceeded, cause)?;
                progress = true;
            }
            if let State::GivenUp(cause) = &self.state {
                let cause = cause.clone();
                for waiting in self.queue.batcher.remove(|_| true) {
                    progress = true;
                    self.refuse(links, waiting, FailureKind::Unavailable, &cause)?;
                }
            }
            if let State::Serving(_) = self.state
                && let Decision::Run(place) = self.decide(links, now)
            {
                self.launch(links, place)?;
                return Ok(true);
            }
            if !progress {
                return Ok(false);
            }
        }
    }

    fn accept(&mut self, links: &mut Links, received: Received) -> Result<(), LinkError> {
        let Received {
            envelope,
            peer,
            lost,
        } = received;
        self.metrics.envelopes_received.add(1);
        if lost > 0 {
            self.metrics.envelopes_dropped.add(lost);
            error!(block = %self.name, lost, "envelopes were lost before this one");
        }
        let request = envelope.address.request;
        match envelope.body {
            Body::Tensors(tensors) => {
                let accepted = self
                    .queue
                    .accept(envelope.address, tensors, peer, Instant::now());
                if accepted == Accepted::Released {
                    links.release(peer)?;
                }
            }
            Body::Cancel => {
                trace!(block = %self.name, %request, "cancelled");
                links.forget(request);
                for waiting in self.queue.cancel(request) {
                    self.metrics.envelopes_dropped.add(1);
                    links.release(waiting.content.peer)?;
                }
            }
            Body::Failure(_) | Body::State(_) | Body::Lost(_) => {
                warn!(block = %self.name, %request, "unexpected envelope discarded");
            }
        }
        Ok(())
    }

    /// A message was not believed: the request that it was for, if that is known, hears of it.
    fn discard(&mut self, links: &mut Links, discarded: &Discarded) -> Result<(), LinkError> {
        let error = &discarded.error;
        if let Some(unsaid) = self.discards.due(Instant::now()) {
            warn!(block = %self.name, %error, unsaid, "message discarded");
        }
        self.metrics.envelopes_dropped.add(1);
        let Some(address) = discarded.of else {
            return Ok(());
        };
        let cause = format!("a message for this block could not be read: {error}");
        let failure = Failure::in_block(FailureKind::BlockFailed, &self.name, cause);
        links.fail(address, failure)
    }

    fn refuse(
        &self,
        links: &mut Links,
        waiting: Waiting,
        kind: FailureKind,
        cause: &str,
    ) -> Result<(), LinkError> {
        links.release(waiting.content.peer)?;
        links.fail(
            waiting.content.address,
            Failure::in_block(kind, &self.name, cause),
        )
    }

    fn decide(&self, links: &Links, now: Instant) -> Decision {
        let eligible = |job: &Job| links.clear_for(job.address);
        self.queue.batcher.decide(now, self.run_time, eligible)
    }

    fn launch(&mut self, links: &mut Links, place: usize) -> Result<(), LinkError> {
        let State::Serving(session) = &mut self.state else {
            return Ok(());
        };
        let eligible = |job: &Job| links.clear_for(job.address);
        let batch = self.queue.batcher.take(place, eligible);
        let signature = &self.config.plan.blocks[self.config.block].signature;
        let started = Instant::now();
        let requests: Vec<&[Tensor]> = batch
            .iter()
            .map(|item| item.content.inputs.as_slice())
            .collect();
        let result = session::run(session.as_mut(), signature, &requests, links.rooms());
        let now = Instant::now();
        let took = now - started;
        trace!(block = %self.name, requests = batch.len(), ?took, "run");
        self.metrics.runs.add(1);
        self.metrics
            .batch_rows
            .add(batch.iter().map(|item| item.rows as u64).sum());
        self.metrics.run_time.observe(took);
        if batch.len() > 1 {
            let inputs = batch.iter().flat_map(|item| &item.content.inputs);
            self.metrics
                .bytes_copied
                .add(inputs.map(|tensor| tensor.byte_count() as u64).sum());
        }
        match result {
            Ok(outputs) => {
                self.learn(took);
                for (item, outputs) in batch.into_iter().zip(outputs) {
                    let Job {
                        address,
                        inputs,
                        peer,
                    } = item.content;
                    drop(inputs);
                    links.release(peer)?;
                    let sent = links.deliver(address, &outputs, time_left(item.deadline, now))?;
                    self.metrics.envelopes_sent.add(sent);
                }
            }
            Err(RunError::Request(cause)) => {
                self.part(links, batch, FailureKind::Invalid, &cause)?
            }
            Err(RunError::Run(cause)) => {
                self.part(links, batch, FailureKind::BlockFailed, &cause)?
            }
            Err(RunError::Block(cause)) => {
                self.part(links, batch, FailureKind::BlockFailed, &cause)?;
                self.report(cause, FaultKind::Session);
            }
        }
        Ok(())
    }

    fn learn(&mut self, took: Duration) {
        let known = if self.run_time.is_zero() {
            took
        } else {
            self.run_time
        };
        self.run_time = (known * (RUN_TIME_SPAN - 1) + took) / RUN_TIME_SPAN;
    }

    /// Answers the request of a failed run; of several, each gets a run of its own, so that one bad request costs no
    /// other its answer.
    fn part(
        &mut self,
        links: &mut Links,
        batch: Vec<Waiting>,
        kind: FailureKind,
        cause: &str,
    ) -> Result<(), LinkError> {
        let single = batch.len() == 1;
        for item in batch.into_iter().rev() {
            if single {
                debug!(block = %self.name, request = %item.content.address.request, cause, "request failed");
                self.refuse(links, item, kind, cause)?;
            } else {
                self.queue.retry_alone(item);
            }
        }
        Ok(())
    }

    /// Tells how many requests wait; instances of a block share the gauge.
    fn report_queue(&mut self) {
        let queued = self.queue.batcher.len() as i64;
        self.metrics.queued.add(queued - self.queued);
        self.queued = queued;
    }

    /// Adds to the counts what links have moved since they were looked at.
    fn count_moved(&mut self, links: &Links) {
        let now = links.moved();
        let before = std::mem::replace(&mut self.moved, now);
        let sent = |moved: Moved| moved.bytes + moved.lent;
        self.metrics.bytes_sent.add(sent(now) - sent(before));
        self.metrics.bytes_framed.add(now.framed - before.framed);
        self.metrics.bytes_copied.add(now.copied - before.copied);
    }

    /// Goes on once the mailbox, the timers and the reactor of this thread had their turn.
    fn continue_later(&mut self, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.continuing, true) {
            let turn = actix::fut::wrap_future::<_, Self>(tokio::task::yield_now());
            ctx.spawn(turn.map(|(), actor, ctx| {
                actor.continuing = false;
                actor.pump(ctx);
            }));
        }
    }

    /// Arms the alarm for the next moment at which something is to be done unasked.
    fn rest(&mut self, ctx: &mut Context<Self>) {
        let close = match (&self.state, &self.links) {
            (State::Serving(_), Some(links)) => match self.decide(links, Instant::now()) {
                Decision::Wait(until) => Some(until),
                Decision::Run(_) => Some(Instant::now()),
                Decision::Idle => None,
            },
            _ => None,
        };
        if let Some(at) = close.into_iter().chain(self.queue.next_expiry()).min() {
            arm(self, ctx, at);
        }
    }
}

impl Pump for BlockActor {
    fn alarm(&mut self) -> &mut Alarm {
        &mut self.alarm
    }

    /// Does everything that can be done now, but at most one run, then lets the mailbox have its turn.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        let Some(mut links) = self.links.take() else {
            return;
        };
        let worked = self.work(&mut links);
        self.count_moved(&links);
        self.links = Some(links);
        self.report_queue();
        match worked {
            Ok(true) => self.continue_later(ctx),
            Ok(false) => self.rest(ctx),
            Err(error) => {
                error!(block = %self.name, %error, "link failed");
                self.links = None;
                self.report(format!("link failed: {error}"), FaultKind::Links);
            }
        }
    }
}

impl Actor for BlockActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        prefer_long_slices();
        match self.open(ctx) {
            Ok(()) => self.rebuild(),
            Err(error) => self.report(error.to_string(), FaultKind::Links),
        }
        self.pump(ctx);
    }
}

impl StreamHandler<Wake> for BlockActor {
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.pump(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Drop for BlockActor {
    fn drop(&mut self) {
        self.metrics.queued.sub(self.queued);
        if std::thread::panicking() {
            self.report("the actor panicked".into(), FaultKind::Links);
        }
    }
}

impl Handler<Rebuild> for BlockActor {
    type Result = ();

    fn handle(&mut self, _: Rebuild, ctx: &mut Self::Context) {
        if matches!(self.state, State::Rebuilding) && self.links.is_some() {
            self.rebuild();
            self.pump(ctx);
        }
    }
}

impl Handler<GiveUp> for BlockActor {
    type Result = ();

    fn handle(&mut self, order: GiveUp, ctx: &mut Self::Context) {
        self.state = State::GivenUp(order.cause);
        self.pump(ctx);
    }
}

impl Handler<Announce> for BlockActor {
    type Result = ();

    fn handle(&mut self, Announce(state): Announce, ctx: &mut Self::Context) {
        let announced = self.links.as_mut().map(|links| links.announce(state));
        if let Some(Err(error)) = announced {
            warn!(block = %self.name, %error, "state could not be announced");
        }
        self.pump(ctx);
    }
}
