//! A configuration, running.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::actors::{Gateway, Node, NodeConfig, NodeError, StopReport, WorkerCommand, Workers};
use crate::engine::{EngineError, Prepared, Store, Usage, prepare};
use crate::plan::{Placement, Plan, PlannedBlock, Site};
use crate::telemetry::{Event, WeightsLoaded, metrics};
use crate::tensormq::{Digest, Party};
use crate::types::Device;

use super::worker::Orders;
use super::{Loaded, sockets};

/// Block actors and gateway of one process, running.
#[derive(Debug)]
pub struct Runtime {
    node: Node,
    weights: BTreeMap<Device, Usage>,
    /// Of the sockets between the processes of this host; goes with the runtime.
    _sockets: Option<TempDir>,
}

/// Which part of a plan to run, and how to start the program again for the parts of other processes.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Host of the configuration that this machine is; where the gateway lives, if not given.
    pub host: Option<String>,
    pub worker: WorkerCommand,
}

/// Why a plan could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("block {block:?} could not be prepared: {cause}")]
    Prepare { block: String, cause: EngineError },
    #[error("no folder for sockets could be made: {0}")]
    Sockets(io::Error),
    #[error("there is no host {seen:?}, expected one of: {known}", known = known.join(", "))]
    UnknownHost { seen: String, known: Vec<String> },
    #[error("orders of a worker cannot be written: {0}")]
    Orders(serde_json::Error),
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl Runtime {
    /// Prepares and warms every block of the host's main process, has its workers started, then opens the gateway if it is
    /// to be here. Blocks the calling thread; not for async contexts.
    pub fn start(loaded: Loaded, part: Part) -> Result<Self, StartError> {
        let Part { host, worker } = part;
        let host = known_host(&loaded.plan, host)?;
        let mut site = Site {
            host,
            process: Placement::MAIN.to_owned(),
            directory: PathBuf::new(),
        };
        let processes = loaded.plan.workers_of(&site.host);
        let sockets = if processes.is_empty() {
            None
        } else {
            Some(sockets::folder().map_err(StartError::Sockets)?)
        };
        if let Some(folder) = &sockets {
            folder.path().clone_into(&mut site.directory);
        }
        let assign = |(process, blocks)| Orders::assign(&loaded, &site, process, blocks);
        let assignments = processes.into_iter().map(assign);
        let workers = Workers {
            command: worker,
            assignments: assignments
                .collect::<Result<_, _>>()
                .map_err(StartError::Orders)?,
        };
        Self::start_site(loaded, site, workers, sockets)
    }

    /// Starts what lives in a worker process.
    pub(super) fn start_worker(loaded: Loaded, site: Site) -> Result<Self, StartError> {
        Self::start_site(loaded, site, Workers::default(), None)
    }

    fn start_site(
        loaded: Loaded,
        site: Site,
        workers: Workers,
        sockets: Option<TempDir>,
    ) -> Result<Self, StartError> {
        let blocks = &loaded.plan.blocks;
        let prepared = blocks.iter().enumerate().map(|(index, block)| {
            if !site.has(&block.placement) {
                return Ok(None);
            }
            let spec = &block.spec;
            let prepared = prepare(loaded.source(index), spec.threads, spec.device);
            prepared.map(Some).map_err(|cause| StartError::Prepare {
                block: spec.name.clone(),
                cause,
            })
        });
        let prepared: Vec<Option<Arc<dyn Prepared>>> = prepared.collect::<Result<_, _>>()?;
        let party = Party::new(Digest(*loaded.plan.digest.bytes()));
        // The graphs, and with them the mapped model files, are not needed any more.
        let Loaded { plan, .. } = loaded;
        let devices = count_weights(&plan, &prepared);
        let node = Node::start(NodeConfig {
            plan,
            site,
            prepared,
            workers,
            party,
        })?;
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
        Ok(Self {
            node,
            weights,
            _sockets: sockets,
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

    /// Stops intake, waits for requests in flight up to `drain`, then stops every actor.
    pub fn stop(self, drain: Duration) -> StopReport {
        self.node.stop(drain)
    }
}

/// Tells metrics what each block uses. Returns the devices.
fn count_weights(plan: &Plan, prepared: &[Option<Arc<dyn Prepared>>]) -> Vec<Device> {
    let blocks = plan.blocks.iter().zip(prepared);
    let count = |(block, prepared): (&PlannedBlock, &Option<Arc<dyn Prepared>>)| {
        let bytes = i64::try_from(prepared.as_ref()?.weight_bytes()).unwrap_or(i64::MAX);
        metrics::block(&block.spec.name).weight_bytes.set(bytes);
        Some(block.spec.device)
    };
    blocks.filter_map(count).collect()
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
