//! What an instance does with what arrives: it queues, joins, runs, answers.

use std::time::{Duration, Instant};

use tracing::{debug, error, trace, warn};

use crate::actors::failpoint;
use crate::sched::{Decision, Doing};
use crate::tensormq::{Body, Discarded, LinkError, Received};
use crate::types::{Failure, FailureKind, FaultKind, Tensor};

use super::actor::{BlockActor, State};
use super::links::Links;
use super::queue::{Accepted, Job, Waiting};
use super::session::{self, RunError};

/// The newest run counts for one in that many in the expected run time.
const RUN_TIME_SPAN: u32 = 8;

impl BlockActor {
    /// Returns whether a run was made, so that there may be more to do.
    pub(super) fn work(&mut self, links: &mut Links) -> Result<bool, LinkError> {
        if failpoint::is_due("links", &self.name) {
            return Err(LinkError::Socket("a failpoint, as asked for".to_owned()));
        }
        loop {
            let mut progress = links.poll()?;
            while let Some(received) = links.try_receive()? {
                progress = true;
                match received {
                    Ok(received) => self.accept(links, received)?,
                    Err(discarded) => self.discard(links, &discarded)?,
                }
            }
            let now = Instant::now();
            let late = self.queue.expire(now);
            self.hold_for_answers(&late);
            for late in late {
                let cause = "the deadline passed while the request waited for this block";
                self.metrics.envelopes_dropped.add(1);
                self.refuse(links, late, FailureKind::DeadlineExceeded, cause)?;
                progress = true;
            }
            if let State::GivenUp(cause) = &self.state {
                let cause = cause.clone();
                let all = self.queue.batcher.remove(|_| true);
                self.hold_for_answers(&all);
                for waiting in all {
                    progress = true;
                    self.refuse(links, waiting, FailureKind::Unavailable, &cause)?;
                }
            }
            self.current.clear();
            if let State::Serving(_) = self.state
                && let Decision::Run(place) = self.decide(links, now)
            {
                self.launch(links, place)?;
                return Ok(true);
            }
            if !progress {
                return Ok(false);
            }
        }
    }

    /// Has requests be told of if links fail before they are answered.
    fn hold_for_answers(&mut self, waiting: &[Waiting]) {
        let requests = waiting.iter().map(|item| item.content.address.request);
        self.current.extend(requests);
    }

    fn accept(&mut self, links: &mut Links, received: Received) -> Result<(), LinkError> {
        let Received {
            envelope,
            peer,
            lost,
        } = received;
        self.metrics.envelopes_received.add(1);
        if lost > 0 {
            self.metrics.envelopes_dropped.add(lost);
            error!(block = %self.name, lost, "envelopes were lost before this one");
        }
        let request = envelope.address.request;
        match envelope.body {
            Body::Tensors(tensors) => {
                let accepted = self
                    .queue
                    .accept(envelope.address, tensors, peer, Instant::now());
                if accepted == Accepted::Released {
                    links.release(peer)?;
                }
            }
            Body::Cancel => {
                trace!(block = %self.name, %request, "cancelled");
                links.forget(request);
                for waiting in self.queue.cancel(request) {
                    self.metrics.envelopes_dropped.add(1);
                    links.release(waiting.content.peer)?;
                }
            }
            Body::Failure(_) | Body::State(_) | Body::Lost(_) => {
                warn!(block = %self.name, %request, "unexpected envelope discarded");
            }
        }
        Ok(())
    }

    /// A message was not believed: the request that it was for, if that is known, hears of it.
    fn discard(&mut self, links: &mut Links, discarded: &Discarded) -> Result<(), LinkError> {
        let error = &discarded.error;
        if let Some(unsaid) = self.discards.due(Instant::now()) {
            warn!(block = %self.name, %error, unsaid, "message discarded");
        }
        self.metrics.envelopes_dropped.add(1);
        let Some(address) = discarded.of else {
            return Ok(());
        };
        let lost = matches!(error, LinkError::Pool { cause, .. } if cause.loses_device);
        let kind = match lost {
            true => FailureKind::Unavailable,
            false => FailureKind::BlockFailed,
        };
        let cause = format!("a message for this block could not be read: {error}");
        let failure = Failure::in_block(kind, &self.name, cause.clone());
        links.fail(address, failure)?;
        if lost {
            self.lose_session(FaultKind::DeviceLost, cause);
        }
        Ok(())
    }

    fn refuse(
        &self,
        links: &mut Links,
        waiting: Waiting,
        kind: FailureKind,
        cause: &str,
    ) -> Result<(), LinkError> {
        links.release(waiting.content.peer)?;
        links.fail(
            waiting.content.address,
            Failure::in_block(kind, &self.name, cause),
        )
    }

    pub(super) fn decide(&self, links: &Links, now: Instant) -> Decision {
        let eligible = |job: &Job| links.clear_for(job.address);
        self.queue.batcher.decide(now, self.run_time, eligible)
    }

