//! What the gateway does when a process or host is lost: it sends again what may have been lost, or says why not.

use actix::prelude::*;
use tracing::{debug, warn};

use crate::actors::alarm::Pump;
use crate::actors::board::BlockState;
use crate::actors::reactor::wakes;
use crate::actors::supervisor::{BoardChanged, Reconnect};
use crate::tensormq::{self, Condition, Edges, LinkError, LinkState, LostPeer};
use crate::types::{Failure, FailureKind, RequestId};

use super::actor::{GatewayActor, GatewayConfig, IDENTITY, Links};

/// These blocks take no requests, for now or for good: order to answer every open request that needs one of them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Unusable {
    pub blocks: Vec<usize>,
    pub cause: String,
}

impl GatewayActor {
    /// A block's process or host was lost, or the way there: requests that may have been there are sent again.
    pub(super) fn lose(
        &mut self,
        links: &mut Links,
        block: usize,
        instance: usize,
        lost: &LostPeer,
    ) -> Result<(), LinkError> {
        let GatewayConfig {
            plan, site, handle, ..
        } = &self.config;
        let board = handle.board();
        let name = self.name(block);
        let cause = format!("{name} was lost: {}", lost.cause);
        let cause_there = &lost.cause;
        if handle.shared.closed().is_some() {
            debug!(block = %plan.blocks[block].spec.name, instance, cause = cause_there, "block gone");
        } else {
            warn!(block = %plan.blocks[block].spec.name, instance, cause = cause_there, "block lost");
        }
        let host = &plan.blocks[block].placement.host;
        if *host != site.host {
            let cause = format!("host {host:?} was lost: {cause_there}");
            board.lose_sight(block, instance, cause);
        } else {
            // The supervisor starts the processes of this host again, unless it has given them up.
            let cause = cause.clone();
            board.set_unless_given_up(block, instance, BlockState::Restarting { cause });
        }
        for (id, pipeline) in self.pending.users(&plan.clone(), block) {
            if self.is_unsent(links, id, pipeline) {
                continue;
            }
            self.send_again(links, id, lost.incarnation, &cause)?;
        }
        Ok(())
    }

    /// Connects anew to a block of this process that has opened its sockets anew, and sends again, or answers, what it has not
    /// read. Returns the edges to watch from now on.
    fn reconnect(
        &mut self,
        links: &mut Links,
        order: &Reconnect,
    ) -> Result<Option<Edges>, LinkError> {
        let Some(instances) = links.blocks.get_mut(order.block) else {
            return Ok(None);
        };
        let context = self.config.context.clone();
        let read = order.read.get(IDENTITY).copied();
        let lost = instances.reopen(&context, order.instance, read)?;
        let edges = instances.edges_of(order.instance)?;
        let cause = format!("the links of {} failed", self.name(order.block));
        for request in lost {
            self.send_again(links, request, context.party().incarnation, &cause)?;
        }
        Ok(edges)
    }

    /// Notes that the blocks of other hosts cannot be reached yet.
    pub(super) fn expect_hosts(&self) {
        let plan = &self.config.plan;
        for (block, planned) in plan.blocks.iter().enumerate() {
            let host = &planned.placement.host;
            if *host == self.config.site.host {
                continue;
            }
            for instance in 0..planned.spec.instances {
                let cause = format!("host {host:?} has not answered yet");
                self.config
                    .handle
                    .board()
                    .reach(block, instance, Some(cause));
            }
        }
    }

    /// Notes whether the host of a block can be reached, if that is another one.
    pub(super) fn look(&self, links: &Links, block: usize) {
        let host = &self.config.plan.blocks[block].placement.host;
        if *host == self.config.site.host {
            return;
        }
        for (instance, state) in links.blocks[block].states().enumerate() {
            let unreachable = match state {
                LinkState::Up { .. } => None,
                LinkState::Refused { reason } => {
                    Some(format!("host {host:?} does not let this one in: {reason}"))
                }
                // As long as that lasts, what was noted before is why.
                LinkState::Connecting | LinkState::Greeted => continue,
            };
            self.config
                .handle
                .board()
                .reach(block, instance, unreachable);
        }
    }

