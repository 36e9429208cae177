//! The supervisor: hears of faults, decides by the restart policy, orders rebuilds, writes the board.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::NodeError;
use super::block::{BlockActor, GiveUp, Rebuild};
use super::board::{BlockState, Board};
use crate::plan::Plan;
use crate::sched::{Restart, RestartPolicy};
use crate::telemetry::{BlockFailed, BlockGivenUp, BlockRestarted, BlockStarted, Event, metrics};

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
pub(super) struct Adopt(pub HashMap<(usize, usize), Addr<BlockActor>>);

/// Told once: every block is up, or why the node cannot start.
pub(super) type Started = SyncSender<Result<(), NodeError>>;

/// Watches the block instances of a node.
#[derive(Debug)]
pub(super) struct Supervisor {
    plan: Arc<Plan>,
    board: Board,
    blocks: HashMap<(usize, usize), Addr<BlockActor>>,
    policies: HashMap<(usize, usize), RestartPolicy>,
    /// Present until told.
    started: Option<Started>,
    randomness: RandomState,
}

impl Supervisor {
    pub(super) fn new(plan: Arc<Plan>, board: Board, started: Started) -> Self {
        Self {
            plan,
            board,
            blocks: HashMap::new(),
            policies: HashMap::new(),
            started: Some(started),
            randomness: RandomState::new(),
        }
    }

    /// The node has started once the supervisor knows its actors and all are up.
    fn check_started(&mut self) {
        let instances = self.plan.blocks.iter().map(|block| block.spec.instances);
        let adopted = self.blocks.len() == instances.sum::<usize>();
        if adopted && self.board.all_up() {
            self.tell_started(Ok(()));
        }
    }

    fn tell_started(&mut self, outcome: Result<(), NodeError>) {
        if let Some(started) = self.started.take() {
            // The starter waits on the other end; if it is gone nobody is left to tell.
            let _ = started.send(outcome);
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;
}

impl Handler<Adopt> for Supervisor {
    type Result = ();

    fn handle(&mut self, Adopt(blocks): Adopt, _: &mut Self::Context) {
        self.blocks = blocks;
        self.check_started();
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
        self.board.set(block, instance, BlockState::Serving);
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
                self.board
                    .set(block, instance, BlockState::Restarting { cause });
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
                self.board.set(
                    block,
                    instance,
                    BlockState::GivenUp {
                        cause: cause.clone(),
                    },
                );
                actor.do_send(GiveUp { cause });
            }
        }
    }
}
