//! Sends requests at their moments and records how each one ended.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::cli::histogram::Histogram;

use super::arrivals::Arrivals;
use super::target::{Fault, Target};

/// Arrivals that wait for the sender.
const BACKLOG_MAX: usize = 1024;

/// What to send, and for how long.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) arrivals: Arrivals,
    /// Time whose requests are sent and not counted.
    pub(super) warmup: Duration,
    /// Time that counts.
    pub(super) duration: Option<Duration>,
    /// Requests that count.
    pub(super) requests: Option<u64>,
    /// Bound of requests under way in an open loop; later ones wait, and their waiting counts.
    pub(super) in_flight_max: usize,
    pub(super) seed: u64,
}

/// How requests ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Of successful requests, in µs, from the moment they were meant to be sent.
    pub(super) latency: Histogram,
    /// How late requests were sent, in µs: what the generator and the bound in flight added to their latency.
    pub(super) lateness: Histogram,
    /// Count and first cause by kind.
    pub(super) errors: BTreeMap<String, (u64, String)>,
    /// From the end of the warm-up to the last reply.
    pub(super) elapsed: Duration,
}

#[derive(Debug)]
struct Sample {
    intended: Instant,
    sent: Instant,
    done: Instant,
    result: Result<(), Fault>,
}

/// Decides which requests are sent and which count.
#[derive(Debug)]
struct Gate {
    counted_from: Instant,
    until: Option<Instant>,
    left: Option<u64>,
}

impl Gate {
    fn new(load: &Load, begin: Instant) -> Self {
        let counted_from = begin + load.warmup;
        Self {
            counted_from,
            until: load.duration.map(|duration| counted_from + duration),
            left: load.requests,
        }
    }

    /// Tells whether the request of this moment is to be sent.
    fn admits(&mut self, at: Instant) -> bool {
        if self.until.is_some_and(|until| at >= until) {
            return false;
        }
        match &mut self.left {
            Some(0) => false,
            Some(left) => {
                *left -= u64::from(at >= self.counted_from);
                true
            }
            None => true,
        }
    }
}

impl Outcome {
    fn new() -> Self {
        Self {
            latency: Histogram::new(),
            lateness: Histogram::new(),
            errors: BTreeMap::new(),
            elapsed: Duration::ZERO,
        }
    }

    fn record(&mut self, sample: Sample, counted_from: Instant) {
        if sample.intended < counted_from {
            return;
        }
        self.elapsed = self.elapsed.max(sample.done - counted_from);
        self.lateness.record_duration(sample.sent - sample.intended);
        match sample.result {
            Ok(()) => self.latency.record_duration(sample.done - sample.intended),
            Err(Fault { kind, cause }) => self.errors.entry(kind).or_insert((0, cause)).0 += 1,
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().map(|(count, _)| count).sum()
    }
}

pub(super) async fn drive(target: &Target, load: &Load) -> Outcome {
    match load.arrivals {
        Arrivals::Closed { concurrency } => closed(target, load, concurrency).await,
        Arrivals::Constant { .. } | Arrivals::Poisson { .. } => open(target, load).await,
    }
}

async fn closed(target: &Target, load: &Load, concurrency: usize) -> Outcome {
    let begin = Instant::now();
    let (mut gate, mut outcome) = (Gate::new(load, begin), Outcome::new());
    let mut in_flight = FuturesUnordered::new();
    for _ in 0..concurrency {
        if gate.admits(begin) {
            in_flight.push(exchange(target, begin));
        }
    }
    while let Some(sample) = in_flight.next().await {
        outcome.record(sample, gate.counted_from);
        let now = Instant::now();
        if gate.admits(now) {
            in_flight.push(exchange(target, now));
        }
    }
    outcome
}

async fn open(target: &Target, load: &Load) -> Outcome {
    let begin = Instant::now();
    let counted_from = begin + load.warmup;
    let mut outcome = Outcome::new();
    let (arrive, mut arrived) = mpsc::channel(BACKLOG_MAX);
    let (stay, stop) = std::sync::mpsc::channel::<()>();
    let (offsets, gate) = (load.arrivals.offsets(load.seed), Gate::new(load, begin));
    thread::spawn(move || pace(begin, offsets, gate, &arrive, &stop));
    let mut in_flight = FuturesUnordered::new();
    let mut arriving = true;
    loop {
        tokio::select! {
            intended = arrived.recv(), if arriving && in_flight.len() < load.in_flight_max => match intended {
                Some(intended) => in_flight.push(exchange(target, intended)),
                None => arriving = false,
            },
            Some(sample) = in_flight.next(), if !in_flight.is_empty() => outcome.record(sample, counted_from),
            else => break,
        }
    }
    // Ends the pacing thread where it still waits.
    drop(stay);
    outcome
}

/// Gives each moment when it has come. A thread of its own, because timers of an event loop are a millisecond coarse.
fn pace(
    begin: Instant,
    offsets: impl Iterator<Item = Duration>,
    mut gate: Gate,
    arrive: &mpsc::Sender<Instant>,
    stop: &Receiver<()>,
) {
    for offset in offsets {
        let at = begin + offset;
        if !gate.admits(at) {
            return;
        }
        let wait = at.saturating_duration_since(Instant::now());
        let stopped = !wait.is_zero() && stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
        if stopped || arrive.blocking_send(at).is_err() {
            return;
        }
    }
}

async fn exchange(target: &Target, intended: Instant) -> Sample {
    let sent = Instant::now();
    let result = target.send().await;
    Sample {
        intended,
        sent,
        done: Instant::now(),
        result,
    }
}
