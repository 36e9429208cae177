//! The supervisor: hears of faults, decides by the restart policy, orders rebuilds, starts worker processes again, writes
//! the board.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::NodeError;
use super::block::{Announce, BlockActor, GiveUp, Rebuild};
use super::board::{BlockState, Board};
use super::gateway::{GatewayActor, Unusable};
use super::worker::{Assignment, Worker, Workers};
use crate::plan::{Plan, Site};
use crate::sched::{Restart, RestartPolicy};
use crate::telemetry::{
    BlockFailed, BlockGivenUp, BlockRestarted, BlockStarted, Event, ProcessEnded, ProcessGivenUp,
    metrics,
};
use crate::types::RestartSpec;

/// How long worker processes may take to end when they are told to, all together.
const WORKERS_END: Duration = Duration::from_secs(2);

/// A block instance has a warm session.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Up {
    pub block: usize,
    pub instance: usize,
    /// Making and warming the session.
    pub took: Duration,
}

/// What a block instance lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The session: it can be rebuilt.
    Session,
    /// The sockets, and with them the queue.
    Links,
}

/// A block instance failed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Fault {
    pub block: usize,
    pub instance: usize,
    pub kind: FaultKind,
    pub cause: String,
}

/// The supervisor takes charge of these actors.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Adopt {
    pub blocks: HashMap<(usize, usize), Addr<BlockActor>>,
    /// Where it is in this process.
    pub gateway: Option<Addr<GatewayActor>>,
}

/// Somebody else wrote the board.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct BoardChanged;

/// Order to tell every worker a line, now or when it is started again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Tell(pub Arc<[u8]>);

/// A worker process has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ended {
    /// Index into the assignments.
    worker: usize,
    cause: String,
}

/// Told once: every block is up, or why the node cannot start.
pub(super) type Started = SyncSender<Result<(), NodeError>>;

/// Watches the block instances of a node and the worker processes of its host.
#[derive(Debug)]
pub(super) struct Supervisor {
    plan: Arc<Plan>,
    site: Arc<Site>,
    board: Board,
    blocks: HashMap<(usize, usize), Addr<BlockActor>>,
    gateway: Option<Addr<GatewayActor>>,
    policies: HashMap<(usize, usize), RestartPolicy>,
    workers: Workers,
    /// What workers were told last.
    told: Option<Arc<[u8]>>,
    /// Running ones, by index into the assignments.
    running: HashMap<usize, Worker>,
    worker_policies: HashMap<usize, RestartPolicy>,
    /// Present until told.
    started: Option<Started>,
    randomness: RandomState,
}

impl Supervisor {
    pub(super) fn new(
        plan: Arc<Plan>,
        site: Arc<Site>,
        board: Board,
        workers: Workers,
        started: Started,
    ) -> Self {
        Self {
            plan,
            site,
            board,
            blocks: HashMap::new(),
            gateway: None,
            policies: HashMap::new(),
            workers,
            told: None,
            running: HashMap::new(),
            worker_policies: HashMap::new(),
            started: Some(started),
            randomness: RandomState::new(),
        }
    }

    /// The node has started once the supervisor knows its actors and all blocks are up that its site waits for.
    fn check_started(&mut self) {
        let here = self.plan.blocks_of(&self.site);
        let instances = here.map(|block| self.plan.blocks[block].spec.instances);
        let adopted = self.blocks.len() == instances.sum::<usize>();
        let up = self
            .plan
            .awaited_at(&self.site)
            .all(|block| self.board.is_up(block));
        if adopted && up {
            self.tell_started(Ok(()));
        }
    }

    fn tell_started(&mut self, outcome: Result<(), NodeError>) {
        if let Some(started) = self.started.take() {
            // The starter waits on the other end; if it is gone nobody is left to tell.
            let _ = started.send(outcome);
        }
    }

    /// Writes the board, which a gateway that lives elsewhere is told of.
    fn note(&self, block: usize, instance: usize, state: BlockState) {
        self.board.set(block, instance, state);
        self.announce(block, instance);
    }

    /// Has a block tell a gateway that lives elsewhere how it is.
    fn announce(&self, block: usize, instance: usize) {
        if self.gateway.is_none()
            && let Some(actor) = self.blocks.get(&(block, instance))
            && let Some(state) = self.board.get(block, instance)
        {
            actor.do_send(Announce(state));
        }
    }

    fn start_worker(&mut self, worker: usize, ctx: &mut Context<Self>) {
        let Some(mut assignment) = self.workers.assignments.get(worker).cloned() else {
            return;
        };
        if let Some(told) = &self.told {
            assignment.line = [told, &*assignment.line].concat().into();
        }
        let supervisor = ctx.address();
        let ended = move |cause| supervisor.do_send(Ended { worker, cause });
        match Worker::start(&self.workers.command, &assignment, ended) {
            Ok(running) => {
                self.running.insert(worker, running);
            }
            Err(error) => {
                let process = &assignment.process;
                let cause = format!("process {process:?} could not be started: {error}");
                ctx.notify(Ended { worker, cause });
            }
        }
    }

    /// Writes the same state for every instance of every block of a worker.
    fn note_worker(&self, assignment: &Assignment, state: &BlockState) {
        for &block in &assignment.blocks {
            for instance in 0..self.plan.blocks[block].spec.instances {
                self.board.set(block, instance, state.clone());
            }
        }
    }

