//! Serving a configuration, or the part of it that lives on one host, until a signal asks to stop.
//!
//! Shutdown goes through phases, each bounded: intake stops, requests in flight finish (`server.drain_ms`), actors end
//! and answer what is left with a refusal, responses are written. A second signal skips the waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::begin::{Beginning, First};
use super::control::Listening;
use super::epoch::Epochs;
use super::history::Trigger;
use super::reload::{Lifecycle, Reloads, Source};
use super::watch::watch;
use super::{Part, Runtime, StartError, StopReport};
use crate::engine::Usage;
use crate::plan::Plan;
use crate::serve::{Front as _, HttpOptions, HttpTimeouts, ServeError, bind};
use crate::telemetry::{DrainStarted, Event, metrics};
use crate::types::{Device, Failure};

/// How long responses may take to be written once every request has its answer.
const RESPONSES_WRITTEN: Duration = Duration::from_secs(2);

/// What a server tells once it listens.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// What is served.
    pub plan: Plan,
    /// It is an epoch of before, in place of what is configured.
    pub previous: bool,
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

impl Announcement {
    fn of(first: &First) -> Self {
        Self {
            plan: first.runtime.plan().clone(),
            previous: first.previous,
            http: None,
            weights: first.runtime.weights().clone(),
        }
    }
}

/// Starts the blocks, serves HTTP if the gateway is to be here, calls `announce` once it listens, and returns after SIGINT or
/// SIGTERM and the drain.
///
/// A second signal ends the drain at once. `http` takes the place of the configured address. Meanwhile `source` is read
/// again where somebody asks for it: a SIGHUP, a request, or, where `watching`, a file that has changed.
pub fn serve(
    beginning: Beginning,
    part: Part,
    http: Option<SocketAddr>,
    source: impl Source,
    watching: bool,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let system = actix::System::new();
    // From here on, for it ends a process that does not listen for it, also one that is still loading.
    let hangups = system
        .block_on(async { signal(SignalKind::hangup()) })
        .map_err(ServeFailure::Signals)?;
    // A full file, where a limit says so, is an error and no end.
    let too_large = SignalKind::from_raw(libc::SIGXFSZ);
    system
        .block_on(async { signal(too_large).map(drop) })
        .map_err(ServeFailure::Signals)?;
    let first = beginning.start(&source, &part)?;
    let server = &first.runtime.plan().server;
    let options = HttpOptions {
        address: http.unwrap_or(server.http),
        workers: server.workers,
        body_bytes_max: server.body_bytes_max,
        drain: RESPONSES_WRITTEN,
        metrics: metrics::render,
        timeouts: HttpTimeouts::default(),
    };
    let hosts = first.runtime.has_hosts();
    let announcement = Announcement::of(&first);
    let state = first.journal.place().ok().map(Path::to_owned);
    let lifecycle = Lifecycle::start(first, part, source).map_err(ServeFailure::Thread)?;
    let reloads = lifecycle.reloads().clone();
    let control = state.and_then(|state| {
        let listening = system.block_on(async { Listening::start(&state, reloads.clone()) });
        let path = state.display();
        listening
            .inspect_err(|cause| warn!(%path, %cause, "no commands are taken"))
            .ok()
    });
    system.block_on(async { watch_hangups(hangups, reloads.clone()) });
    if watching && !hosts {
        watch(&lifecycle.files(), reloads.clone()).map_err(ServeFailure::Thread)?;
    }
    let ended = match lifecycle.front() {
        Some(now) => {
            let epochs = Epochs::new(now, reloads, lifecycle.unloaded());
            system.block_on(run(lifecycle, epochs, options, announcement, announce))
        }
        None => system.block_on(run_blocks(lifecycle, announcement, announce)),
    };
    if let Some(control) = control {
        system.block_on(control.stop());
    }
    ended
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
    announcement: Announcement,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    announce(&announcement);
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
    announcement: Announcement,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    let bound = bind(options, epochs.clone())?;
    let stop = bound.stop_handle();
    announce(&Announcement {
        http: Some(bound.address()),
        ..announcement
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
