//! All metrics of a process, by block, by pipeline and by device.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use crate::types::{FailureKind, FaultKind};

use super::devices::{self, DeviceMetrics};
use super::text::Page;
use super::{Counter, EdgeLabels, Gauge, Histogram, LifecycleMetrics, Names, TrialMetrics};

/// Counts of one block, its instances together.
#[derive(Debug, Default)]
pub struct BlockMetrics {
    pub envelopes_received: Counter,
    pub envelopes_sent: Counter,
    /// Past their deadline, cancelled, or lost on the way.
    pub envelopes_dropped: Counter,
    pub runs: Counter,
    /// Rows of all runs; divided by the runs it is the mean batch.
    pub batch_rows: Counter,
    pub run_time: Histogram,
    pub failures: Counter,
    pub restarts: Counter,
    /// By kind, in the order of [`FaultKind::ALL`].
    faults: [Counter; FaultKind::ALL.len()],
    /// Payload bytes that were copied on their way in or out.
    pub bytes_copied: Counter,
    /// Payload bytes that went to other processes, in frames or in shared memory. Handles are none.
    pub bytes_sent: Counter,
    /// Bytes of those frames: fewer than of the payloads in them where these were encoded.
    pub bytes_framed: Counter,
    /// Payload bytes that went to other processes in memory of a device.
    pub bytes_pooled: Counter,
    /// Tensors that went through the host though a pool of their device leads there: one that is not there, or was too small.
    pub pool_fallbacks: Counter,
    /// Instances that run; set by whoever supervises them.
    pub instances_up: Gauge,
    /// Envelopes that wait for a run.
    pub queued: Gauge,
    /// Bytes of the weights that it uses, also of those that other blocks use.
    pub weight_bytes: Gauge,
}

/// Counters of a block, in the order of [`BlockMetrics::counters`].
pub(super) const BLOCK_COUNTERS: usize = PLAIN_COUNTERS + FaultKind::ALL.len();
/// Those of them that have a family of their own.
const PLAIN_COUNTERS: usize = 12;
/// Gauges of a block, in the order of [`BlockMetrics::gauges`].
pub(super) const BLOCK_GAUGES: usize = 3;

/// Counts of one worker process.
#[derive(Debug, Default)]
pub struct ProcessMetrics {
    /// 1 while it runs.
    pub up: Gauge,
    /// How often it was started again.
    pub restarts: Counter,
}

/// Counts of all links of a process.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    /// Connections that were refused because no host of the configuration has their key.
    pub strangers: Counter,
}

/// Counts of one pipeline.
#[derive(Debug, Default)]
pub struct PipelineMetrics {
    succeeded: Counter,
    failed: [Counter; FailureKind::ALL.len()],
    /// From admission to reply, of requests that succeeded.
    pub latency: Histogram,
    /// Requests admitted and not yet answered.
    pub in_flight: Gauge,
    pub stragglers: Counter,
}

/// Metrics by name. A process has one; a test makes its own.
#[derive(Debug, Default)]
pub struct Registry {
    blocks: RwLock<Named<BlockMetrics>>,
    pipelines: RwLock<Named<PipelineMetrics>>,
    devices: RwLock<Named<DeviceMetrics>>,
    processes: RwLock<Named<ProcessMetrics>>,
    edges: RwLock<BTreeSet<EdgeLabels>>,
    links: LinkMetrics,
    lifecycle: LifecycleMetrics,
    trials: TrialMetrics,
}

type Named<T> = BTreeMap<String, Arc<T>>;

/// Of a block, by the end of its name, in the order of [`BlockMetrics::counters`].
const COUNTERS: [(&str, &str); PLAIN_COUNTERS] = [
    ("envelopes_received", "Envelopes received."),
    ("envelopes_sent", "Envelopes sent."),
    ("envelopes_dropped", "Envelopes dropped or lost."),
    ("runs", "Runs, each of one batch."),
    ("batch_rows", "Rows of all runs."),
    ("failures", "Sessions and sockets that failed."),
    ("restarts", "Instances that were rebuilt."),
    ("bytes_copied", "Payload bytes copied on the way."),
    ("bytes_sent", "Payload bytes that went to other processes."),
    (
        "bytes_framed",
        "Bytes that payloads took in messages, as encoded.",
    ),
    (
        "bytes_pooled",
        "Payload bytes that went to other processes in memory of a device.",
    ),
    (
        "pool_fallbacks",
        "Tensors of a device that went to another process through the host for want of a pool.",
    ),
];

/// Likewise, in the order of [`BlockMetrics::gauges`].
const GAUGES: [(&str, &str); BLOCK_GAUGES] = [
    ("instances_up", "Instances that run."),
    ("queued", "Envelopes that wait for a run."),
    ("weight_bytes", "Bytes of the weights that a block uses."),
];

