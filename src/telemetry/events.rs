//! Notable events: one struct each, which writes the log line and counts.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::types::{Device, FailureKind, FaultKind, RequestId};

use super::metrics;

/// Something an operator wants to know of.
pub trait Event {
    /// Writes the log line and counts the event.
    fn emit(&self);
}

/// An instance of a block is ready for the first time.
#[derive(Debug, Clone)]
pub struct BlockStarted<'a> {
    pub block: &'a str,
    pub instance: usize,
    pub device: Device,
    /// Making and warming the session.
    pub took: Duration,
}

/// All blocks are prepared.
#[derive(Debug, Clone)]
pub struct WeightsLoaded {
    pub device: Device,
    /// Bytes of the weights of all blocks, those that several use counted once.
    pub bytes: usize,
    /// Bytes of those that several use.
    pub shared_bytes: usize,
}

/// An instance of a block panicked or could not run; it is rebuilt if its budget allows, and stays down otherwise.
#[derive(Debug, Clone)]
pub struct BlockFailed<'a> {
    pub block: &'a str,
    pub instance: usize,
    pub kind: FaultKind,
    pub cause: &'a str,
    /// Failures in the current window, this one included.
    pub attempt: usize,
    /// Wait before it is rebuilt; `None`: its budget is used up.
    pub backoff: Option<Duration>,
}

/// A failed instance runs again.
#[derive(Debug, Clone)]
pub struct BlockRestarted<'a> {
    pub block: &'a str,
    pub instance: usize,
    pub attempt: usize,
    pub took: Duration,
}

/// A run of an instance, or its warming, takes longer than it may. Its pipelines are not ready until it ends.
#[derive(Debug, Clone)]
pub struct BlockStuck<'a> {
    pub block: &'a str,
    pub instance: usize,
    pub cause: &'a str,
}

/// What was stuck has ended.
#[derive(Debug, Clone)]
pub struct BlockBack<'a> {
    pub block: &'a str,
    pub instance: usize,
}

/// Something befell a block that only another process can go on after.
#[derive(Debug, Clone)]
pub struct ProcessFails<'a> {
    pub block: &'a str,
    pub kind: FaultKind,
    pub cause: &'a str,
}

/// A worker process ended without being told to; it is started again if its budget allows, and stays down otherwise.
#[derive(Debug, Clone)]
pub struct ProcessEnded<'a> {
    pub process: &'a str,
    pub kind: FaultKind,
    pub cause: &'a str,
    /// Ends in the current window, this one included.
    pub attempt: usize,
    /// Wait before it is started again; `None`: its budget is used up.
    pub backoff: Option<Duration>,
}

/// A request was not admitted.
#[derive(Debug, Clone)]
pub struct RequestRefused<'a> {
    pub pipeline: &'a str,
    pub kind: FailureKind,
    pub cause: &'a str,
}

/// Intake stopped; requests in flight may finish.
#[derive(Debug, Clone)]
pub struct DrainStarted {
    pub in_flight: usize,
    pub limit: Duration,
}

/// One phase of an end is over.
#[derive(Debug, Clone)]
pub struct ShutdownPhase<'a> {
    pub phase: &'static str,
    pub took: Duration,
    pub limit: Duration,
    /// What did not end within the limit, by name.
    pub stragglers: &'a [String],
}

/// This program takes its own place, for something befell it that only another process can go on after.
#[derive(Debug, Clone)]
pub struct ProcessReplaced<'a> {
    pub cause: &'a str,
    /// How often that has been so lately, this time included.
    pub attempt: usize,
    /// Wait before it is done.
    pub backoff: Duration,
}

/// A request was still unanswered when the drain time was over.
#[derive(Debug, Clone)]
pub struct Straggler<'a> {
    pub pipeline: &'a str,
    pub request: RequestId,
    pub waited: Duration,
}

/// Memory outlived the block that it was held for.
#[derive(Debug, Clone)]
pub struct MemoryLeaked<'a> {
    pub device: Device,
    pub block: &'a str,
    pub bytes: u64,
}

impl Event for BlockStarted<'_> {
    fn emit(&self) {
        let Self {
            block,
            instance,
            device,
            took,
        } = self;
        info!(block, instance, %device, ?took, "block started");
    }
}

