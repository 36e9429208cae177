//! A configuration, running.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::actors::{
    Distress, Gateway, Node, NodeConfig, NodeError, StopReport, WorkerCommand, Workers,
    WorkersHandle,
};
use crate::engine::{EngineError, Held, Store, Usage, cuda, set_devices};
use crate::graph::Digest;
use crate::plan::{Misfit, Need, Placement, Plan, Side, Site};
use crate::telemetry::metrics::{self, EdgeLabels};
use crate::telemetry::{Event, ShutdownPhase, WeightsLoaded};
use crate::tensormq::{self, Context, Party};
use crate::types::{BlockSpec, Device, DeviceSpec, Epoch, HostSpec, Spec, lock};

use super::keys::{KeyError, Locks};
use super::load::{Before, Weights};
use super::memory::{self, Tenants, needs};
use super::prepared::{Known, PreparedBlocks, estimates, known_now, placed, prepare_all};
use super::worker::{Orders, news};
use super::{Loaded, sockets};

/// How long it should take to free what a runtime held, which cannot be hurried.
const FREED: Duration = Duration::from_secs(5);

/// Block actors and gateway of one process, running.
#[derive(Debug)]
pub struct Runtime {
    node: Node,
    weights: BTreeMap<Device, Usage>,
    keys: Keys,
    configured: Box<Configured>,
    known: Known,
    /// The blocks of this process that have memory.
    tenants: Tenants,
    distress: Distress,
    /// Of the sockets between the processes of this host; goes with the runtime.
    sockets: Option<TempDir>,
}

/// What is left of a configuration once it runs.
#[derive(Debug)]
struct Configured {
    plan: Plan,
    spec: Spec,
    /// What blocks of workers hold, as far as their models tell; by block.
    estimates: Vec<Held>,
    /// By block; none where nobody is going to ask.
    contents: Vec<Digest>,
    files: Vec<PathBuf>,
    /// As in the models; none where nobody is going to ask.
    weights: Weights,
    /// It names its hosts.
    has_hosts: bool,
}

/// The keys of a running configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    locks: Option<Arc<Mutex<Locks>>>,
    workers: Option<WorkersHandle>,
}

/// Which part of a plan to run, and how to start the program again for the parts of other processes.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Host of the configuration that this machine is; where the gateway lives, if not given.
    pub host: Option<String>,
    /// File of the host's secret key, if not the usual one. Needed where hosts have keys.
    pub key_file: Option<PathBuf>,
    pub worker: WorkerCommand,
    /// Who hears of what cannot be mended within this process.
    pub distress: Distress,
}

