//! The gateway actor: stamps, sends, collects, watches deadlines, answers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::stream;
use tracing::{debug, error, warn};

use crate::actors::alarm::{Alarm, Pump, arm};
use crate::actors::links::{self, Instances, Sends, ported, time_left};
use crate::actors::reactor::{Wake, wakes};
use crate::actors::seldom::Seldom;
use crate::actors::supervisor::Supervisor;
use crate::plan::{Plan, PlannedPipeline, Receiver, Site, Travels, Wiring};
use crate::telemetry::metrics::{self, PipelineMetrics};
use crate::telemetry::{Event, Straggler};
use crate::tensormq::{
    Addressed, Body, Context as MqContext, Discarded, Envelope, Inbound, LinkError, Received,
    Window,
};
use crate::types::{Failure, FailureKind, PipelineId, RequestId, StepId, Tensor};

use super::Gateway;
use super::handle::{Purpose, Submission, stopped};
use super::pending::{Open, Pending};

pub(super) const IDENTITY: &str = "gateway";
/// The gateway takes results off its queue at once, so its window only has to cover a burst.
const WINDOW: Window = Window(1024);

/// What the gateway actor is made from.
#[derive(Debug)]
pub(in crate::actors) struct GatewayConfig {
    pub plan: Arc<Plan>,
    pub site: Arc<Site>,
    pub wiring: Arc<Wiring>,
    pub context: MqContext,
    pub handle: Gateway,
    pub supervisor: Addr<Supervisor>,
    /// Told once whether the sockets could be opened.
    pub opened: SyncSender<Result<(), LinkError>>,
}

/// Order to answer every open request with a refusal; returns what was still open.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(in crate::actors) struct Abandon(pub SyncSender<Vec<String>>);

/// All sockets of the gateway.
#[derive(Debug)]
pub(super) struct Links {
    inbound: Inbound,
    /// By block.
    pub(super) blocks: Vec<Instances>,
}

/// The gateway of a node.
#[derive(Debug)]
pub(in crate::actors) struct GatewayActor {
    pub(super) config: GatewayConfig,
    pub(super) links: Option<Links>,
    pub(super) pending: Pending,
    /// By pipeline.
    metrics: Vec<Arc<PipelineMetrics>>,
    /// By pipeline: whether a block of it lives in another process, which can be lost.
    pub(super) leaves_process: Vec<bool>,
    /// By pipeline: whether tensors of it lie in pools of devices, which their producers fill after they have told of them.
    pooled: Vec<bool>,
    /// Streams of edges that took the place of others, by the instance at their end.
    pub(super) watched: HashMap<(usize, usize), SpawnHandle>,
    alarm: Alarm,
    discards: Seldom,
}

impl Links {
    fn open(config: &GatewayConfig) -> Result<Self, LinkError> {
        let GatewayConfig {
            plan,
            site,
            wiring,
            context,
            ..
        } = config;
        let gateway = Receiver::Gateway;
        let endpoints = links::endpoints(plan, site, wiring, gateway, 0);
        let inbound = Inbound::bind(context, &endpoints, WINDOW)?;
        let receivers = (0..plan.blocks.len()).map(Receiver::Block);
        let arena = links::arena(plan, gateway, receivers);
        let encodings = Arc::new(wiring.encodings.clone());
        let connect = |block| {
            let sends = Sends {
                arena: arena.as_ref(),
                encodings: &encodings,
            };
            Instances::connect(
                context,
                plan,
                site,
                [gateway, Receiver::Block(block)],
                IDENTITY,
                sends,
            )
        };
        let blocks = (0..plan.blocks.len())
            .map(connect)
            .collect::<Result<_, _>>()?;
        Ok(Self { inbound, blocks })
    }
}

impl GatewayActor {
    pub(in crate::actors) fn new(config: GatewayConfig) -> Self {
        let pipelines = &config.plan.pipelines;
        let metrics = pipelines
            .iter()
            .map(|pipeline| metrics::pipeline(&pipeline.name))
            .collect();
        let elsewhere = |pipeline: &PlannedPipeline| {
            let mut blocks = pipeline
                .steps
                .iter()
                .map(|step| &config.plan.blocks[step.block]);
            blocks.any(|block| !config.site.has(&block.placement))
        };
        let pooled = |pipeline: &PlannedPipeline| {
            let mut edges = pipeline.edges.iter();
            edges.any(|edge| edge.route.travels == Travels::Pool)
        };
        Self {
            pooled: pipelines.iter().map(pooled).collect(),
            leaves_process: pipelines.iter().map(elsewhere).collect(),
            config,
            links: None,
            pending: Pending::default(),
            metrics,
            watched: HashMap::new(),
            alarm: Alarm::default(),
            discards: Seldom::default(),
        }
    }