    /// Withdraws a request from every block and sends it again under another id; answers it if that was done before.
    pub(super) fn send_again(
        &mut self,
        links: &mut Links,
        id: RequestId,
        incarnation: u64,
        cause: &str,
    ) -> Result<(), LinkError> {
        let Some(mut open) = self.pending.remove(id) else {
            return Ok(());
        };
        self.cancel(links, id, open.pipeline)?;
        if !self.leaves_process[open.pipeline] {
            // Its inputs were not kept: within a process nothing is lost but where sockets fail.
            open.fail(Failure::new(FailureKind::Unavailable, cause));
            return Ok(());
        }
        let own = self.config.context.party().incarnation;
        let steps = self.config.plan.pipelines[open.pipeline].steps.len();
        if !open.send_again(incarnation, incarnation == own, steps) {
            let cause = format!("{cause}; the request had been sent again once already");
            open.fail(Failure::new(FailureKind::Unavailable, cause));
            return Ok(());
        }
        let (pipeline, deadline) = (open.pipeline, open.deadline);
        let inputs = open.inputs.clone();
        let again = self.config.handle.shared.next_id();
        debug!(request = %id, %again, cause, "request sent again");
        self.pending.rename(again, open);
        self.launch(links, again, pipeline, &inputs, deadline)
    }

    /// Writes on the board what a block of another process says of itself.
    pub(super) fn note(&self, told: &tensormq::BlockState) {
        let state = match told.condition {
            Condition::Serving => BlockState::Serving,
            Condition::Restarting => BlockState::Restarting {
                cause: told.cause.clone(),
            },
            Condition::GivenUp => BlockState::GivenUp {
                cause: told.cause.clone(),
            },
        };
        let GatewayConfig {
            plan, site, handle, ..
        } = &self.config;
        let (block, instance) = (usize::from(told.block), usize::from(told.instance));
        let here = plan
            .blocks
            .get(block)
            .is_some_and(|block| block.placement.host == site.host);
        if here {
            // The last words of a process that was given up meanwhile.
            handle.board().set_unless_given_up(block, instance, state);
        } else {
            handle.board().set(block, instance, state);
        }
        self.config.supervisor.do_send(BoardChanged);
    }

    pub(super) fn name(&self, block: usize) -> String {
        let plan = &self.config.plan;
        plan.blocks.get(block).map_or_else(
            || "the gateway".to_owned(),
            |block| format!("block {:?}", block.spec.name),
        )
    }
}

impl Handler<Reconnect> for GatewayActor {
    type Result = ();

    fn handle(&mut self, order: Reconnect, ctx: &mut Self::Context) {
        let Some(mut links) = self.links.take() else {
            return;
        };
        match self.reconnect(&mut links, &order) {
            Ok(edges) => {
                if let Some(edges) = edges {
                    let place = (order.block, order.instance);
                    let stale = self.watched.insert(place, ctx.add_stream(wakes(edges)));
                    if let Some(stale) = stale {
                        ctx.cancel_future(stale);
                    }
                }
                self.links = Some(links);
                self.pump(ctx);
            }
            Err(error) => self.fail(&error),
        }
    }
}

impl Handler<Unusable> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Unusable { blocks, cause }: Unusable, ctx: &mut Self::Context) {
        // What was admitted and not taken yet is open too.
        self.pump(ctx);
        let Some(mut links) = self.links.take() else {
            return;
        };
        let plan = self.config.plan.clone();
        for block in blocks {
            let name = &plan.blocks[block].spec.name;
            for (id, _) in self.pending.users(&plan, block) {
                let Some(open) = self.pending.remove(id) else {
                    continue;
                };
                // Blocks that cannot be told run it for nobody.
                let _ = self.cancel(&mut links, id, open.pipeline);
                open.fail(Failure::in_block(
                    FailureKind::Unavailable,
                    name,
                    cause.as_str(),
                ));
            }
        }
        self.links = Some(links);
    }
}