/// Why a plan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("block {block:?} could not be prepared: {cause}")]
    Prepare { block: String, cause: EngineError },
    #[error("{}", misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoRoom { misfits: Vec<Misfit> },
    #[error("no folder for sockets could be made: {0}")]
    Sockets(io::Error),
    #[error("there is no host {seen:?}, expected one of: {known}", known = known.join(", "))]
    UnknownHost { seen: String, known: Vec<String> },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("orders of a worker cannot be written: {0}")]
    Orders(serde_json::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl StartError {
    pub(super) fn of(block: &BlockSpec, cause: EngineError) -> Self {
        Self::Prepare {
            block: block.name.clone(),
            cause,
        }
    }
}

impl Runtime {
    /// Starts a configuration that no other is going to replace.
    pub fn start(loaded: Loaded, part: Part) -> Result<Self, StartError> {
        Self::start_knowing(loaded, part, None)
    }

    /// Prepares and warms every block of the host's main process, has its workers started, then opens the gateway if it is
    /// to be here. What is `known` is not prepared again; `None`: nobody is going to ask what this one knows, for which all
    /// weights are read once more. Blocks the calling thread; not for async contexts.
    pub(super) fn start_knowing(
        loaded: Loaded,
        part: Part,
        known: Option<&Known>,
    ) -> Result<Self, StartError> {
        Self::start_main(loaded, part, known, false)
    }

    /// Does the same beside what is served, which keeps the other cores: sessions are made one after the other.
    pub(super) fn start_beside(
        loaded: Loaded,
        part: Part,
        known: &Known,
    ) -> Result<Self, StartError> {
        Self::start_main(loaded, part, Some(known), true)
    }

    fn start_main(
        loaded: Loaded,
        part: Part,
        known: Option<&Known>,
        beside: bool,
    ) -> Result<Self, StartError> {
        let Part {
            host,
            key_file,
            worker,
            distress,
        } = part;
        let host = known_host(&loaded.plan, host)?;
        if known.is_none_or(Known::is_empty) {
            memory::check_room(&loaded).map_err(|misfits| StartError::NoRoom { misfits })?;
        }
        // It is not served yet.
        let distress = distress.of_one();
        distress.mute(true);
        let mut site = Site {
            host,
            process: Placement::MAIN.to_owned(),
            directory: PathBuf::new(),
        };
        set_devices(&loaded.plan.devices);
        let party = party_of(&loaded.plan);
        let (context, locks) = Locks::open(&loaded.plan, &site.host, key_file.as_deref(), party)?;
        let key_file = locks.as_ref().map(Locks::file);
        // A start that is interrupted while models load leaves no folder behind.
        let prepared = prepare_all(&loaded, &site, known)?;
        let processes = loaded.plan.workers_of(&site.host);
        let sockets = if processes.is_empty() {
            None
        } else {
            Some(sockets::folder().map_err(StartError::Sockets)?)
        };
        if let Some(folder) = &sockets {
            folder.path().clone_into(&mut site.directory);
        }
        let assign = |(process, blocks)| Orders::assign(&loaded, &site, key_file, process, blocks);
        let assignments = processes.into_iter().map(assign);
        let workers = Workers {
            command: worker,
            assignments: assignments
                .collect::<Result<_, _>>()
                .map_err(StartError::Orders)?,
        };
        let contents = known.map(|_| loaded.contents()).unwrap_or_default();
        Self::start_site(
            loaded,
            site,
            (prepared, contents),
            (workers, distress, beside),
            sockets,
            (context, locks),
        )
    }

    /// Starts what lives in a worker process.
    pub(super) fn start_worker(
        loaded: Loaded,
        site: Site,
        key_file: Option<&Path>,
        distress: Distress,
    ) -> Result<Self, StartError> {
        set_devices(&loaded.plan.devices);
        let party = party_of(&loaded.plan);
        let opened = Locks::open(&loaded.plan, &site.host, key_file, party)?;
        let prepared = (prepare_all(&loaded, &site, None)?, Vec::new());
        let workers = (Workers::default(), distress, false);
        Self::start_site(loaded, site, prepared, workers, None, opened)
    }

    fn start_site(
        loaded: Loaded,
        site: Site,
        (prepared, contents): (PreparedBlocks, Vec<Digest>),
        (workers, distress, beside): (Workers, Distress, bool),
        sockets: Option<TempDir>,
        (context, locks): (Context, Option<Locks>),
    ) -> Result<Self, StartError> {
        let contents_known = !contents.is_empty();
        let configured = Configured {
            plan: loaded.plan.clone(),
            spec: loaded.spec.clone(),
            estimates: estimates(&loaded),
            contents,
            files: loaded.files(),
            weights: if contents_known {
                loaded.weights()
            } else {
                Weights::new()
            },
            has_hosts: !loaded.spec.hosts.is_empty(),
        };
        // The graphs, and with them the mapped model files, are not needed any more.
        let Loaded { plan, .. } = loaded;
        let known = known_now(&configured.plan, &configured.contents, &prepared);
        let has_gateway = plan.has_gateway(&site);
        let blocks = prepared.clone();
        let node = Node::start(NodeConfig {
            plan,
            site,
            prepared,
            workers,
            context,
            distress: distress.clone(),
            beside,
        })?;
        // Not before it runs: nobody is told of what does not come to be.
        if has_gateway {
            tell_routes(&configured.plan);
        }
        let (devices, tenants) = placed(&configured.plan, &blocks);
        // Now that every session is there: some hold weights of their own.
        let usage = |device| (device, Store::of(device).usage());
        let weights: BTreeMap<_, _> = devices.into_iter().map(usage).collect();
        for (&device, usage) in &weights {
            WeightsLoaded {
                device,
                bytes: usage.bytes,
                shared_bytes: usage.shared_bytes,
            }
            .emit();
        }
        let keys = Keys {
            locks: locks.map(|locks| Arc::new(Mutex::new(locks))),
            workers: Some(node.workers()),
        };
        Ok(Self {
            node,
            keys,
            weights,
            configured: Box::new(configured),
            known,
            tenants,
            distress,
            sockets,
        })
    }

    /// Returns what the devices hold of weights, all blocks of this process together, as it was after the start.
    pub fn weights(&self) -> &BTreeMap<Device, Usage> {
        &self.weights
    }

    /// Returns the gateway, if it lives here.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.node.gateway()
    }

    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Tells whether it is this one that is served: only then is what cannot be mended in it a reason to end the process.
    pub(super) fn set_served(&self, served: bool) {
        self.distress.mute(!served);
    }

    /// Tells metrics again how edges go, after another configuration has told how those of its own do.
    pub(super) fn restate(&self) {
        if self.gateway().is_some() {
            tell_routes(&self.configured.plan);
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.configured.plan.epoch
    }

    /// Returns how long requests in flight are waited for at the end.
    pub(super) fn drain(&self) -> Duration {
        self.configured.plan.server.drain
    }

    /// Returns the files of the models and of golden cases.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.configured.files
    }

    /// Returns the weights of its blocks as they are in the models.
    pub(super) fn model_weights(&self) -> &Weights {
        &self.configured.weights
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.configured.plan
    }

    /// Tells whether the configuration names its hosts, so that others have the same one.
    pub(super) fn has_hosts(&self) -> bool {
        self.configured.has_hosts
    }

    /// Returns the configuration as one to be compared with another.
    pub(super) fn side(&self) -> Side<'_> {
        let Configured {
            plan,
            spec,
            contents,
            ..
        } = &*self.configured;
        Side {
            plan,
            log: &spec.log,
            contents,
        }
    }

    /// Returns what it was started from.
    pub(super) fn configuration(&self) -> ((Plan, Spec), Before) {
        let Configured {
            plan,
            spec,
            contents,
            weights,
            files,
            ..
        } = &*self.configured;
        let before = Before {
            contents: contents.clone(),
            weights: weights.clone(),
            files: files.clone(),
        };
        ((plan.clone(), spec.clone()), before)
    }

    /// Returns what is said of devices.
    pub(super) fn devices(&self) -> &[DeviceSpec] {
        &self.configured.plan.devices
    }

    /// Returns the blocks of this process that have memory.
    pub(super) fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Returns what its blocks need of devices.
    pub(super) fn needs(&self) -> Vec<Need> {
        let Configured {
            plan,
            contents,
            estimates,
            ..
        } = &*self.configured;
        needs(plan, contents, &self.known, |block| {
            estimates[block].clone()
        })
    }

    /// Ends every actor, and lets go of all that blocks hold. What is left of requests is answered with a refusal.
    pub(super) fn end(&mut self) -> StopReport {
        self.known.clear();
        self.tenants.clear();
        self.node.end(Duration::ZERO)
    }

    /// Stops intake, waits for requests in flight up to `drain`, then stops every actor.
    pub fn stop(self, drain: Duration) -> StopReport {
        let Self {
            node,
            weights: _,
            keys: _,
            configured: _,
            known,
            tenants,
            distress: _,
            sockets,
        } = self;
        // Where nothing is waited for, nobody connects any more. A process that ends from here on leaves nothing: workers that
        // were told to end tidy up after nobody.
        let sockets = sockets.filter(|_| !drain.is_zero());
        let report = node.stop(drain);
        let started = Instant::now();
        drop((known, tenants, sockets));
        ShutdownPhase {
            phase: "free",
            took: started.elapsed(),
            limit: FREED,
            stragglers: &[],
        }
        .emit();
        report
    }
}