static PROCESS: LazyLock<Registry> = LazyLock::new(Registry::default);

/// Returns the process's metrics of a block. To be called once and kept.
pub fn block(name: &str) -> Arc<BlockMetrics> {
    PROCESS.block(name)
}

/// Returns the process's metrics of a pipeline. To be called once and kept.
pub fn pipeline(name: &str) -> Arc<PipelineMetrics> {
    PROCESS.pipeline(name)
}

/// Returns the process's metrics of a device. To be called once and kept.
pub fn device(name: &str) -> Arc<DeviceMetrics> {
    PROCESS.device(name)
}

/// Returns the process's metrics of a worker. To be called once and kept.
pub fn process(name: &str) -> Arc<ProcessMetrics> {
    PROCESS.process(name)
}

/// Returns the process's metrics of links.
pub fn links() -> &'static LinkMetrics {
    &PROCESS.links
}

/// Returns the process's metrics of configurations.
pub fn lifecycle() -> &'static LifecycleMetrics {
    &PROCESS.lifecycle
}

/// Returns the process's metrics of configurations that are tried.
pub fn trials() -> &'static TrialMetrics {
    &PROCESS.trials
}

/// Returns all metrics of the process.
pub fn registry() -> &'static Registry {
    &PROCESS
}

/// Writes all metrics of the process in the Prometheus text format.
pub fn render() -> String {
    PROCESS.render()
}

impl BlockMetrics {
    /// Counts a fault of the block, or of the process that it lives in.
    pub fn fault(&self, kind: FaultKind) {
        self.faults[kind as usize].add(1);
    }

    /// Returns the faults by kind.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = FaultKind::ALL.iter().zip(&self.faults);
        kinds.map(|(kind, count)| (kind.name(), count.get()))
    }

    pub(super) fn counters(&self) -> [&Counter; BLOCK_COUNTERS] {
        let [panic, error, links, hang, device_lost, killed, exited] = &self.faults;
        [
            &self.envelopes_received,
            &self.envelopes_sent,
            &self.envelopes_dropped,
            &self.runs,
            &self.batch_rows,
            &self.failures,
            &self.restarts,
            &self.bytes_copied,
            &self.bytes_sent,
            &self.bytes_framed,
            &self.bytes_pooled,
            &self.pool_fallbacks,
            panic,
            error,
            links,
            hang,
            device_lost,
            killed,
            exited,
        ]
    }

    pub(super) fn gauges(&self) -> [&Gauge; BLOCK_GAUGES] {
        [&self.instances_up, &self.queued, &self.weight_bytes]
    }
}

impl PipelineMetrics {
    /// Counts a request that got its result.
    pub fn succeeded(&self, latency: Duration) {
        self.succeeded.add(1);
        self.latency.observe(latency);
    }

    /// Counts an admitted request that got an error.
    pub fn failed(&self, kind: FailureKind) {
        self.failed[kind as usize].add(1);
    }

    /// Returns the requests by outcome.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let failed = FailureKind::ALL.iter().zip(&self.failed);
        std::iter::once(("ok", self.succeeded.get()))
            .chain(failed.map(|(kind, count)| (kind.name(), count.get())))
    }
}

impl Registry {
    pub fn block(&self, name: &str) -> Arc<BlockMetrics> {
        find(&self.blocks, name)
    }

    pub fn pipeline(&self, name: &str) -> Arc<PipelineMetrics> {
        find(&self.pipelines, name)
    }

    pub fn device(&self, name: &str) -> Arc<DeviceMetrics> {
        find(&self.devices, name)
    }

    pub fn process(&self, name: &str) -> Arc<ProcessMetrics> {
        find(&self.processes, name)
    }

    /// Takes down how every edge goes.
    pub fn set_edges(&self, labels: BTreeSet<EdgeLabels>) {
        *self.edges.write().unwrap_or_else(PoisonError::into_inner) = labels;
    }

    /// Shows what has these names from now on, and nothing else.
    pub fn keep_only(&self, names: &Names) {
        retain(&self.blocks, &names.blocks);
        retain(&self.pipelines, &names.pipelines);
        retain(&self.processes, &names.processes);
    }

    pub(super) fn blocks(&self) -> Named<BlockMetrics> {
        all(&self.blocks)
    }

    pub(super) fn devices(&self) -> Named<DeviceMetrics> {
        all(&self.devices)
    }

    pub fn render(&self) -> String {
        let mut page = Page::default();
        self.render_pipelines(&mut page);
        self.render_blocks(&mut page);
        devices::render(&mut page, &self.devices());
        self.render_processes(&mut page);
        self.render_edges(&mut page);
        self.render_links(&mut page);
        self.lifecycle.render(&mut page);
        self.trials.render(&mut page);
        page.into_text()
    }

