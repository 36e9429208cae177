//! Serving a configuration, or the part of it that lives on one host, until a signal asks to stop.
//!
//! Shutdown goes through phases, each bounded: intake stops, requests in flight finish (`server.drain_ms`), actors end
//! and answer what is left with a refusal, responses are written. A second signal skips the waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::runtime::Keys;
use super::worker::renew;
use super::{Loaded, Part, Runtime, StartError, StopReport};
use crate::actors::Gateway;
use crate::engine::Usage;
use crate::serve::{HttpOptions, HttpTimeouts, ServeError, bind};
use crate::telemetry::{DrainStarted, Event, metrics};
use crate::types::{Device, Failure, HostSpec};

/// How long responses may take to be written once every request has its answer.
const RESPONSES_WRITTEN: Duration = Duration::from_secs(2);

/// What a server tells once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The address that HTTP is served on; with port 0 asked for, the one that was given. `None` where the gateway lives on
    /// another host.
    pub http: Option<SocketAddr>,
    /// What the blocks' weights take on each device.
    pub weights: BTreeMap<Device, Usage>,
}

/// Why serving did not begin, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeFailure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Http(#[from] ServeError),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error("the HTTP server ended by itself")]
    Ended,
    #[error("{0}")]
    Gateway(Failure),
}

/// Either signal that asks a process to stop.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// Starts the blocks, serves HTTP if the gateway is to be here, calls `announce` once it listens, and returns after SIGINT or
/// SIGTERM and the drain.
///
/// A second signal ends the drain at once. `http` takes the place of the configured address. SIGHUP has the secret key of this
/// host be read again, and the public ones of all hosts, which `reread` returns.
pub fn serve(
    loaded: Loaded,
    part: Part,
    http: Option<SocketAddr>,
    reread: impl Fn() -> Result<Vec<HostSpec>, String> + Send + Sync + 'static,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let server = loaded.plan.server.clone();
    let options = HttpOptions {
        address: http.unwrap_or(server.http),
        workers: server.workers,
        body_bytes_max: server.body_bytes_max,
        drain: RESPONSES_WRITTEN,
        metrics: metrics::render,
        timeouts: HttpTimeouts::default(),
    };
    let system = actix::System::new();
    // From here on, for it ends a process that does not listen for it, also one that is still loading.
    let hangups = system
        .block_on(async { signal(SignalKind::hangup()) })
        .map_err(ServeFailure::Signals)?;
    let runtime = Runtime::start(loaded, part)?;
    let keys = runtime.keys().clone();
    system.block_on(async { watch_hangups(hangups, keys, Arc::new(reread)) });
    match runtime.gateway().cloned() {
        Some(gateway) => system.block_on(run(runtime, gateway, options, server.drain, announce)),
        None => system.block_on(run_blocks(runtime, announce)),
    }
}

/// Has keys be read again at each SIGHUP, in the background.
fn watch_hangups<F>(mut hangups: Signal, keys: Keys, reread: Arc<F>)
where
    F: Fn() -> Result<Vec<HostSpec>, String> + Send + Sync + 'static,
{
    actix::spawn(async move {
        while hangups.recv().await.is_some() {
            let (keys, reread) = (keys.clone(), reread.clone());
            let read = move || match reread() {
                Ok(hosts) => renew(&keys, &hosts),
                Err(problems) => error!(problems, "keys stay as they were"),
            };
            // A panic in there has been told, and changes nothing.
            let _ = tokio::task::spawn_blocking(read).await;
        }
    });
}

/// Runs blocks for a gateway on another host.
async fn run_blocks(
    runtime: Runtime,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    announce(&Announcement {
        http: None,
        weights: runtime.weights().clone(),
    });
    let name = signals.next().await;
    info!(signal = name, "stopping");
    let stopped = tokio::task::spawn_blocking(move || runtime.stop(Duration::ZERO));
    Ok(stopped.await.unwrap_or_default())
}

async fn run(
    runtime: Runtime,
    gateway: Gateway,
    options: HttpOptions,
    drain: Duration,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    let bound = bind(options, gateway.clone())?;
    let stop = bound.stop_handle();
    announce(&Announcement {
        http: Some(bound.address()),
        weights: runtime.weights().clone(),
    });
    let http = bound.run();
    tokio::pin!(http);
    let name = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        failure = gateway.closed() => return Err(ServeFailure::Gateway(failure)),
        name = signals.next() => name,
    };
    info!(signal = name, "stopping");
    gateway.close();
    DrainStarted {
        in_flight: gateway.in_flight(),
        limit: drain,
    }
    .emit();
    let idle = tokio::task::spawn_blocking(move || gateway.wait_idle(drain));
    tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        _ = idle => {}
        name = signals.next() => warn!(signal = name, "second signal, not waiting any longer"),
    }
    // Waiting is over, so whatever is still open is a straggler.
    let stopped = tokio::task::spawn_blocking(move || runtime.stop(Duration::ZERO));
    let report = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        report = stopped => report.unwrap_or_default(),
    };
    stop.stop(true);
    http.await?;
    Ok(report)
}

fn ended_early(ended: Result<(), ServeError>) -> ServeFailure {
    ended.map_or_else(ServeFailure::Http, |()| ServeFailure::Ended)
}