    /// Returns the policy of a worker: that of the block with the smallest budget.
    fn worker_restart(&self, assignment: &Assignment) -> Option<RestartSpec> {
        let blocks = assignment.blocks.iter();
        let specs = blocks.map(|&block| self.plan.blocks[block].spec.restart);
        specs.min_by_key(|spec| spec.budget)
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for worker in 0..self.workers.assignments.len() {
            self.start_worker(worker, ctx);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for &(block, instance) in self.blocks.keys() {
            if self.board.is_serving(block, instance) {
                let name = &self.plan.blocks[block].spec.name;
                metrics::block(name).instances_up.sub(1);
            }
        }
        self.running.values_mut().for_each(Worker::close);
        let deadline = Instant::now() + WORKERS_END;
        for (_, worker) in self.running.drain() {
            worker.end(deadline);
        }
    }
}

impl Handler<Adopt> for Supervisor {
    type Result = ();

    fn handle(&mut self, Adopt { blocks, gateway }: Adopt, _: &mut Self::Context) {
        self.blocks = blocks;
        self.gateway = gateway;
        // Some may be up already.
        for &(block, instance) in self.blocks.keys() {
            self.announce(block, instance);
        }
        self.check_started();
    }
}

impl Handler<BoardChanged> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: BoardChanged, _: &mut Self::Context) {
        self.check_started();
    }
}

impl Handler<Tell> for Supervisor {
    type Result = ();

    fn handle(&mut self, Tell(line): Tell, _: &mut Self::Context) {
        for worker in self.running.values_mut() {
            worker.tell(line.clone());
        }
        self.told = Some(line);
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();

    fn handle(&mut self, Ended { worker, cause }: Ended, ctx: &mut Self::Context) {
        self.running.remove(&worker);
        let Some(assignment) = self.workers.assignments.get(worker).cloned() else {
            return;
        };
        let Some(restart) = self.worker_restart(&assignment) else {
            return;
        };
        let process = &assignment.process;
        if self.started.is_some() {
            self.tell_started(Err(NodeError::Worker(cause)));
            return;
        }
        let policy = self
            .worker_policies
            .entry(worker)
            .or_insert_with(|| RestartPolicy::new(restart));
        let now = Instant::now();
        let decision = policy.on_failure(now, self.randomness.hash_one(now) as u32);
        let attempt = policy.attempts();
        match decision {
            Restart::After(backoff) => {
                ProcessEnded {
                    process,
                    cause: &cause,
                    attempt,
                    backoff,
                }
                .emit();
                self.note_worker(&assignment, &BlockState::Restarting { cause });
                ctx.run_later(backoff, move |supervisor, ctx| {
                    supervisor.start_worker(worker, ctx);
                });
            }
            Restart::GiveUp => {
                ProcessGivenUp {
                    process,
                    cause: &cause,
                    attempt,
                }
                .emit();
                let cause = format!("given up after {} restarts: {cause}", restart.budget);
                let state = BlockState::GivenUp {
                    cause: cause.clone(),
                };
                self.note_worker(&assignment, &state);
                if let Some(gateway) = &self.gateway {
                    gateway.do_send(Unusable {
                        blocks: assignment.blocks.clone(),
                        cause,
                    });
                }
            }
        }
    }
}

impl Handler<Up> for Supervisor {
    type Result = ();

    fn handle(
        &mut self,
        Up {
            block,
            instance,
            took,
        }: Up,
        _: &mut Self::Context,
    ) {
        if self.board.is_given_up(block, instance) {
            return;
        }
        self.note(block, instance, BlockState::Serving);
        let spec = &self.plan.blocks[block].spec;
        match self.policies.get(&(block, instance)) {
            None => BlockStarted {
                block: &spec.name,
                instance,
                device: spec.device,
                took,
            }
            .emit(),
            Some(policy) => {
                BlockRestarted {
                    block: &spec.name,
                    instance,
                    attempt: policy.attempts(),
                    took,
                }
                .emit();
            }
        }
        metrics::block(&spec.name).instances_up.add(1);
        self.check_started();
    }
}

impl Handler<Fault> for Supervisor {
    type Result = ();

    fn handle(&mut self, fault: Fault, ctx: &mut Self::Context) {
        let Fault {
            block,
            instance,
            kind,
            cause,
        } = fault;
        let name = self.plan.blocks[block].spec.name.clone();
        if self.started.is_some() {
            self.tell_started(Err(NodeError::Block { block: name, cause }));
            return;
        }
        let spec = self.plan.blocks[block].spec.restart;
        let policy = self
            .policies
            .entry((block, instance))
            .or_insert_with(|| RestartPolicy::new(spec));
        let now = Instant::now();
        let decision = match kind {
            FaultKind::Session => policy.on_failure(now, self.randomness.hash_one(now) as u32),
            FaultKind::Links => Restart::GiveUp,
        };
        let attempt = policy.attempts();
        if self.board.is_serving(block, instance) {
            metrics::block(&name).instances_up.sub(1);
        }
        let Some(actor) = self.blocks.get(&(block, instance)).cloned() else {
            return;
        };
        match decision {
            Restart::After(wait) => {
                BlockFailed {
                    block: &name,
                    instance,
                    cause: &cause,
                    attempt,
                    backoff: wait,
                }
                .emit();
                self.note(block, instance, BlockState::Restarting { cause });
                ctx.run_later(wait, move |_, _| actor.do_send(Rebuild));
            }
            Restart::GiveUp => {
                BlockGivenUp {
                    block: &name,
                    instance,
                    cause: &cause,
                    attempt,
                }
                .emit();
                let cause = match kind {
                    FaultKind::Session => {
                        format!("given up after {} rebuilds: {cause}", spec.budget)
                    }
                    FaultKind::Links => format!("given up: {cause}"),
                };
                let state = BlockState::GivenUp {
                    cause: cause.clone(),
                };
                self.note(block, instance, state);
                actor.do_send(GiveUp { cause });
            }
        }
    }
}