    fn render_pipelines(&self, page: &mut Page) {
        let pipelines = self
            .pipelines
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        page.family(
            "blockflow_requests_total",
            "counter",
            "Requests by pipeline and outcome.",
        );
        for (name, metrics) in pipelines.iter() {
            for (outcome, count) in metrics.outcomes() {
                page.sample(&[("pipeline", name), ("outcome", outcome)], count);
            }
        }
        page.family(
            "blockflow_requests_in_flight",
            "gauge",
            "Requests admitted, not answered.",
        );
        for (name, metrics) in pipelines.iter() {
            page.sample(&[("pipeline", name)], metrics.in_flight.get());
        }
        let help = "Requests unanswered at the end of a drain.";
        page.family("blockflow_stragglers_total", "counter", help);
        for (name, metrics) in pipelines.iter() {
            page.sample(&[("pipeline", name)], metrics.stragglers.get());
        }
        let help = "Time from admission to result.";
        page.family("blockflow_request_seconds", "histogram", help);
        for (name, metrics) in pipelines.iter() {
            page.histogram(("pipeline", name), &metrics.latency);
        }
    }

    fn render_blocks(&self, page: &mut Page) {
        let blocks = self.blocks.read().unwrap_or_else(PoisonError::into_inner);
        for (place, (name, help)) in COUNTERS.into_iter().enumerate() {
            page.family(&format!("blockflow_block_{name}_total"), "counter", help);
            for (block, metrics) in blocks.iter() {
                page.sample(&[("block", block)], metrics.counters()[place].get());
            }
        }
        let help = "Faults of blocks and of the processes they live in, by kind.";
        page.family("blockflow_block_faults_total", "counter", help);
        for (block, metrics) in blocks.iter() {
            for (kind, count) in metrics.faults() {
                page.sample(&[("block", block), ("kind", kind)], count);
            }
        }
        for (place, (name, help)) in GAUGES.into_iter().enumerate() {
            page.family(&format!("blockflow_block_{name}"), "gauge", help);
            for (block, metrics) in blocks.iter() {
                page.sample(&[("block", block)], metrics.gauges()[place].get());
            }
        }
        page.family(
            "blockflow_block_run_seconds",
            "histogram",
            "Time of one run.",
        );
        for (block, metrics) in blocks.iter() {
            page.histogram(("block", block), &metrics.run_time);
        }
    }

    fn render_edges(&self, page: &mut Page) {
        let edges = self.edges.read().unwrap_or_else(PoisonError::into_inner);
        let help = "Edges of pipelines and what carries them.";
        page.family("blockflow_edge_info", "gauge", help);
        for edge in edges.iter() {
            let labels = [
                ("pipeline", edge.pipeline.as_str()),
                ("from", &edge.from),
                ("to", &edge.to),
                ("carrier", &edge.carrier),
                ("travels", &edge.travels),
                ("encoding", &edge.encoding),
            ];
            page.sample(&labels, 1);
        }
    }

    /// Says nothing where no connection was ever refused, as where there are no other hosts.
    fn render_links(&self, page: &mut Page) {
        let strangers = self.links.strangers.get();
        if strangers > 0 {
            let help = "Connections refused for want of a known key.";
            page.single(
                "blockflow_strangers_refused_total",
                "counter",
                help,
                strangers,
            );
        }
    }

    fn render_processes(&self, page: &mut Page) {
        let processes = all(&self.processes);
        if processes.is_empty() {
            return;
        }
        page.family(
            "blockflow_process_up",
            "gauge",
            "Worker processes that run.",
        );
        for (process, metrics) in &processes {
            page.sample(&[("process", process)], metrics.up.get());
        }
        let help = "Worker processes that were started again.";
        page.family("blockflow_process_restarts_total", "counter", help);
        for (process, metrics) in &processes {
            page.sample(&[("process", process)], metrics.restarts.get());
        }
    }
}

fn all<T>(named: &RwLock<Named<T>>) -> Named<T> {
    named.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn retain<T>(named: &RwLock<Named<T>>, names: &[String]) {
    let mut named = named.write().unwrap_or_else(PoisonError::into_inner);
    named.retain(|name, _| names.contains(name));
}

fn find<T: Default>(all: &RwLock<Named<T>>, name: &str) -> Arc<T> {
    if let Some(known) = all.read().unwrap_or_else(PoisonError::into_inner).get(name) {
        return known.clone();
    }
    let mut all = all.write().unwrap_or_else(PoisonError::into_inner);
    all.entry(name.to_owned()).or_default().clone()
}
