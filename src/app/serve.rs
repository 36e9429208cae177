//! Serving a configuration until a signal asks to stop.
//!
//! Shutdown goes through phases, each bounded: intake stops, requests in flight finish (`server.drain_ms`), actors end
//! and answer what is left with a refusal, responses are written. A second signal skips the waiting.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::{Loaded, Runtime, StartError, StopReport};
use crate::engine::Usage;
use crate::serve::{HttpOptions, HttpTimeouts, ServeError, bind};
use crate::telemetry::{DrainStarted, Event, metrics};
use crate::types::{Device, Failure};

/// How long responses may take to be written once every request has its answer.
const RESPONSES_WRITTEN: Duration = Duration::from_secs(2);

/// What a server tells once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The address that HTTP is served on; with port 0 asked for, the one that was given.
    pub http: SocketAddr,
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

/// Starts the blocks, serves HTTP, calls `announce` once it listens, and returns after SIGINT or SIGTERM and the drain.
///
/// A second signal ends the drain at once. `http` takes the place of the configured address.
pub fn serve(
    loaded: Loaded,
    http: Option<SocketAddr>,
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
    let runtime = Runtime::start(loaded)?;
    actix::System::new().block_on(run(runtime, options, server.drain, announce))
}

async fn run(
    runtime: Runtime,
    options: HttpOptions,
    drain: Duration,
    announce: impl FnOnce(&Announcement),
) -> Result<StopReport, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    let bound = bind(options, runtime.gateway().clone())?;
    let stop = bound.stop_handle();
    let gateway = runtime.gateway().clone();
    announce(&Announcement {
        http: bound.address(),
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
