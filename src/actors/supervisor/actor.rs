//! The actor: what it knows, and what it is told of instances that come up.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::actors::NodeError;
use crate::actors::block::{Announce, BlockActor};
use crate::actors::board::{BlockState, Board};
use crate::actors::distress::Distress;
use crate::actors::gateway::{GatewayActor, Unusable};
use crate::actors::progress::Progress;
use crate::actors::worker::{Worker, Workers};
use crate::plan::{Plan, Site};
use crate::sched::{Supervision, Ward, Watch};
use crate::telemetry::metrics::{self, BlockMetrics};
use crate::telemetry::{BlockRestarted, BlockStarted, Event};

use super::workers::Laggards;

/// A block instance has a warm session and open sockets.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Up {
    pub block: usize,
    pub instance: usize,
    /// Making and warming the session, or opening the sockets.
    pub took: Duration,
}

/// One actor of a block, and what it is doing.
#[derive(Debug, Clone)]
pub(in crate::actors) struct Instance {
    pub actor: Addr<BlockActor>,
    pub progress: Arc<Progress>,
}

/// The supervisor takes charge of these actors.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Adopt {
    pub blocks: HashMap<(usize, usize), Instance>,
    /// Where it is in this process.
    pub gateway: Option<Addr<GatewayActor>>,
}

/// Somebody else wrote the board.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct BoardChanged;

/// Told once: every block is up, or why the node cannot start.
pub(super) type Started = SyncSender<Result<(), NodeError>>;

/// What a supervisor is made from.
#[derive(Debug)]
pub(in crate::actors) struct SupervisorConfig {
    pub plan: Arc<Plan>,
    pub site: Arc<Site>,
    pub board: Board,
    pub workers: Workers,
    pub distress: Distress,
    pub laggards: Laggards,
    pub started: Started,
}

/// Watches the block instances of a node and the worker processes of its host.
#[derive(Debug)]
pub(in crate::actors) struct Supervisor {
    pub(super) plan: Arc<Plan>,
    pub(super) site: Arc<Site>,
    pub(super) board: Board,
    pub(super) blocks: HashMap<(usize, usize), Instance>,
    pub(super) gateway: Option<Addr<GatewayActor>>,
    pub(super) supervisions: HashMap<(usize, usize), Supervision>,
    pub(super) watches: HashMap<(usize, usize), Watch>,
    pub(super) distress: Distress,
    pub(super) laggards: Laggards,
    pub(super) workers: Workers,
    /// What workers were told last.
    pub(super) told: Option<Arc<[u8]>>,
    /// Running ones, by index into the assignments.
    pub(super) running: HashMap<usize, Worker>,
    pub(super) worker_supervisions: HashMap<usize, Supervision>,
    /// By block. Kept, so that what is no longer shown does not come back.
    pub(super) metrics: Vec<Arc<BlockMetrics>>,
    /// Present until told.
    pub(super) started: Option<Started>,
    randomness: RandomState,
}

impl Supervisor {
    pub(in crate::actors) fn new(config: SupervisorConfig) -> Self {
        let SupervisorConfig {
            plan,
            site,
            board,
            workers,
            distress,
            laggards,
            started,
        } = config;
        let blocks = plan.blocks.iter();
        Self {
            metrics: blocks
                .map(|block| metrics::block(&block.spec.name))
                .collect(),
            plan,
            site,
            board,
            blocks: HashMap::new(),
            gateway: None,
            supervisions: HashMap::new(),
            watches: HashMap::new(),
            distress,
            laggards,
            workers,
            told: None,
            running: HashMap::new(),
            worker_supervisions: HashMap::new(),
            started: Some(started),
            randomness: RandomState::new(),
        }
    }

    /// Returns how the instances of this process are looked after.
    pub(super) fn ward(&self) -> Ward {
        if self.site.is_main() {
            Ward::Main
        } else {
            Ward::Worker
        }
    }

    pub(super) fn jitter(&self, now: Instant) -> u32 {
        self.randomness.hash_one(now) as u32
    }

    pub(super) fn name(&self, block: usize) -> &str {
        &self.plan.blocks[block].spec.name
    }

    /// The node has started once the supervisor knows its actors and all blocks are up that its site waits for.
    pub(super) fn check_started(&mut self) {
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

    pub(super) fn tell_started(&mut self, outcome: Result<(), NodeError>) {
        if let Some(started) = self.started.take() {
            // The starter waits on the other end; if it is gone nobody is left to tell.
            let _ = started.send(outcome);
        }
    }

    /// Writes the board, which a gateway that lives elsewhere is told of, and keeps the count of what serves.
    pub(super) fn note(&self, block: usize, instance: usize, state: BlockState) {
        let served = self.board.is_serving(block, instance);
        let serves = state == BlockState::Serving;
        self.metrics[block]
            .instances_up
            .add(i64::from(serves) - i64::from(served));
        self.board.set(block, instance, state);
        self.announce(block, instance);
    }

    /// Has a block tell a gateway that lives elsewhere how it is.
    fn announce(&self, block: usize, instance: usize) {
        if self.gateway.is_none()
            && let Some(Instance { actor, .. }) = self.blocks.get(&(block, instance))
            && let Some(state) = self.board.get(block, instance)
        {
            actor.do_send(Announce(state));
        }
    }

    /// Has every request be answered that needs one of these blocks, if the gateway lives here.
    pub(super) fn refuse(&self, blocks: Vec<usize>, cause: String) {
        if let Some(gateway) = &self.gateway {
            gateway.do_send(Unusable { blocks, cause });
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for worker in 0..self.workers.assignments.len() {
            self.start_worker(worker, ctx);
        }
        self.watch_all(ctx);
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for &(block, instance) in self.blocks.keys() {
            if self.board.is_serving(block, instance) {
                self.metrics[block].instances_up.sub(1);
            }
        }
        self.end_workers();
    }
}

impl Handler<Adopt> for Supervisor {
    type Result = ();

    fn handle(&mut self, Adopt { blocks, gateway }: Adopt, _: &mut Self::Context) {
        let watches = blocks.keys().map(|&(block, instance)| {
            let spec = self.plan.blocks[block].spec.stuck;
            ((block, instance), Watch::new(spec))
        });
        self.watches = watches.collect();
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

impl Handler<Up> for Supervisor {
    type Result = ();

    fn handle(&mut self, up: Up, _: &mut Self::Context) {
        let Up {
            block,
            instance,
            took,
        } = up;
        let supervision = self.supervisions.get(&(block, instance));
        if supervision.is_some_and(Supervision::is_over) {
            return;
        }
        self.note(block, instance, BlockState::Serving);
        let spec = &self.plan.blocks[block].spec;
        match supervision {
            None => BlockStarted {
                block: &spec.name,
                instance,
                device: spec.device,
                took,
            }
            .emit(),
            Some(supervision) => BlockRestarted {
                block: &spec.name,
                instance,
                attempt: supervision.attempts(),
                took,
            }
            .emit(),
        }
        self.check_started();
    }
}
