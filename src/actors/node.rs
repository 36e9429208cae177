//! A node: the actors of a plan that live in this process.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::NodeError;
use super::block::{BlockActor, BlockConfig};
use super::board::Board;
use super::distress::Distress;
use super::gateway::{Abandon, Gateway, GatewayActor, GatewayConfig};
use super::progress::Progress;
use super::supervisor::{Adopt, Instance, Laggards, Supervisor, SupervisorConfig, Tell};
use super::worker::Workers;
use crate::engine::Prepared;
use crate::plan::{Plan, Site, Wiring};
use crate::sched::{Doing, Sight, Watch};
use crate::telemetry::{Event, ShutdownPhase};
use crate::tensormq::{Context as MqContext, LinkError};
use crate::types::StuckSpec;

/// How long threads and worker processes may take to end after they were told to.
const THREAD_END: Duration = Duration::from_secs(4);
/// How long where a block has been at one thing for longer than that already.
const STUCK_END: Duration = Duration::from_millis(2500);
/// How long the gateway may take to list what is still open.
const ABANDON_ANSWER: Duration = Duration::from_secs(1);

/// Running actors.
#[derive(Debug)]
pub struct Node {
    front: Option<Front>,
    supervisor: Addr<Supervisor>,
    control: System,
    /// Taken when the node is stopped.
    thread: Option<JoinHandle<()>>,
    ended: Receiver<()>,
    instances: Vec<Named>,
    laggards: Laggards,
}

/// The gateway, where it lives in this process.
#[derive(Debug)]
struct Front {
    gateway: Gateway,
    actor: Addr<GatewayActor>,
}

/// Reaches the worker processes of a host.
#[derive(Debug, Clone)]
pub struct WorkersHandle(Addr<Supervisor>);