    fn launch(&mut self, links: &mut Links, place: usize) -> Result<(), LinkError> {
        let State::Serving(session) = &mut self.state else {
            return Ok(());
        };
        let eligible = |job: &Job| links.clear_for(job.address);
        let batch = self.queue.batcher.take(place, eligible);
        let signature = &self.config.plan.blocks[self.config.block].signature;
        let started = Instant::now();
        self.current.clear();
        let addresses = batch.iter().map(|item| item.content.address.request);
        self.current.extend(addresses);
        let doing = if std::mem::take(&mut self.fresh) {
            Doing::Warming
        } else {
            Doing::Running
        };
        self.config.progress.begin(doing, started);
        let requests: Vec<&[Tensor]> = batch
            .iter()
            .map(|item| item.content.inputs.as_slice())
            .collect();
        let result = session::run(session.as_mut(), signature, &requests, links.rooms());
        let now = Instant::now();
        self.config.progress.begin(Doing::Idle, now);
        let took = now - started;
        trace!(block = %self.name, requests = batch.len(), ?took, "run");
        // Queued on a device, which is still at it.
        let pending = matches!(&result, Ok(all) if !all.iter().flatten().all(Tensor::is_readable));
        self.metrics.runs.add(1);
        self.metrics
            .batch_rows
            .add(batch.iter().map(|item| item.rows as u64).sum());
        if !pending {
            self.metrics.run_time.observe(took);
        }
        self.metrics.bytes_copied.add(joined_bytes(&batch));
        match result {
            Ok(outputs) if pending => {
                // A device that hangs is waited for where its outputs go to the host: that is seen as a run, too.
                self.config.progress.begin(doing, started);
                self.answer(links, batch, outputs)?;
                let now = Instant::now();
                self.config.progress.begin(Doing::Idle, now);
                let took = now - started;
                self.metrics.run_time.observe(took);
                self.learn(took);
            }
            Ok(outputs) => {
                self.learn(took);
                self.answer(links, batch, outputs)?;
            }
            Err(RunError::Request(cause)) => {
                self.part(links, batch, FailureKind::Invalid, &cause)?
            }
            Err(RunError::Run(cause)) => {
                self.part(links, batch, FailureKind::BlockFailed, &cause)?
            }
            Err(RunError::Block(kind, cause)) => {
                // First: answering may fail too.
                self.lose_session(kind, cause.clone());
                // What was lost with its device would find nothing to run it alone.
                if kind == FaultKind::DeviceLost {
                    for item in batch {
                        self.refuse(links, item, FailureKind::Unavailable, &cause)?;
                    }
                } else {
                    self.part(links, batch, FailureKind::BlockFailed, &cause)?;
                }
            }
        }
        self.current.clear();
        Ok(())
    }

    /// Sends the outputs of each request of a batch.
    fn answer(
        &mut self,
        links: &mut Links,
        batch: Vec<Waiting>,
        outputs: Vec<Vec<Tensor>>,
    ) -> Result<(), LinkError> {
        for (item, outputs) in batch.into_iter().zip(outputs) {
            let Job {
                address,
                inputs,
                peer,
            } = item.content;
            drop(inputs);
            links.release(peer)?;
            let sent = links.deliver(address, &outputs, item.deadline)?;
            self.metrics.envelopes_sent.add(sent);
        }
        if let Some(cause) = links.take_lost() {
            self.lose_session(FaultKind::DeviceLost, cause);
        }
        Ok(())
    }

    /// Learns how long a run takes: until its outputs are computed, or, where all of them stay on a device, until they are
    /// queued there.
    fn learn(&mut self, took: Duration) {
        let known = if self.run_time.is_zero() {
            took
        } else {
            self.run_time
        };
        self.run_time = (known * (RUN_TIME_SPAN - 1) + took) / RUN_TIME_SPAN;
    }

    /// Answers the request of a failed run; of several, each gets a run of its own, so that one bad request costs no
    /// other its answer.
    fn part(
        &mut self,
        links: &mut Links,
        batch: Vec<Waiting>,
        kind: FailureKind,
        cause: &str,
    ) -> Result<(), LinkError> {
        let single = batch.len() == 1;
        for item in batch.into_iter().rev() {
            if single {
                debug!(block = %self.name, request = %item.content.address.request, cause, "request failed");
                self.refuse(links, item, kind, cause)?;
            } else {
                self.queue.retry_alone(item);
            }
        }
        Ok(())
    }
}

/// Returns the bytes that were copied to put a batch together: ports of which the host can read every part. Others are put
/// together on their device, which counts what it is brought.
fn joined_bytes(batch: &[Waiting]) -> u64 {
    let [first, _, ..] = batch else {
        return 0;
    };
    let ports = 0..first.content.inputs.len();
    let port = |port: usize| {
        let parts = batch
            .iter()
            .filter_map(|item| item.content.inputs.get(port));
        let bytes = |tensor: &Tensor| tensor.is_readable().then(|| tensor.byte_count() as u64);
        parts.map(bytes).sum::<Option<u64>>()
    };
    ports.filter_map(port).sum()
}