    fn open(&mut self, ctx: &mut Context<Self>) -> Result<(), LinkError> {
        self.expect_hosts();
        let links = Links::open(&self.config)?;
        let outbound = links.blocks.iter().flat_map(Instances::edges);
        for edges in outbound.chain([links.inbound.edges()]) {
            ctx.add_stream(wakes(edges?));
        }
        let shared = self.config.handle.shared.clone();
        ctx.add_stream(stream::unfold(shared, |shared| async move {
            shared.wake.notified().await;
            Some((Wake, shared))
        }));
        self.links = Some(links);
        Ok(())
    }

    fn work(&mut self, links: &mut Links) -> Result<(), LinkError> {
        loop {
            let mut progress = self.poll(links)?;
            let shared = self.config.handle.shared.clone();
            while let Some(received) = links.inbound.try_receive()? {
                progress = true;
                match received {
                    Ok(received) => self.collect(links, received)?,
                    Err(discarded) => self.discard(links, &discarded)?,
                }
            }
            while let Some(submission) = shared.submissions.pop() {
                progress = true;
                self.admit(links, submission)?;
            }
            while let Some(id) = shared.cancellations.pop() {
                progress = true;
                let id = self.pending.current(id);
                if let Some(open) = self.pending.remove(id) {
                    self.cancel(links, id, open.pipeline)?;
                    open.fail(Failure::new(FailureKind::Cancelled, "the client went away"));
                }
            }
            for (id, open) in self.pending.expire(Instant::now()) {
                progress = true;
                self.cancel(links, id, open.pipeline)?;
                let allowed = (open.deadline - open.started).as_millis();
                let mut cause = format!("no result within the deadline of {allowed} ms");
                if let Some(obstacle) = shared.obstacle(open.pipeline) {
                    cause = format!("{cause}: {obstacle}");
                }
                open.fail(Failure::new(FailureKind::DeadlineExceeded, cause));
            }
            if !progress {
                return Ok(());
            }
        }
    }

    fn admit(&mut self, links: &mut Links, mut submission: Submission) -> Result<(), LinkError> {
        let (id, pipeline) = (submission.id, submission.pipeline);
        // What may be lost on its way is kept, to be sent again.
        let inputs = if self.leaves_process[pipeline] {
            submission.inputs.clone()
        } else {
            std::mem::take(&mut submission.inputs)
        };
        let outputs = self.config.plan.pipelines[pipeline].signature.outputs.len();
        let metrics = match submission.purpose {
            Purpose::Answer => &self.metrics[pipeline],
            Purpose::Shadow => &metrics::trials().shadows,
        };
        let open = Open::new(submission, outputs, metrics.clone());
        if open.is_abandoned() {
            open.fail(Failure::new(FailureKind::Cancelled, "the client went away"));
            return Ok(());
        }
        let deadline = open.deadline;
        self.pending.insert(id, open);
        self.launch(links, id, pipeline, &inputs, deadline)
    }

    /// Tells whether nothing of a request has been sent yet, so that nothing of it can be lost.
    pub(super) fn is_unsent(&self, links: &Links, id: RequestId, pipeline: usize) -> bool {
        let mut first = self.config.wiring.admitted[pipeline].iter();
        first.all(|delivery| match delivery.to {
            Receiver::Block(block) => links.blocks[block].hold(id),
            Receiver::Gateway => true,
        })
    }

    /// Sends a request to its first steps.
    pub(super) fn launch(
        &self,
        links: &mut Links,
        id: RequestId,
        pipeline: usize,
        inputs: &[Tensor],
        deadline: Instant,
    ) -> Result<(), LinkError> {
        let base = Addressed {
            request: id,
            epoch: self.config.plan.epoch,
            pipeline: PipelineId(u16::try_from(pipeline).unwrap_or(u16::MAX)),
            step: StepId::GATEWAY,
            time_left: time_left(deadline, Instant::now()),
        };
        let wiring = self.config.wiring.clone();
        for delivery in &wiring.admitted[pipeline] {
            // A plan has no edge from an input of a pipeline to an output.
            let Receiver::Block(block) = delivery.to else {
                continue;
            };
            let envelope = Envelope {
                address: Addressed {
                    step: delivery.step,
                    ..base
                },
                body: Body::Tensors(ported(delivery, inputs)),
            };
            links.blocks[block].send(envelope, delivery.joined)?;
        }
        Ok(())
    }

    fn collect(&mut self, links: &mut Links, received: Received) -> Result<(), LinkError> {
        let Received {
            envelope,
            peer,
            lost,
        } = received;
        if lost > 0 {
            error!(lost, "envelopes to the gateway were lost");
        }
        let id = envelope.address.request;
        match envelope.body {
            Body::Tensors(outputs) => {
                links.inbound.release(peer)?;
                let pipeline = usize::from(envelope.address.pipeline.0);
                if self.pooled.get(pipeline) == Some(&true) {
                    // A producer that died before its device had filled a pool was lost before this came.
                    self.poll(links)?;
                }
                self.finish(id, outputs);
            }
            Body::Failure(failure) => {
                if let Some(open) = self.pending.remove(id) {
                    debug!(request = %id, %failure, "request failed");
                    self.cancel(links, id, open.pipeline)?;
                    open.fail(failure);
                }
            }
            Body::Lost(lost) => {
                let to = self.name(usize::from(lost.block));
                self.send_again(
                    links,
                    id,
                    lost.incarnation,
                    &format!("what was sent to {to} may be lost"),
                )?;
            }
            Body::State(state) => self.note(&state),
            Body::Cancel => warn!(request = %id, "unexpected envelope discarded"),
        }
        Ok(())
    }

