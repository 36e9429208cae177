//! Serving a configuration, or the part of it that lives on one host, until a signal asks to stop.
//!
//! Shutdown goes through phases, each bounded: intake stops, requests in flight finish (`server.drain_ms`), actors end
//! and answer what is left with a refusal, responses are written. A second signal skips the waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::epoch::Epochs;
use super::reload::{Lifecycle, Reloads, Source, Trigger};
use super::runtime::Known;
use super::watch::watch;
use super::{Loaded, Part, Runtime, StartError, StopReport};
use crate::engine::Usage;
use crate::serve::{Front as _, HttpOptions, HttpTimeouts, ServeError, bind};
use crate::telemetry::{DrainStarted, Event, metrics};
use crate::types::{Device, Failure};

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
    #[error("cannot start thread: {0}")]
    Thread(io::Error),
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
/// A second signal ends the drain at once. `http` takes the place of the configured address. Meanwhile `source` is read
/// again where somebody asks for it: a SIGHUP, a request, or, where `watching`, a file that has changed.
pub fn serve(
    loaded: Loaded,
    part: Part,
    http: Option<SocketAddr>,
    source: impl Source,
    watching: bool,
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
    let runtime = Runtime::start_knowing(loaded, part.clone(), Some(&Known::new()))?;
    let hosts = runtime.has_hosts();
    let weights = runtime.weights().clone();
    let lifecycle = Lifecycle::start(runtime, part, source).map_err(ServeFailure::Thread)?;
    let reloads = lifecycle.reloads().clone();
    system.block_on(async { watch_hangups(hangups, reloads.clone()) });
    if watching && !hosts {
        watch(&lifecycle.files(), reloads.clone()).map_err(ServeFailure::Thread)?;
    }
    match lifecycle.front() {
        Some(now) => {
            let epochs = Epochs::new(now, reloads);
            system.block_on(run(lifecycle, epochs, options, weights, announce))
        }
        None => system.block_on(run_blocks(lifecycle, weights, announce)),
    }
}

/// Asks for a reload at each SIGHUP, in the background.
fn watch_hangups(mut hangups: Signal, reloads: Reloads) {
    actix::spawn(async move {
        while hangups.recv().await.is_some() {
            reloads.ask(Trigger::Hangup);
        }
    });
}

/// Runs blocks for a gateway on another host.
async fn run_blocks(
    lifecycle: Lifecycle,
    weights: BTreeMap<Device, Usage>,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    announce(&Announcement {
        http: None,
        weights,
    });
    let name = signals.next().await;
    info!(signal = name, "stopping");
    let stop = move || stop_all(&lifecycle, lifecycle.take());
    let stopped = tokio::task::spawn_blocking(stop);
    Ok(stopped.await.unwrap_or_default())
}

async fn run(
    lifecycle: Lifecycle,
    epochs: Epochs,
    options: HttpOptions,
    weights: BTreeMap<Device, Usage>,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    let bound = bind(options, epochs.clone())?;
    let stop = bound.stop_handle();
    announce(&Announcement {
        http: Some(bound.address()),
        weights,
    });
    let http = bound.run();
    tokio::pin!(http);
    let name = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        failure = epochs.closed() => return Err(ServeFailure::Gateway(failure)),
        name = signals.next() => name,
    };
    info!(signal = name, "stopping");
    // From here on, what is served is not replaced any more.
    let runtime = lifecycle.take();
    let gateway = epochs.current().gateway.clone();
    let drain = runtime.as_ref().map_or(Duration::ZERO, Runtime::drain);
    gateway.close();
    DrainStarted {
        in_flight: gateway.in_flight(),
        limit: drain,
    }
    .emit();
    let lifecycle = Arc::new(lifecycle);
    let idle = {
        let lifecycle = lifecycle.clone();
        tokio::task::spawn_blocking(move || {
            let deadline = Instant::now() + drain;
            gateway.wait_idle(drain);
            lifecycle.wait_retired(deadline);
        })
    };
    tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        _ = idle => {}
        name = signals.next() => warn!(signal = name, "second signal, not waiting any longer"),
    }
    // Waiting is over, so whatever is still open is a straggler.
    let stopped = tokio::task::spawn_blocking(move || stop_all(&lifecycle, runtime));
    let report = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        report = stopped => report.unwrap_or_default(),
    };
    stop.stop(true);
    http.await?;
    Ok(report)
}

/// Ends what runs, and what was replaced and runs still.
fn stop_all(lifecycle: &Lifecycle, runtime: Option<Runtime>) -> StopReport {
    let mut report = lifecycle.end_retired();
    let last = runtime.map_or_else(StopReport::default, |runtime| runtime.stop(Duration::ZERO));
    report.stragglers.extend(last.stragglers);
    report.threads_ended &= last.threads_ended;
    report
}

fn ended_early(ended: Result<(), ServeError>) -> ServeFailure {
    ended.map_or_else(ServeFailure::Http, |()| ServeFailure::Ended)
}
