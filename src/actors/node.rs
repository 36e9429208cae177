//! A node: all actors of one plan in one process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::prelude::*;

use super::NodeError;
use super::block::{BlockActor, BlockConfig};
use super::board::Board;
use super::gateway::{Abandon, Gateway, GatewayActor, GatewayConfig};
use super::supervisor::{Adopt, Supervisor};
use crate::engine::Prepared;
use crate::plan::{Plan, Wiring};
use crate::tensormq::{Context as MqContext, Digest, LinkError, Party};

/// How long a thread may take to end after it was told to.
const THREAD_END: Duration = Duration::from_secs(2);
/// How long the gateway may take to list what is still open.
const ABANDON_ANSWER: Duration = Duration::from_secs(1);

/// Running actors.
#[derive(Debug)]
pub struct Node {
    gateway: Gateway,
    actor: Addr<GatewayActor>,
    control: System,
    /// Taken when the node is stopped.
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopReport {
    /// Requests that were still unanswered when the time was over; each was answered with a refusal.
    pub stragglers: Vec<String>,
    /// Whether every thread ended in time; a block stuck in a run keeps its thread.
    pub threads_ended: bool,
}

/// What the control thread hands back once the actors exist.
struct Launched {
    actor: Addr<GatewayActor>,
    control: System,
    arbiters: Vec<Arbiter>,
}

impl Node {
    /// Starts every actor and returns once each block has a warm session. Blocks the calling thread.
    ///
    /// `prepared` stands in the order of the plan's blocks.
    pub fn start(plan: Plan, prepared: Vec<Arc<dyn Prepared>>) -> Result<Self, NodeError> {
        let plan = Arc::new(plan);
        let board = Board::new(plan.blocks.iter().map(|block| block.spec.instances));
        let gateway = Gateway::new(plan.clone(), board.clone());
        let (launched_tx, launched) = sync_channel(1);
        let (started_tx, started) = sync_channel(1);
        let (opened_tx, opened) = sync_channel(1);
        let (ended_tx, ended) = sync_channel(1);
        let handle = gateway.clone();
        let thread = thread::Builder::new()
            .name("blockflow-control".into())
            .spawn(move || {
                let system = System::new();
                let supervisor = Supervisor::new(plan.clone(), board, started_tx);
                let made = system
                    .block_on(async { launch(supervisor, plan, prepared, handle, opened_tx) });
                let arbiters = match made {
                    Ok(Launched {
                        actor,
                        control,
                        arbiters,
                    }) => {
                        let _ = launched_tx.send(Ok((actor, control)));
                        // An error here is the exit code of the system, which nobody reads.
                        let _ = system.run();
                        arbiters
                    }
                    Err(error) => {
                        let _ = launched_tx.send(Err(error));
                        Vec::new()
                    }
                };
                for arbiter in arbiters {
                    arbiter.stop();
                    let _ = arbiter.join();
                }
                let _ = ended_tx.send(());
            })?;
        let (actor, control) = launched.recv().map_err(|_| NodeError::ControlLost)??;
        let node = Self {
            gateway,
            actor,
            control,
            thread: Some(thread),
            ended,
        };
        opened
            .recv()
            .map_err(|_| NodeError::ControlLost)?
            .map_err(NodeError::Gateway)?;
        started.recv().map_err(|_| NodeError::ControlLost)??;
        Ok(node)
    }

    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Refuses new requests, waits for those in flight up to `drain`, answers the rest with a refusal, and ends every
    /// thread. Blocks the calling thread.
    pub fn stop(mut self, drain: Duration) -> StopReport {
        self.end(drain)
    }

    fn end(&mut self, drain: Duration) -> StopReport {
        let Some(thread) = self.thread.take() else {
            return StopReport::default();
        };
        self.gateway.close();
        let stragglers = if self.gateway.wait_idle(drain) {
            Vec::new()
        } else {
            self.abandon()
        };
        self.control.stop();
        let threads_ended = self.ended.recv_timeout(THREAD_END).is_ok();
        if threads_ended {
            // It has sent its last word, so this does not wait.
            let _ = thread.join();
        }
        StopReport {
            stragglers,
            threads_ended,
        }
    }

    fn abandon(&self) -> Vec<String> {
        let (report, names) = sync_channel(1);
        self.actor.do_send(Abandon(report));
        names.recv_timeout(ABANDON_ANSWER).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Runs on the control thread.
fn launch(
    supervisor: Supervisor,
    plan: Arc<Plan>,
    prepared: Vec<Arc<dyn Prepared>>,
    handle: Gateway,
    opened: SyncSender<Result<(), LinkError>>,
) -> Result<Launched, NodeError> {
    let context = MqContext::new(Party::new(Digest([0; Digest::BYTES])));
    let wiring = Arc::new(Wiring::of(&plan));
    let supervisor = supervisor.start();
    let mut arbiters = Vec::new();
    let mut blocks = HashMap::new();
    let gateway_arbiter = Arbiter::try_new()?;
    let config = GatewayConfig {
        plan: plan.clone(),
        wiring: wiring.clone(),
        context: context.clone(),
        handle,
        opened,
    };
    let actor =
        GatewayActor::start_in_arbiter(&gateway_arbiter.handle(), |_| GatewayActor::new(config));
    arbiters.push(gateway_arbiter);
    for (block, prepared) in prepared.into_iter().enumerate() {
        for instance in 0..plan.blocks[block].spec.instances {
            let config = BlockConfig {
                plan: plan.clone(),
                wiring: wiring.clone(),
                block,
                instance,
                prepared: prepared.clone(),
                context: context.clone(),
                supervisor: supervisor.clone(),
            };
            let arbiter = Arbiter::try_new()?;
            let address =
                BlockActor::start_in_arbiter(&arbiter.handle(), |_| BlockActor::new(config));
            blocks.insert((block, instance), address);
            arbiters.push(arbiter);
        }
    }
    supervisor.do_send(Adopt(blocks));
    Ok(Launched {
        actor,
        control: System::current(),
        arbiters,
    })
}