impl Event for WeightsLoaded {
    fn emit(&self) {
        let Self {
            device,
            bytes,
            shared_bytes,
        } = self;
        info!(%device, bytes, shared_bytes, "weights loaded");
    }
}

impl Event for BlockFailed<'_> {
    fn emit(&self) {
        let Self {
            block,
            instance,
            kind,
            cause,
            attempt,
            backoff,
        } = self;
        let metrics = metrics::block(block);
        metrics.failures.add(1);
        metrics.fault(*kind);
        let kind = kind.name();
        match backoff {
            Some(backoff) => warn!(
                block,
                instance,
                kind,
                cause,
                attempt,
                ?backoff,
                "block failed, will be rebuilt"
            ),
            None => error!(
                block,
                instance, kind, cause, attempt, "block given up: its restart budget is used up"
            ),
        }
    }
}

impl Event for BlockRestarted<'_> {
    fn emit(&self) {
        let Self {
            block,
            instance,
            attempt,
            took,
        } = self;
        metrics::block(block).restarts.add(1);
        info!(block, instance, attempt, ?took, "block runs again");
    }
}

impl Event for BlockStuck<'_> {
    fn emit(&self) {
        let Self {
            block,
            instance,
            cause,
        } = self;
        metrics::block(block).fault(FaultKind::Hang);
        error!(
            block,
            instance, cause, "block stuck, requests that need it are refused"
        );
    }
}

impl Event for BlockBack<'_> {
    fn emit(&self) {
        let Self { block, instance } = self;
        info!(block, instance, "block is not stuck any more");
    }
}

impl Event for ProcessFails<'_> {
    fn emit(&self) {
        let Self { block, kind, cause } = self;
        error!(
            block,
            kind = kind.name(),
            cause,
            "this process cannot go on, another one has to take its place"
        );
    }
}

impl Event for ProcessEnded<'_> {
    fn emit(&self) {
        let Self {
            process,
            kind,
            cause,
            attempt,
            backoff,
        } = self;
        let kind = kind.name();
        match backoff {
            Some(backoff) => {
                metrics::process(process).restarts.add(1);
                warn!(
                    process,
                    kind,
                    cause,
                    attempt,
                    ?backoff,
                    "process ended, will be started again"
                );
            }
            None => error!(
                process,
                kind, cause, attempt, "process given up: its restart budget is used up"
            ),
        }
    }
}

impl Event for RequestRefused<'_> {
    fn emit(&self) {
        let Self {
            pipeline,
            kind,
            cause,
        } = self;
        metrics::pipeline(pipeline).failed(*kind);
        debug!(pipeline, kind = kind.name(), cause, "request refused");
    }
}

impl Event for DrainStarted {
    fn emit(&self) {
        let Self { in_flight, limit } = self;
        info!(
            in_flight,
            ?limit,
            "intake stopped, waiting for requests in flight"
        );
    }
}

impl Event for ShutdownPhase<'_> {
    fn emit(&self) {
        let Self {
            phase,
            took,
            limit,
            stragglers,
        } = self;
        if stragglers.is_empty() {
            info!(phase, ?took, ?limit, "phase of the end is over");
        } else {
            let stragglers = stragglers.join(", ");
            error!(
                phase,
                ?took,
                ?limit,
                stragglers,
                "phase of the end is over, and not all of it has ended"
            );
        }
    }
}

impl Event for ProcessReplaced<'_> {
    fn emit(&self) {
        let Self {
            cause,
            attempt,
            backoff,
        } = self;
        warn!(
            cause,
            attempt,
            ?backoff,
            "this program starts itself again; who connects meanwhile waits"
        );
    }
}

impl Event for Straggler<'_> {
    fn emit(&self) {
        let Self {
            pipeline,
            request,
            waited,
        } = self;
        metrics::pipeline(pipeline).stragglers.add(1);
        error!(pipeline, %request, ?waited, "request unanswered at the end of the drain time");
    }
}

impl Event for MemoryLeaked<'_> {
    fn emit(&self) {
        let Self {
            device,
            block,
            bytes,
        } = self;
        metrics::device(&device.to_string()).set_leaked(block, *bytes);
        error!(block, %device, bytes, "memory leaks: it is still held for a block that is gone");
    }
}