    /// A message was not believed: the request that it was for, if that is known, is answered so.
    fn discard(&mut self, links: &mut Links, discarded: &Discarded) -> Result<(), LinkError> {
        let error = &discarded.error;
        if let Some(unsaid) = self.discards.due(Instant::now()) {
            warn!(%error, unsaid, "message discarded");
        }
        let open = discarded
            .of
            .and_then(|of| Some((of.request, self.pending.remove(of.request)?)));
        let Some((id, open)) = open else {
            return Ok(());
        };
        self.cancel(links, id, open.pipeline)?;
        let cause = format!("a result could not be read: {error}");
        open.fail(Failure::new(FailureKind::BlockFailed, cause));
        Ok(())
    }

    fn finish(&mut self, id: RequestId, outputs: Vec<(u16, Tensor)>) {
        if let Some(open) = self.pending.add_outputs(id, outputs) {
            open.succeed();
        }
    }

    fn poll(&mut self, links: &mut Links) -> Result<bool, LinkError> {
        let mut progress = false;
        for block in 0..links.blocks.len() {
            let polled = links.blocks[block].poll()?;
            progress |= polled.progress;
            for (instance, lost) in polled.lost {
                self.lose(links, block, instance, &lost)?;
            }
            if polled.progress {
                self.look(links, block);
            }
        }
        Ok(progress)
    }

    /// Without links nothing can be answered any more but with a refusal.
    pub(super) fn fail(&mut self, error: &LinkError) {
        error!(%error, "gateway links failed, refusing all requests");
        let cause = format!("the gateway failed: {error}");
        let failure = Failure::new(FailureKind::Unavailable, cause);
        self.config.handle.shared.end(failure.clone());
        for (_, open) in self.pending.drain() {
            open.fail(failure.clone());
        }
    }

    /// Tells every block of the pipeline to forget a request, and forgets what of it waits here.
    pub(super) fn cancel(
        &mut self,
        links: &mut Links,
        request: RequestId,
        pipeline: usize,
    ) -> Result<(), LinkError> {
        let plan = self.config.plan.clone();
        let blocks: BTreeSet<_> = plan.pipelines[pipeline]
            .steps
            .iter()
            .map(|step| step.block)
            .collect();
        let address = Addressed {
            request,
            epoch: plan.epoch,
            pipeline: PipelineId(u16::try_from(pipeline).unwrap_or(u16::MAX)),
            step: StepId::GATEWAY,
            time_left: Duration::ZERO,
        };
        let envelope = Envelope {
            address,
            body: Body::Cancel,
        };
        for block in blocks {
            links.blocks[block].forget(request);
            links.blocks[block].send_to_all(&envelope)?;
        }
        Ok(())
    }
}

impl Pump for GatewayActor {
    fn alarm(&mut self) -> &mut Alarm {
        &mut self.alarm
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let Some(mut links) = self.links.take() else {
            return;
        };
        match self.work(&mut links) {
            Ok(()) => {
                self.links = Some(links);
                if let Some(deadline) = self.pending.next_deadline() {
                    arm(self, ctx, deadline);
                }
            }
            Err(error) => self.fail(&error),
        }
    }
}

impl Actor for GatewayActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let opened = self.open(ctx);
        // The starter waits on the other end; if it is gone nobody is left to tell.
        let _ = self.config.opened.send(opened);
        self.pump(ctx);
    }
}

impl StreamHandler<Wake> for GatewayActor {
    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.pump(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Drop for GatewayActor {
    fn drop(&mut self) {
        self.config.handle.shared.end(stopped());
    }
}

impl Handler<Abandon> for GatewayActor {
    type Result = ();

    fn handle(&mut self, Abandon(report): Abandon, ctx: &mut Self::Context) {
        // What was admitted and not taken yet is open too.
        self.pump(ctx);
        let now = Instant::now();
        let mut names = Vec::new();
        for (id, open) in self.pending.drain() {
            let pipeline = &self.config.plan.pipelines[open.pipeline].name;
            let waited = now - open.started;
            let straggler = Straggler {
                pipeline,
                request: id,
                waited,
            };
            // Nobody waits for a shadow.
            if open.purpose == Purpose::Answer {
                straggler.emit();
                names.push(format!(
                    "request {id} of pipeline {pipeline:?}, {} ms old",
                    waited.as_millis()
                ));
            }
            if let Some(mut links) = self.links.take() {
                // Blocks that do not run it need not run it now. If that fails, it runs for nobody.
                let _ = self.cancel(&mut links, id, open.pipeline);
                self.links = Some(links);
            }
            open.fail(stopped());
        }
        names.sort();
        // Whoever asked has a bound on its patience and may be gone.
        let _ = report.send(names);
    }
}
