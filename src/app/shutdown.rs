//! The end of a server, in phases: intake stops, requests in flight finish, links are cut and threads end, what was held is
//! freed, responses are written.
//!
//! Each phase has a bound of its own and is told of when it is over, with how long it took and who did not make it. A second signal
//! ends the phase that goes on, and a third one the process.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::reload::Lifecycle;
use super::{Runtime, StopReport};
use crate::actors::Gateway;
use crate::serve::StopHandle;
use crate::telemetry::{DrainStarted, Event, ShutdownPhase};

/// How long links, threads and worker processes may take to end, of the epoch of now and of the one before. They have bounds of
/// their own, which are shorter.
const ENDED: Duration = Duration::from_secs(15);
/// How long responses may take to be written once every request has its answer.
pub(super) const RESPONSES_WRITTEN: Duration = Duration::from_secs(2);
/// How long a connection that was accepted just before intake stopped has to say what it wants.
const SETTLED: Duration = Duration::from_millis(100);
/// How the process ends at the third signal, as with requests unanswered.
const FORCED: i32 = 5;

/// Either signal that asks a process to stop.
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    seen: usize,
}

impl StopSignals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            seen: 0,
        })
    }

    /// Tells whether somebody wants the process to end, be it that this is not noticed yet.
    pub(super) fn have_come(&mut self) -> bool {
        self.seen > 0 || self.next().now_or_never().is_some()
    }

    /// Waits for the next signal. Whoever sends a third one wants the process to be gone, and it is.
    pub(super) async fn next(&mut self) -> &'static str {
        let name = tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        };
        self.seen += 1;
        if self.seen > 2 {
            error!(signal = name, "third signal, ending at once");
            std::process::exit(FORCED);
        }
        name
    }
}

/// How the intake stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Intake {
    /// Who connects is told that the server is shutting down.
    Refused,
    /// Who connects waits in the kernel's queue, for whoever has the socket next.
    Held,
}

/// Ends a server whose gateway lives here; returns how that went. The responses are for the caller to have written.
pub(super) async fn end(
    lifecycle: Lifecycle,
    gateway: Gateway,
    http: &StopHandle,
    intake: Intake,
    signals: &mut StopSignals,
) -> StopReport {
    let started = Instant::now();
    // From here on, what is served is not replaced any more.
    let lifecycle = Arc::new(lifecycle);
    let runtime = take(&lifecycle, signals).await;
    let drain = runtime.as_ref().map_or(Duration::ZERO, Runtime::drain);
    // What was served a moment ago may have been replaced since.
    let current = runtime.as_ref().and_then(Runtime::gateway).cloned();
    let gateway = current.unwrap_or(gateway);
    if intake == Intake::Held {
        http.pause();
        phase("intake", SETTLED, signals, tokio::time::sleep(SETTLED)).await;
    }
    gateway.close();
    if intake == Intake::Refused {
        told("intake", started, SETTLED);
    }
    DrainStarted {
        in_flight: gateway.in_flight(),
        limit: drain,
    }
    .emit();
    let idle = {
        let (lifecycle, gateway) = (lifecycle.clone(), gateway.clone());
        in_background(move || {
            let deadline = Instant::now() + drain;
            gateway.wait_idle(drain);
            lifecycle.wait_retired(deadline);
        })
    };
    // It has the same bound by itself, and is what names those that are late.
    let limit = drain + SETTLED;
    phase("in_flight", limit, signals, idle).await;
    stop(lifecycle, runtime, Some(&gateway), signals).await
}

/// Ends blocks that run for a gateway on another host.
pub(super) async fn end_blocks(lifecycle: Lifecycle, signals: &mut StopSignals) -> StopReport {
    let lifecycle = Arc::new(lifecycle);
    let runtime = take(&lifecycle, signals).await;
    stop(lifecycle, runtime, None, signals).await
}

/// Takes what runs, which may have to wait for the moment at which configurations change places.
async fn take(lifecycle: &Arc<Lifecycle>, signals: &mut StopSignals) -> Option<Runtime> {
    let of = lifecycle.clone();
    let mut taken = pin!(in_background(move || of.take()));
    loop {
        tokio::select! {
            taken = &mut taken => return taken.unwrap_or_else(|| lifecycle.take()),
            name = signals.next() => warn!(signal = name, "one moment, configurations change places"),
        }
    }
}

async fn stop(
    lifecycle: Arc<Lifecycle>,
    runtime: Option<Runtime>,
    gateway: Option<&Gateway>,
    signals: &mut StopSignals,
) -> StopReport {
    let open = gateway.map_or(0, Gateway::in_flight);
    let unheard = || StopReport {
        stragglers: (open > 0)
            .then(|| format!("{open} requests, which were not waited for"))
            .into_iter()
            .collect(),
        ..StopReport::default()
    };
    // Waiting is over, so whatever is still open is a straggler.
    let stopped = in_background(move || stop_all(&lifecycle, runtime));
    tokio::select! {
        report = timeout(ENDED, stopped) => match report {
            Ok(report) => report.unwrap_or_default(),
            Err(_) => {
                error!(limit = ?ENDED, "links and threads do not end, going on without them");
                unheard()
            }
        },
        name = signals.next() => {
            warn!(signal = name, "not waiting for links and threads any longer");
            unheard()
        }
    }
}

/// Ends what runs, and what was replaced and runs still.
fn stop_all(lifecycle: &Lifecycle, runtime: Option<Runtime>) -> StopReport {
    let mut report = lifecycle.end_retired();
    if let Some(runtime) = runtime {
        report.join(runtime.stop(Duration::ZERO));
    }
    report
}

/// Waits for responses to be written, which `http` does once it is told to stop.
pub(super) async fn write_responses<E>(
    http: impl Future<Output = Result<(), E>>,
    stop: &StopHandle,
    signals: &mut StopSignals,
) -> Result<(), E> {
    // A connection that was accepted but not looked at would be dropped by a stop.
    stop.pause();
    let stopping = async {
        tokio::time::sleep(SETTLED).await;
        stop.stop(true);
        std::future::pending::<()>().await;
    };
    let written = async {
        tokio::select! {
            ended = http => ended,
            () = stopping => Ok(()),
        }
    };
    let limit = RESPONSES_WRITTEN + 2 * SETTLED + Duration::from_secs(1);
    phase("responses", limit, signals, written)
        .await
        .unwrap_or(Ok(()))
}

/// Runs a phase within its limit and tells of it; `None` where it did not end in time, or a signal has ended it.
async fn phase<T>(
    name: &'static str,
    limit: Duration,
    signals: &mut StopSignals,
    work: impl Future<Output = T>,
) -> Option<T> {
    let started = Instant::now();
    let done = tokio::select! {
        done = timeout(limit, work) => done.ok(),
        signal = signals.next() => {
            warn!(signal, phase = name, "not waiting any longer");
            None
        }
    };
    told(name, started, limit);
    done
}

fn told(phase: &'static str, started: Instant, limit: Duration) {
    ShutdownPhase {
        phase,
        took: started.elapsed(),
        limit,
        stragglers: &[],
    }
    .emit();
}

/// Runs something that blocks on a thread that nobody has to wait for.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("blockflow-stop".into())
        .spawn(move || drop(done.send(work())));
    match spawned {
        Ok(_) => result.await.ok(),
        Err(error) => {
            info!(%error, "no thread to wait on, ending without waiting");
            None
        }
    }
}
