//! The actor: one thread, one reactor, one session.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tracing::{error, warn};

use crate::actors::alarm::{Alarm, Pump, arm};
use crate::actors::board::BlockState;
use crate::actors::progress::Progress;
use crate::actors::reactor::{Wake, wakes};
use crate::actors::seldom::Seldom;
use crate::actors::supervisor::{Fault, Reconnect, Reopened, Supervisor, Up};
use crate::engine::torch::prefer_long_slices;
use crate::engine::{Prepared, Session};
use crate::plan::{Plan, Site, Wiring};
use crate::sched::{Decision, Doing};
use crate::telemetry::metrics::{self, BlockMetrics};
use crate::tensormq::{Context as MqContext, LinkError, Moved};
use crate::types::{FaultKind, RequestId, panic_message};

use super::links::Links;
use super::queue::Queue;
use super::session;

/// How often an instance looks whether it is its turn.
const TURN_POLL: Duration = Duration::from_millis(2);

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
    pub progress: Arc<Progress>,
    /// Whoever makes the first session has it, where sessions are made one after the other.
    pub turn: Option<Arc<Mutex<()>>>,
}

/// Order to make a new session; answered by [`Up`] or [`Fault`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Rebuild;

/// Order to open the sockets anew; answered by [`Reopened`] or [`Fault`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Reopen;

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
pub(super) enum State {
    Serving(Box<dyn Session>),
    /// The queue waits for a new session.
    Rebuilding,
    GivenUp(String),
}

/// A block instance.
#[derive(Debug)]
pub(in crate::actors) struct BlockActor {
    pub(super) config: BlockConfig,
    pub(super) name: String,
    links: Option<Links>,
    pub(super) queue: Queue,
    pub(super) state: State,
    /// A session of it has given golden outputs.
    proven: bool,
    /// The session has not run yet.
    pub(super) fresh: bool,
    /// Requests of the run that is going on.
    pub(super) current: Vec<RequestId>,
    pub(super) run_time: Duration,
    pub(super) metrics: Arc<BlockMetrics>,
    /// What this instance added to the gauge of waiting requests.
    queued: i64,
    /// What links have moved, as far as it is counted.
    moved: Moved,
    /// What failed sockets have left behind.
    wreck: Wreck,
    /// Streams of the edges of sockets.
    watched: Vec<SpawnHandle>,
    /// Of those that took the place of others, by the instance at their end.
    renewed: HashMap<(usize, usize), SpawnHandle>,
    /// A continuation is on its way.
    continuing: bool,
    alarm: Alarm,
    pub(super) discards: Seldom,
}

