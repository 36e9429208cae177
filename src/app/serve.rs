//! Serving a configuration, or the part of it that lives on one host, until a signal asks to stop, or something happens that only
//! another process can go on after.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::begin::{Beginning, First};
use super::control::Listening;
use super::epoch::Epochs;
use super::history::Trigger;
use super::inheritance::{Inheritance, distress};
use super::reload::{Lifecycle, Reloads, Source};
use super::shutdown::{self, Intake, RESPONSES_WRITTEN, StopSignals};
use super::watch::watch;
use super::{Part, StartError, StopReport};
use crate::actors::Call;
use crate::engine::Usage;
use crate::plan::Plan;
use crate::serve::{Front as _, HttpOptions, HttpTimeouts, ServeError, listen};
use crate::telemetry::metrics;
use crate::types::{Device, Failure};

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

/// How serving ended.
#[derive(Debug)]
pub enum Served {
    /// A signal asked for it.
    Stopped(StopReport),
    /// Another process has to take the place of this one, which holds nothing any more but what that inherits.
    Replace(Inheritance),
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
    /// What befell it would have the program start itself again, which it has done too often.
    #[error("{0}")]
    TooOften(String),
}

/// Why serving is to end.
enum End {
    Signal(&'static str),
    /// Another process has to go on.
    Replace,
    TooOften(String),
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
/// SIGTERM and the phases of the end, or when another process has to take the place of this one.
///
/// `http` takes the place of the configured address, and a listener that is inherited the place of both. Meanwhile `source` is read
/// again where somebody asks for it: a SIGHUP, a request, or, where `watching`, a file that has changed.
pub fn serve(
    beginning: Beginning,
    part: Part,
    http: Option<SocketAddr>,
    inheritance: Inheritance,
    source: impl Source,
    watching: bool,
    announce: impl FnOnce(&Announcement),
) -> Result<Served, ServeFailure> {
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
    let replaced = inheritance.replaced_ms.len() as u64;
    metrics::lifecycle().replaced.add(replaced);
    let (distress, calls) = distress();
    let part = Part { distress, ..part };
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
    let seen = first.seen.clone();
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
        watch(&lifecycle.files(), seen, reloads.clone()).map_err(ServeFailure::Thread)?;
    }
    let causes = Causes { calls, inheritance };
    let ended = match lifecycle.front() {
        Some(now) => {
            let epochs = Epochs::new(now, reloads, lifecycle.unloaded());
            system.block_on(run(
                lifecycle,
                epochs,
                options,
                causes,
                announcement,
                announce,
            ))
        }
        None => system.block_on(run_blocks(lifecycle, causes, announcement, announce)),
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

/// What ends a server besides what goes wrong.
struct Causes {
    calls: mpsc::Receiver<Call>,
    inheritance: Inheritance,
}

impl Causes {
    /// Waits for a signal, or for a call and the pause after it.
    async fn next(&mut self, signals: &mut StopSignals) -> End {
        let call = tokio::select! {
            name = signals.next() => return End::Signal(name),
            Some(call) = self.calls.recv() => call,
        };
        match self.inheritance.answer(&call) {
            Ok(backoff) => tokio::select! {
                name = signals.next() => End::Signal(name),
                () = tokio::time::sleep(backoff) => End::Replace,
            },
            Err(often) => End::TooOften(often),
        }
    }
}

impl End {
    fn tell(&self) {
        match self {
            Self::Signal(name) => info!(signal = name, "stopping"),
            Self::Replace => info!("ending for another process to take this one's place"),
            Self::TooOften(_) => warn!("stopping, as this process cannot go on"),
        }
    }

    /// A process that is asked to end is not followed by another.
    fn or_stop(self, signals: &mut StopSignals) -> Self {
        match self {
            Self::Replace if signals.have_come() => Self::Signal("before another process began"),
            end => end,
        }
    }

    fn into_result(
        self,
        report: StopReport,
        inheritance: Inheritance,
    ) -> Result<Served, ServeFailure> {
        match self {
            Self::Signal(_) => Ok(Served::Stopped(report)),
            Self::Replace => Ok(Served::Replace(inheritance)),
            Self::TooOften(cause) => Err(ServeFailure::TooOften(cause)),
        }
    }
}

/// Runs blocks for a gateway on another host.
async fn run_blocks(
    lifecycle: Lifecycle,
    mut causes: Causes,
    announcement: Announcement,
    announce: impl FnOnce(&Announcement),
) -> Result<Served, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    announce(&announcement);
    let end = causes.next(&mut signals).await;
    end.tell();
    let report = shutdown::end_blocks(lifecycle, &mut signals).await;
    end.or_stop(&mut signals)
        .into_result(report, causes.inheritance)
}

async fn run(
    lifecycle: Lifecycle,
    epochs: Epochs,
    options: HttpOptions,
    mut causes: Causes,
    announcement: Announcement,
    announce: impl FnOnce(&Announcement),
) -> Result<Served, ServeFailure> {
    let mut signals = StopSignals::new().map_err(ServeFailure::Signals)?;
    let address = options.address;
    let failed = |cause| ServeError::Bind { address, cause };
    let listener = match causes.inheritance.listener.take() {
        Some(listener) => listener,
        None => TcpListener::bind(address).map_err(failed)?,
    };
    // Who connects while this process ends can wait for the next one, if there is one.
    let kept = listener.try_clone().map_err(failed)?;
    let bound = listen(listener, options, epochs.clone())?;
    let stop = bound.stop_handle();
    announce(&Announcement {
        http: Some(bound.address()),
        ..announcement
    });
    let http = bound.run();
    tokio::pin!(http);
    let end = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        failure = epochs.closed() => return Err(ServeFailure::Gateway(failure)),
        end = causes.next(&mut signals) => end,
    };
    end.tell();
    let intake = if let End::Replace = end {
        causes.inheritance.listener = Some(kept);
        Intake::Held
    } else {
        drop(kept);
        Intake::Refused
    };
    let gateway = epochs.current().gateway.clone();
    let report = tokio::select! {
        ended = &mut http => return Err(ended_early(ended)),
        report = shutdown::end(lifecycle, gateway, &stop, intake, &mut signals) => report,
    };
    shutdown::write_responses(http, &stop, &mut signals).await?;
    end.or_stop(&mut signals)
        .into_result(report, causes.inheritance)
}

fn ended_early(ended: Result<(), ServeError>) -> ServeFailure {
    ended.map_or_else(ServeFailure::Http, |()| ServeFailure::Ended)
}