impl Keys {
    /// Reads the secret key again and takes the public keys of `hosts`; so do the workers. `false`: there are no keys.
    pub(super) fn renew(&self, hosts: &[HostSpec]) -> Result<bool, KeyError> {
        let Some(locks) = &self.locks else {
            return Ok(false);
        };
        let mut locks = lock(locks);
        locks.renew(hosts)?;
        if let Some(workers) = &self.workers {
            workers.tell(news(hosts));
        }
        Ok(true)
    }
}

fn party_of(plan: &Plan) -> Party {
    Party::new(tensormq::Digest(*plan.digest.bytes()))
}

/// Tells metrics how every edge goes.
fn tell_routes(plan: &Plan) {
    let mut plan = plan.clone();
    plan.without_pools(cuda::is_unshared);
    let mut edges = BTreeSet::new();
    for pipeline in &plan.pipelines {
        for edge in &pipeline.edges {
            edges.insert(EdgeLabels {
                pipeline: pipeline.name.clone(),
                from: plan.producer_name(pipeline, edge),
                to: plan.consumer_name(pipeline, edge),
                carrier: edge.route.carrier.to_string(),
                travels: edge.route.travels.to_string(),
                encoding: edge.encoded().to_string(),
            });
        }
    }
    metrics::registry().set_edges(edges);
}

/// Returns the host to be, which the configuration has to know.
fn known_host(plan: &Plan, asked: Option<String>) -> Result<String, StartError> {
    let Some(seen) = asked else {
        return Ok(plan.gateway.host.clone());
    };
    let known: Vec<_> = plan.hosts.iter().map(|host| host.name.clone()).collect();
    if known.contains(&seen) {
        Ok(seen)
    } else {
        Err(StartError::UnknownHost { seen, known })
    }
}
