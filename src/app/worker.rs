//! The life of a worker process: orders in, blocks running, counts out, until the parent wants no more or is gone.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use super::runtime::Keys;
use super::{Loaded, Runtime, StartError};
use crate::actors::{Assignment, Call, Distress, FAREWELL};
use crate::plan::Site;
use crate::telemetry::metrics::{self, Snapshot};
use crate::types::{Epoch, FaultKind, HostSpec, Problem, Spec};

/// Bytes of orders at most.
const ORDERS_BYTES_MAX: u64 = 1 << 26;
/// How often counts are reported.
const REPORT: Duration = Duration::from_secs(1);

/// What a worker is told when it starts: the whole configuration, and which part of it to run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    pub spec: Spec,
    /// Of which addresses are made.
    epoch: u32,
    /// The blocks that it runs, each with the digest of what it computes.
    contents: Vec<(usize, String)>,
    host: String,
    process: String,
    directory: PathBuf,
    /// Which it reads for itself.
    key_file: Option<PathBuf>,
}

/// Why a worker could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum WorkFailure {
    #[error("a worker is started by `blockflow run`, not by hand: its orders cannot be read: {0}")]
    Orders(String),
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Problems { problems: Vec<Problem> },
    #[error(
        "the model of block {block:?} is another than the one that is served: it was replaced and not reloaded yet"
    )]
    Replaced { block: String },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start thread: {0}")]
    Thread(io::Error),
    #[error("cannot ignore signals: {0}")]
    Signals(io::Error),
    /// Something befell it that only another process can go on after.
    #[error("block {block:?}: {cause}")]
    Fault {
        kind: FaultKind,
        block: String,
        cause: String,
    },
}

/// What a worker hears while it runs.
enum Heard {
    /// Of its parent: hosts, with their new keys.
    News(Vec<HostSpec>),
    /// Of its own node.
    Distress(Call),
}

impl Orders {
    /// Returns what a worker of `site` is to be.
    pub(super) fn assign(
        loaded: &Loaded,
        site: &Site,
        key_file: Option<&Path>,
        process: String,
        blocks: Vec<usize>,
    ) -> Result<Assignment, serde_json::Error> {
        let orders = Self {
            spec: loaded.spec.clone(),
            epoch: loaded.plan.epoch.0,
            contents: blocks
                .iter()
                .map(|&block| (block, loaded.content(block).to_string()))
                .collect(),
            host: site.host.clone(),
            process: process.clone(),
            directory: site.directory.clone(),
            key_file: key_file.map(Path::to_owned),
        };
        let mut line = serde_json::to_vec(&orders)?;
        line.push(b'\n');
        let names = blocks.iter();
        Ok(Assignment {
            names: names
                .map(|&block| loaded.plan.blocks[block].spec.name.clone())
                .collect(),
            process,
            blocks,
            line: line.into(),
        })
    }

    /// Reads orders, one line, and the line before it if keys were replaced since the orders were written.
    pub fn read(mut from: impl BufRead) -> Result<Self, WorkFailure> {
        let mut next = || {
            let mut line = Vec::new();
            let read = from
                .by_ref()
                .take(ORDERS_BYTES_MAX)
                .read_until(b'\n', &mut line);
            read.map_err(|error| WorkFailure::Orders(error.to_string()))?;
            Ok::<_, WorkFailure>(line)
        };
        let mut line = next()?;
        let hosts = serde_json::from_slice::<Vec<HostSpec>>(&line).ok();
        if hosts.is_some() {
            line = next()?;
        }
        let orders = serde_json::from_slice(&line);
        let mut orders: Self = orders.map_err(|error| WorkFailure::Orders(error.to_string()))?;
        if let Some(hosts) = hosts {
            orders.spec.hosts = hosts;
        }
        Ok(orders)
    }
}