/// What a node is started from.
#[derive(Debug)]
pub struct NodeConfig {
    pub plan: Plan,
    pub site: Site,
    /// By block of the plan; those of this site are there.
    pub prepared: Vec<Option<Arc<dyn Prepared>>>,
    pub workers: Workers,
    pub context: MqContext,
    /// Who hears of what cannot be mended within this process.
    pub distress: Distress,
    /// Another node serves meanwhile: sessions are made one after the other, so that it keeps the other cores.
    pub beside: bool,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopReport {
    /// Requests that were still unanswered when the time was over; each was answered with a refusal.
    pub stragglers: Vec<String>,
    /// Whether every thread ended in time; a block stuck in a run keeps its thread.
    pub threads_ended: bool,
    /// Instances of blocks whose threads did not end, and what they are at.
    pub blocks: Vec<String>,
    /// Worker processes that had to be killed.
    pub workers: Vec<String>,
}

/// What the control thread hands back once the actors exist.
struct Launched {
    actor: Option<Addr<GatewayActor>>,
    supervisor: Addr<Supervisor>,
    control: System,
    arbiters: Vec<Arbiter>,
    instances: Vec<Named>,
}

/// An instance, for whoever asks what it is doing.
#[derive(Debug)]
struct Named {
    /// Of the block, and the number of the instance.
    name: String,
    progress: Arc<Progress>,
    stuck: StuckSpec,
}

/// What the control thread works with.
struct Launch {
    plan: Arc<Plan>,
    site: Arc<Site>,
    prepared: Vec<Option<Arc<dyn Prepared>>>,
    context: MqContext,
    /// Where the gateway lives here, its handle and who waits for its sockets.
    gateway: Option<(Gateway, SyncSender<Result<(), LinkError>>)>,
    supervisor: Supervisor,
    /// Where sessions are made one after the other, whose turn it is.
    turn: Option<Arc<Mutex<()>>>,
}

impl Node {
    /// Starts every actor of the site and returns once each block that it waits for has a warm session. Blocks the calling
    /// thread.
    pub fn start(config: NodeConfig) -> Result<Self, NodeError> {
        let NodeConfig {
            plan,
            site,
            prepared,
            workers,
            context,
            distress,
            beside,
        } = config;
        let turn = beside.then(|| Arc::new(Mutex::new(())));
        let (plan, site) = (Arc::new(plan), Arc::new(site));
        let board = Board::new(plan.blocks.iter().map(|block| block.spec.instances));
        let gateway = plan
            .has_gateway(&site)
            .then(|| Gateway::new(plan.clone(), board.clone()));
        let (launched_tx, launched) = sync_channel(1);
        let (started_tx, started) = sync_channel(1);
        let (opened_tx, opened) = sync_channel(1);
        let (ended_tx, ended) = sync_channel(1);
        let laggards = Laggards::default();
        let named = laggards.clone();
        let handle = gateway.clone().map(|gateway| (gateway, opened_tx));
        let thread = thread::Builder::new()
            .name("blockflow-control".into())
            .spawn(move || {
                let system = System::new();
                let launch = Launch {
                    supervisor: Supervisor::new(SupervisorConfig {
                        plan: plan.clone(),
                        site: site.clone(),
                        board,
                        workers,
                        distress,
                        laggards: named,
                        started: started_tx,
                    }),
                    plan,
                    site,
                    prepared,
                    context,
                    gateway: handle,
                    turn,
                };
                let made = system.block_on(async { launch.run() });
                let arbiters = match made {
                    Ok(Launched {
                        actor,
                        supervisor,
                        control,
                        arbiters,
                        instances,
                    }) => {
                        let _ = launched_tx.send(Ok((actor, supervisor, control, instances)));
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
        let (actor, supervisor, control, instances) =
            launched.recv().map_err(|_| NodeError::ControlLost)??;
        let front = gateway
            .zip(actor)
            .map(|(gateway, actor)| Front { gateway, actor });
        let has_gateway = front.is_some();
        let node = Self {
            front,
            supervisor,
            control,
            thread: Some(thread),
            ended,
            instances,
            laggards,
        };
        if has_gateway {
            opened
                .recv()
                .map_err(|_| NodeError::ControlLost)?
                .map_err(NodeError::Gateway)?;
        }
        started.recv().map_err(|_| NodeError::ControlLost)??;
        Ok(node)
    }

    /// Returns the gateway, if it lives here.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.front.as_ref().map(|front| &front.gateway)
    }

    /// Returns what reaches the worker processes of this host.
    pub fn workers(&self) -> WorkersHandle {
        WorkersHandle(self.supervisor.clone())
    }

    /// Refuses new requests, waits for those in flight up to `drain`, answers the rest with a refusal, and ends every
    /// thread. Blocks the calling thread.
    pub fn stop(mut self, drain: Duration) -> StopReport {
        self.end(drain)
    }

    /// As [`Node::stop`]; nothing is left to be ended twice.
    pub fn end(&mut self, drain: Duration) -> StopReport {
        let Some(thread) = self.thread.take() else {
            return StopReport {
                threads_ended: true,
                ..StopReport::default()
            };
        };
        let stragglers = self.front.as_ref().map_or_else(Vec::new, |front| {
            front.gateway.close();
            if front.gateway.wait_idle(drain) {
                Vec::new()
            } else {
                front.abandon()
            }
        });
        let started = Instant::now();
        let limit = if self.is_stuck(started) {
            STUCK_END
        } else {
            THREAD_END
        };
        self.control.stop();
        let threads_ended = self.ended.recv_timeout(limit).is_ok();
        if threads_ended {
            // It has sent its last word, so this does not wait.
            let _ = thread.join();
        }
        let report = StopReport {
            stragglers,
            threads_ended,
            blocks: self.lagging(Instant::now()),
            workers: self.laggards.take(),
        };
        ShutdownPhase {
            phase: "links",
            took: started.elapsed(),
            limit,
            stragglers: &report.late(),
        }
        .emit();
        report
    }

    /// Tells whether a block has been at one thing for so long that its end is not worth waiting for.
    fn is_stuck(&self, now: Instant) -> bool {
        let mut instances = self.instances.iter();
        instances.any(|instance| {
            let (doing, lasted) = instance.progress.look(now);
            let seen = Watch::new(instance.stuck).look(doing, lasted);
            seen != Sight::Same || (doing != Doing::Idle && lasted > THREAD_END)
        })
    }

    /// Names the instances whose threads have not ended.
    fn lagging(&self, now: Instant) -> Vec<String> {
        let late = self.instances.iter();
        late.filter(|instance| !instance.progress.has_ended())
            .map(|Named { name, progress, .. }| {
                let (doing, lasted) = progress.look(now);
                let what = match doing {
                    Doing::Idle => "that does nothing",
                    Doing::Warming => "in warming or its first run",
                    Doing::Running => "in a run",
                };
                format!("block {name} {what} for {} ms", lasted.as_millis())
            })
            .collect()
    }
}

impl StopReport {
    /// Names what did not end in time, besides requests.
    pub fn late(&self) -> Vec<String> {
        self.blocks.iter().chain(&self.workers).cloned().collect()
    }

    /// Adds how another stop went.
    pub fn join(&mut self, other: Self) {
        self.stragglers.extend(other.stragglers);
        self.threads_ended &= other.threads_ended;
        self.blocks.extend(other.blocks);
        self.workers.extend(other.workers);
    }
}

impl WorkersHandle {
    /// Tells every worker a line; also those that are started later, instead of what was told before.
    pub fn tell(&self, line: Arc<[u8]>) {
        self.0.do_send(Tell(line));
    }
}

impl Front {
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

impl Launch {
    /// Starts all actors; on the control thread.
    fn run(self) -> Result<Launched, NodeError> {
        let Self {
            plan,
            site,
            prepared,
            context,
            gateway,
            supervisor,
            turn,
        } = self;
        let wiring = Arc::new(Wiring::of(&plan));
        let supervisor = supervisor.start();
        let mut arbiters = Vec::new();
        let mut blocks = HashMap::new();
        let mut instances = Vec::new();
        let mut actor = None;
        if let Some((handle, opened)) = gateway {
            let arbiter = Arbiter::try_new()?;
            let config = GatewayConfig {
                plan: plan.clone(),
                site: site.clone(),
                wiring: wiring.clone(),
                context: context.clone(),
                handle,
                supervisor: supervisor.clone(),
                opened,
            };
            let address =
                GatewayActor::start_in_arbiter(&arbiter.handle(), |_| GatewayActor::new(config));
            actor = Some(address);
            arbiters.push(arbiter);
        }
        for (block, prepared) in prepared.into_iter().enumerate() {
            let Some(prepared) = prepared else {
                continue;
            };
            for instance in 0..plan.blocks[block].spec.instances {
                let progress = Arc::new(Progress::new());
                let spec = &plan.blocks[block].spec;
                instances.push(Named {
                    name: format!("{}/{instance}", spec.name),
                    progress: progress.clone(),
                    stuck: spec.stuck,
                });
                let config = BlockConfig {
                    progress: progress.clone(),
                    plan: plan.clone(),
                    site: site.clone(),
                    wiring: wiring.clone(),
                    block,
                    instance,
                    prepared: prepared.clone(),
                    context: context.clone(),
                    supervisor: supervisor.clone(),
                    turn: turn.clone(),
                };
                let arbiter = Arbiter::try_new()?;
                let actor =
                    BlockActor::start_in_arbiter(&arbiter.handle(), |_| BlockActor::new(config));
                blocks.insert((block, instance), Instance { actor, progress });
                arbiters.push(arbiter);
            }
        }
        supervisor.do_send(Adopt {
            blocks,
            gateway: actor.clone(),
        });
        Ok(Launched {
            actor,
            supervisor,
            control: System::current(),
            arbiters,
            instances,
        })
    }
}
