//! Carrying out what is decided about the faults of instances.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use crate::actors::NodeError;
use crate::actors::block::{GiveUp, Rebuild, Reopen};
use crate::actors::board::BlockState;
use crate::actors::distress::Call;
use crate::sched::{Remedy, Supervision, Ward};
use crate::telemetry::{BlockFailed, Event, ProcessFails};
use crate::types::FaultKind;

use super::actor::{Instance, Supervisor};

/// A block instance failed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Fault {
    pub block: usize,
    pub instance: usize,
    pub kind: FaultKind,
    pub cause: String,
}

/// A block instance has opened its sockets anew.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Reopened {
    pub block: usize,
    pub instance: usize,
    /// How far it had read the envelopes of each producer, by name: the sequence number that comes next.
    pub read: Arc<HashMap<String, u64>>,
}

/// Order to connect anew to an instance of this process, as far as anything is sent there.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Reconnect {
    pub block: usize,
    pub instance: usize,
    pub read: Arc<HashMap<String, u64>>,
}

impl Supervisor {
    fn supervision(&mut self, place: (usize, usize)) -> &mut Supervision {
        let (ward, spec) = (self.ward(), self.plan.blocks[place.0].spec.restart);
        let supervision = self.supervisions.entry(place);
        supervision.or_insert_with(|| Supervision::new(ward, spec))
    }

    /// Decides about a fault; `None` where nothing is done any more.
    pub(super) fn decide(
        &mut self,
        place: (usize, usize),
        kind: FaultKind,
    ) -> Option<(Remedy, usize)> {
        let now = Instant::now();
        let jitter = self.jitter(now);
        let supervision = self.supervision(place);
        let remedy = supervision.on_fault(kind, now, jitter)?;
        Some((remedy, supervision.attempts()))
    }

    fn mend(&mut self, fault: Fault, ctx: &mut Context<Self>) {
        let place = (fault.block, fault.instance);
        let Some((remedy, attempt)) = self.decide(place, fault.kind) else {
            return;
        };
        match remedy {
            Remedy::Rebuild(wait) => self.mend_later(fault, attempt, wait, ctx, |instance| {
                instance.actor.do_send(Rebuild);
            }),
            Remedy::Reopen(wait) => self.mend_later(fault, attempt, wait, ctx, |instance| {
                instance.actor.do_send(Reopen);
            }),
            Remedy::GiveUp => self.give_up(&fault, attempt),
            Remedy::Replace => self.replace(&fault),
            // Decided of processes and of what is stuck, which are looked after elsewhere.
            Remedy::Restart(_) | Remedy::Await => {}
        }
    }

    fn mend_later(
        &mut self,
        fault: Fault,
        attempt: usize,
        wait: Duration,
        ctx: &mut Context<Self>,
        order: impl FnOnce(&Instance) + 'static,
    ) {
        self.tell_failed(&fault, attempt, Some(wait));
        let place = (fault.block, fault.instance);
        let state = BlockState::Restarting {
            cause: fault.cause.clone(),
        };
        self.note(fault.block, fault.instance, state);
        ctx.run_later(wait, move |supervisor, _| {
            let found = supervisor.blocks.get(&place);
            match found.filter(|instance| instance.actor.connected()) {
                Some(instance) => order(instance),
                // The actor itself is gone, with its queue: nobody is there to be mended.
                None => supervisor.give_up(&fault, attempt),
            }
        });
    }

    fn tell_failed(&self, fault: &Fault, attempt: usize, backoff: Option<Duration>) {
        BlockFailed {
            block: self.name(fault.block),
            instance: fault.instance,
            kind: fault.kind,
            cause: &fault.cause,
            attempt,
            backoff,
        }
        .emit();
    }

    fn give_up(&mut self, fault: &Fault, attempt: usize) {
        self.tell_failed(fault, attempt, None);
        let budget = self.plan.blocks[fault.block].spec.restart.budget;
        let cause = format!("given up after {budget} rebuilds: {}", fault.cause);
        self.bar(fault.block, fault.instance, cause.clone());
        if fault.kind == FaultKind::Links {
            // Without sockets it cannot refuse what waits.
            self.refuse(vec![fault.block], cause);
        }
    }

    /// Has an instance refuse everything from now on.
    fn bar(&mut self, block: usize, instance: usize, cause: String) {
        self.supervision((block, instance)).end();
        let state = BlockState::GivenUp {
            cause: cause.clone(),
        };
        self.note(block, instance, state);
        if let Some(Instance { actor, .. }) = self.blocks.get(&(block, instance)) {
            actor.do_send(GiveUp { cause });
        }
    }

    /// This process cannot go on: whoever owns it hears of it, and what needs the blocks that are lost is answered meanwhile.
    pub(super) fn replace(&mut self, fault: &Fault) {
        let Fault {
            block, kind, cause, ..
        } = fault;
        let spec = &self.plan.blocks[*block].spec;
        let (name, restart, device) = (spec.name.clone(), spec.restart, spec.device);
        ProcessFails {
            block: &name,
            kind: *kind,
            cause,
        }
        .emit();
        if self.ward() == Ward::Main && *kind != FaultKind::Hang {
            // That it was stuck is counted, and what a worker ends of by its parent.
            self.metrics[*block].fault(*kind);
        }
        // A worker ends at once, and what it had is sent again.
        if *kind == FaultKind::DeviceLost && self.ward() == Ward::Main {
            let cause = format!("stopped, for its process has to be started anew: {cause}");
            let on_device =
                |(block, _): &(usize, usize)| self.plan.blocks[*block].placement.device == device;
            let lost: Vec<_> = self.blocks.keys().copied().filter(on_device).collect();
            for &(block, instance) in &lost {
                self.bar(block, instance, cause.clone());
            }
            self.refuse(lost.iter().map(|(block, _)| *block).collect(), cause);
        }
        self.distress.call(Call {
            kind: *kind,
            block: name,
            cause: cause.clone(),
            restart,
        });
    }
}

impl Handler<Fault> for Supervisor {
    type Result = ();

    fn handle(&mut self, fault: Fault, ctx: &mut Self::Context) {
        if self.started.is_some() {
            let (block, cause) = (self.name(fault.block).to_owned(), fault.cause);
            self.tell_started(Err(NodeError::Block { block, cause }));
            return;
        }
        self.mend(fault, ctx);
    }
}

impl Handler<Reopened> for Supervisor {
    type Result = ();

    fn handle(&mut self, reopened: Reopened, _: &mut Self::Context) {
        let Reopened {
            block,
            instance,
            read,
        } = reopened;
        let order = Reconnect {
            block,
            instance,
            read,
        };
        for other in self.blocks.values() {
            other.actor.do_send(order.clone());
        }
        if let Some(gateway) = &self.gateway {
            gateway.do_send(order);
        }
    }
}
