//! Worker processes: started, told, looked at, started again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::actors::NodeError;
use crate::actors::board::BlockState;
use crate::actors::worker::{Assignment, End, Worker};
use crate::sched::{Remedy, Supervision, Ward};
use crate::telemetry::{Event, ProcessEnded};
use crate::types::{FaultKind, RestartSpec, lock};

use super::actor::Supervisor;

/// How long worker processes may take to end when they are told to, all together.
const WORKERS_END: Duration = Duration::from_secs(2);
/// How long a worker may say nothing of its counts, which it does every second, whatever its blocks' bounds.
const SILENCE_MIN: Duration = Duration::from_secs(10);

/// Order to tell every worker a line, now or when it is started again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Tell(pub Arc<[u8]>);

/// Worker processes that did not end when they were asked to. Shared with whoever asks how a stop went.
#[derive(Debug, Clone, Default)]
pub(in crate::actors) struct Laggards(Arc<Mutex<Vec<String>>>);

impl Laggards {
    pub(in crate::actors) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }

    fn add(&self, name: String) {
        lock(&self.0).push(name);
    }
}

/// A worker process has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ended {
    /// Index into the assignments.
    worker: usize,
    end: End,
}

impl Supervisor {
    pub(super) fn start_worker(&mut self, worker: usize, ctx: &mut Context<Self>) {
        let Some(mut assignment) = self.workers.assignments.get(worker).cloned() else {
            return;
        };
        if let Some(told) = &self.told {
            assignment.line = [told, &*assignment.line].concat().into();
        }
        let supervisor = ctx.address();
        let ended = move |end| supervisor.do_send(Ended { worker, end });
        match Worker::start(&self.workers.command, &assignment, ended) {
            Ok(running) => {
                self.running.insert(worker, running);
            }
            Err(error) => {
                let process = &assignment.process;
                let end = End {
                    kind: FaultKind::Exited,
                    cause: format!("process {process:?} could not be started: {error}"),
                };
                ctx.notify(Ended { worker, end });
            }
        }
    }

    /// Ends workers that have not said anything for too long; they are started again as any other that was killed.
    pub(super) fn look_at_workers(&mut self, now: Instant) {
        let plan = &self.plan;
        for (&index, worker) in &mut self.running {
            let Some(assignment) = self.workers.assignments.get(index) else {
                continue;
            };
            if !worker.has_spoken() {
                // It loads, which has no bound in any process, and watches its own warming.
                continue;
            }
            let blocks = assignment.blocks.iter();
            let bounds = blocks.map(|&block| plan.blocks[block].spec.stuck.run);
            // One that may take as long as it likes speaks for all of them.
            let bounds = bounds.collect::<Option<Vec<_>>>();
            let bound = bounds.and_then(|bounds| bounds.into_iter().max());
            if let Some(bound) = bound.map(|bound| bound.max(SILENCE_MIN))
                && worker.silence(now) > bound
            {
                worker.kill_silent(bound);
            }
        }
    }

    /// Ends all workers, those that do not end by themselves in time by force.
    pub(super) fn end_workers(&mut self) {
        self.running.values_mut().for_each(Worker::close);
        let deadline = Instant::now() + WORKERS_END;
        for (index, worker) in self.running.drain() {
            if !worker.end(deadline)
                && let Some(assignment) = self.workers.assignments.get(index)
            {
                self.laggards
                    .add(format!("process {}, which was killed", assignment.process));
            }
        }
    }

    /// Writes the same state for every instance of every block of a worker.
    fn note_worker(&self, assignment: &Assignment, state: &BlockState) {
        for &block in &assignment.blocks {
            for instance in 0..self.plan.blocks[block].spec.instances {
                self.board.set(block, instance, state.clone());
            }
        }
    }

    /// Returns the policy of a worker: that of the block with the smallest budget.
    fn worker_restart(&self, assignment: &Assignment) -> Option<RestartSpec> {
        let blocks = assignment.blocks.iter();
        let specs = blocks.map(|&block| self.plan.blocks[block].spec.restart);
        specs.min_by_key(|spec| spec.budget)
    }
}

impl Handler<Tell> for Supervisor {
    type Result = ();

    fn handle(&mut self, Tell(line): Tell, _: &mut Self::Context) {
        for worker in self.running.values_mut() {
            worker.tell(line.clone());
        }
        self.told = Some(line);
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();

    fn handle(&mut self, Ended { worker, end }: Ended, ctx: &mut Self::Context) {
        let End { kind, cause } = end;
        self.running.remove(&worker);
        let Some(assignment) = self.workers.assignments.get(worker).cloned() else {
            return;
        };
        let Some(restart) = self.worker_restart(&assignment) else {
            return;
        };
        let process = &assignment.process;
        if self.started.is_some() {
            self.tell_started(Err(NodeError::Worker(cause)));
            return;
        }
        let now = Instant::now();
        let jitter = self.jitter(now);
        let supervision = self.worker_supervisions.entry(worker);
        let supervision = supervision.or_insert_with(|| Supervision::new(Ward::Process, restart));
        let Some(remedy) = supervision.on_fault(kind, now, jitter) else {
            return;
        };
        let attempt = supervision.attempts();
        for &block in &assignment.blocks {
            self.metrics[block].fault(kind);
        }
        let backoff = match remedy {
            Remedy::Restart(backoff) => Some(backoff),
            _ => None,
        };
        ProcessEnded {
            process,
            kind,
            cause: &cause,
            attempt,
            backoff,
        }
        .emit();
        if let Some(backoff) = backoff {
            self.note_worker(&assignment, &BlockState::Restarting { cause });
            ctx.run_later(backoff, move |supervisor, ctx| {
                supervisor.start_worker(worker, ctx);
            });
            return;
        }
        let cause = format!("given up after {} restarts: {cause}", restart.budget);
        let state = BlockState::GivenUp {
            cause: cause.clone(),
        };
        self.note_worker(&assignment, &state);
        self.refuse(assignment.blocks, cause);
    }
}