/// Runs the blocks of `orders` until `parent`, an end of a pipe, is closed; reports counts to `reports`.
pub fn work(
    orders: Orders,
    parent: impl Read + Send + 'static,
    mut reports: impl Write,
) -> Result<(), WorkFailure> {
    ignore_signals().map_err(WorkFailure::Signals)?;
    let directory = orders.directory.clone();
    let (tell, told) = sync_channel(NEWS_MAX);
    let tell = Arc::new(tell);
    let ear = Arc::downgrade(&tell);
    let distress = Distress::new(move |call| {
        if let Some(tell) = ear.upgrade() {
            // Where it is full, one that came before is enough.
            let _ = tell.try_send(Heard::Distress(call));
        }
    });
    // From the very beginning, so that no worker stays that is still loading when its parent ends.
    thread::Builder::new()
        .name("blockflow-parent".into())
        .spawn(move || {
            if !follow(BufReader::new(parent), &tell) {
                // A parent that was killed: nobody else tidies up after it, or another worker, which may be faster.
                let _ = fs::remove_dir_all(&directory);
            }
            drop(tell);
            thread::sleep(LAST_RESORT);
            std::process::abort();
        })
        .map_err(WorkFailure::Thread)?;
    let Orders {
        spec,
        epoch,
        contents,
        host,
        process,
        directory,
        key_file,
    } = orders;
    let mut loaded =
        Loaded::from_spec(&spec).map_err(|problems| WorkFailure::Problems { problems })?;
    loaded.plan.epoch = Epoch(epoch);
    let site = Site {
        host,
        process,
        directory,
    };
    check_contents(&loaded, &contents)?;
    let runtime = Runtime::start_worker(loaded, site, key_file.as_deref(), distress)?;
    // The first report tells that all blocks run. Where nobody reads it, the other pipe is gone in a moment, too.
    while report(&mut reports).is_ok() {
        match told.recv_timeout(REPORT) {
            Ok(Heard::News(hosts)) => renew(runtime.keys(), &hosts),
            Ok(Heard::Distress(Call {
                kind, block, cause, ..
            })) => {
                // A thread that is stuck would be waited for.
                std::mem::forget(runtime);
                return Err(WorkFailure::Fault { kind, block, cause });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    runtime.stop(Duration::ZERO);
    Ok(())
}

/// A model that was replaced since the configuration was read is for the next reload, not for a process of this one.
fn check_contents(loaded: &Loaded, expected: &[(usize, String)]) -> Result<(), WorkFailure> {
    for (block, expected) in expected {
        let Some(planned) = loaded.plan.blocks.get(*block) else {
            continue;
        };
        if loaded.content(*block).to_string() != *expected {
            let block = planned.spec.name.clone();
            return Err(WorkFailure::Replaced { block });
        }
    }
    Ok(())
}

/// Whoever signals a whole group of processes means the parent, which tells its workers what is to be done.
fn ignore_signals() -> io::Result<()> {
    let reactor = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = reactor.enter();
    for kind in [
        SignalKind::hangup(),
        SignalKind::interrupt(),
        SignalKind::terminate(),
    ] {
        // The handler stays when the stream of signals is dropped.
        drop(signal(kind)?);
    }
    Ok(())
}

/// Hosts that were told and are not looked at yet.
const NEWS_MAX: usize = 16;

/// Writes what a running worker is told of hosts whose keys were replaced: one line.
pub(super) fn news(hosts: &[HostSpec]) -> Arc<[u8]> {
    let mut line = serde_json::to_vec(hosts).expect("hosts have a form in JSON");
    line.push(b'\n');
    line.into()
}

/// Passes on what the parent tells until it tells nothing more. Returns whether it said farewell: an end without is that of a
/// parent that was killed.
fn follow(mut parent: impl BufRead, tell: &SyncSender<Heard>) -> bool {
    loop {
        let mut line = Vec::new();
        let read = parent
            .by_ref()
            .take(ORDERS_BYTES_MAX)
            .read_until(b'\n', &mut line);
        if line == FAREWELL.as_bytes() {
            return true;
        }
        match (read, serde_json::from_slice(&line)) {
            (Ok(0) | Err(_), _) => return false,
            // Whoever should take it is gone, or has more than enough.
            (Ok(_), Ok(hosts)) => drop(tell.try_send(Heard::News(hosts))),
            (Ok(_), Err(error)) => warn!(%error, "what the parent told makes no sense"),
        }
    }
}

/// Takes new keys; what cannot be used changes nothing.
pub(super) fn renew(keys: &Keys, hosts: &[HostSpec]) {
    match keys.renew(hosts) {
        Ok(true) => info!("keys read again"),
        Ok(false) => info!("no host has a key, so there was nothing to read again"),
        Err(error) => error!(%error, "keys stay as they were"),
    }
}

/// How long a worker may take to end in good order.
const LAST_RESORT: Duration = Duration::from_secs(6);

fn report(to: &mut impl Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Snapshot::of(metrics::registry()))?;
    line.push(b'\n');
    to.write_all(&line)?;
    to.flush()
}