/// What is to be told once sockets are open again.
#[derive(Debug, Default)]
struct Wreck {
    /// Requests of which something was in the sockets or waited for credit.
    unsettled: Vec<RequestId>,
    /// How far the envelopes of each producer were read.
    read: HashMap<String, u64>,
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
            fresh: true,
            current: Vec::new(),
            run_time: Duration::ZERO,
            queued: 0,
            moved: Moved::default(),
            wreck: Wreck::default(),
            watched: Vec::new(),
            renewed: HashMap::new(),
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
        let renewed = self.renewed.drain().map(|(_, stale)| stale);
        for stale in self.watched.drain(..).chain(renewed) {
            ctx.cancel_future(stale);
        }
        for edges in links.edges()? {
            self.watched.push(ctx.add_stream(wakes(edges)));
        }
        self.moved = Moved::default();
        self.links = Some(links);
        Ok(())
    }

    fn rebuild(&mut self) {
        let turn = self.config.turn.clone().filter(|_| !self.proven);
        if turn.is_some() {
            self.config.progress.begin(Doing::Idle, Instant::now());
        }
        let turn = turn.as_ref().and_then(|turn| self.await_turn(turn));
        let started = Instant::now();
        let proof = &self.config.plan.blocks[self.config.block].spec.proof;
        self.config.progress.begin(Doing::Warming, started);
        let built = session::build(&self.config.prepared, proof, !self.proven);
        drop(turn);
        let now = Instant::now();
        self.config.progress.begin(Doing::Idle, now);
        match built {
            Ok(session) => {
                self.proven = true;
                self.state = State::Serving(session);
                self.fresh = true;
                self.tell_up(now - started);
            }
            Err((kind, cause)) => self.lose_session(kind, cause),
        }
    }

    /// Waits for those that make their sessions before. Whoever is stuck with that is waited for until nobody wants this instance.
    fn await_turn<'a>(&self, turn: &'a Mutex<()>) -> Option<MutexGuard<'a, ()>> {
        while self.config.supervisor.connected() {
            match turn.try_lock() {
                Ok(own) => return Some(own),
                Err(TryLockError::Poisoned(own)) => return Some(own.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(TURN_POLL),
            }
        }
        None
    }

    /// Tells that this instance serves, if it has both a session and sockets.
    fn tell_up(&self, took: Duration) {
        let BlockConfig {
            block,
            instance,
            supervisor,
            ..
        } = &self.config;
        if self.links.is_some() && matches!(self.state, State::Serving(_)) {
            supervisor.do_send(Up {
                block: *block,
                instance: *instance,
                took,
            });
        }
    }

    pub(super) fn lose_session(&mut self, kind: FaultKind, cause: String) {
        if !matches!(self.state, State::GivenUp(_)) {
            self.state = State::Rebuilding;
        }
        self.report(cause, kind);
    }

    /// Drops the sockets. What is known of what is lost with them is told once there are others.
    fn lose_links(&mut self, links: Links, cause: String) {
        error!(block = %self.name, cause, "links failed");
        self.wreck.read = links.read();
        self.wreck.unsettled.extend(links.unsettled());
        self.wreck.unsettled.append(&mut self.current);
        self.config.progress.begin(Doing::Idle, Instant::now());
        drop(links);
        self.report(cause, FaultKind::Links);
    }

    fn report(&self, cause: String, kind: FaultKind) {
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
        let sent = |moved: Moved| moved.bytes + moved.lent + moved.shown;
        self.metrics.bytes_sent.add(sent(now) - sent(before));
        self.metrics.bytes_framed.add(now.framed - before.framed);
        self.metrics.bytes_copied.add(now.copied - before.copied);
        self.metrics.bytes_pooled.add(now.shown - before.shown);
        let fallen_back = now.fallen_back - before.fallen_back;
        self.metrics.pool_fallbacks.add(fallen_back);
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
        // A panic of a run is fenced where it runs; one of this actor costs its sockets and not its queue.
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(&mut links)));
        self.report_queue();
        let cause = match worked {
            Ok(Ok(more)) => {
                self.count_moved(&links);
                self.links = Some(links);
                return if more {
                    self.continue_later(ctx);
                } else {
                    self.rest(ctx);
                };
            }
            Ok(Err(error)) => format!("link failed: {error}"),
            Err(panic) => format!("the actor panicked: {}", panic_message(&*panic)),
        };
        self.lose_links(links, cause);
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
        self.config.progress.end();
        if std::thread::panicking() {
            self.report("the actor panicked".into(), FaultKind::Links);
        }
    }
}

impl Handler<Rebuild> for BlockActor {
    type Result = ();

    fn handle(&mut self, _: Rebuild, ctx: &mut Self::Context) {
        if matches!(self.state, State::Rebuilding) {
            self.rebuild();
            self.pump(ctx);
        }
    }
}

impl Handler<Reopen> for BlockActor {
    type Result = ();

    fn handle(&mut self, _: Reopen, ctx: &mut Self::Context) {
        if self.links.is_some() {
            return;
        }
        let started = Instant::now();
        if let Err(error) = self.open(ctx) {
            self.report(format!("links cannot be opened: {error}"), FaultKind::Links);
            return;
        }
        let Wreck { unsettled, read } = std::mem::take(&mut self.wreck);
        self.queue.disown();
        let BlockConfig {
            context,
            block,
            instance,
            supervisor,
            ..
        } = &self.config;
        let incarnation = context.party().incarnation;
        let told = self.links.as_mut().map(|links| {
            let own = links.own(incarnation);
            links.tell_lost(own, unsettled.clone())
        });
        if let Some(Err(error)) = told {
            warn!(block = %self.name, %error, "losses could not be told");
            self.wreck.unsettled = unsettled;
            if let Some(links) = self.links.take() {
                self.lose_links(links, format!("link failed: {error}"));
            }
            return;
        }
        supervisor.do_send(Reopened {
            block: *block,
            instance: *instance,
            read: Arc::new(read),
        });
        self.tell_up(started.elapsed());
        self.pump(ctx);
    }
}

impl Handler<Reconnect> for BlockActor {
    type Result = ();

    fn handle(&mut self, order: Reconnect, ctx: &mut Self::Context) {
        let Some(links) = &mut self.links else {
            return;
        };
        match links.reconnect(&self.config.context, &order) {
            Ok(None) => return,
            Ok(Some(edges)) => {
                let place = (order.block, order.instance);
                let stale = self.renewed.insert(place, ctx.add_stream(wakes(edges)));
                if let Some(stale) = stale {
                    ctx.cancel_future(stale);
                }
            }
            Err(error) => {
                let cause = format!("link failed: {error}");
                if let Some(links) = self.links.take() {
                    self.lose_links(links, cause);
                }
            }
        }
        self.pump(ctx);
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
