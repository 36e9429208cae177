//! Counts of other processes of this program, added to those of this one.
//!
//! A worker writes a [`Snapshot`] of its counts now and then. Whoever started it holds a [`Share`] of it and adds what
//! changed since the last one, so that counters go on growing when a worker is started again, and a gauge is the sum over
//! the processes that live.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cells::BOUNDS;
use super::devices::DEVICE_GAUGES;
use super::registry::{BLOCK_COUNTERS, BLOCK_GAUGES};
use super::{BlockMetrics, Gauge, Registry};

/// Counts of one process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    blocks: BTreeMap<String, BlockCounts>,
    /// Bytes by device, for each of its gauges.
    devices: BTreeMap<String, [i64; DEVICE_GAUGES]>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct BlockCounts {
    counters: [u64; BLOCK_COUNTERS],
    gauges: [i64; BLOCK_GAUGES],
    run_time: [u64; BOUNDS.len() + 1],
    run_time_ns: u64,
}

/// What one process has added to the counts of this one.
#[derive(Debug)]
pub struct Share {
    blocks: Vec<String>,
    /// Of those blocks. Kept, so that what is no longer shown does not come back.
    metrics: BTreeMap<String, Arc<BlockMetrics>>,
    added: Snapshot,
}

impl Snapshot {
    /// Returns the counts of `registry` as they are now.
    pub fn of(registry: &Registry) -> Self {
        let blocks = registry.blocks().into_iter().map(|(name, metrics)| {
            let counts = BlockCounts {
                counters: metrics.counters().map(|counter| counter.get()),
                gauges: metrics.gauges().map(|gauge| gauge.get()),
                run_time: metrics.run_time.snapshot(),
                run_time_ns: metrics.run_time.sum_ns(),
            };
            (name, counts)
        });
        let devices = registry.devices().into_iter();
        Self {
            blocks: blocks.collect(),
            devices: devices
                .map(|(name, metrics)| (name, metrics.gauges().map(Gauge::get)))
                .collect(),
        }
    }
}

impl Share {
    /// Returns the share of a process that runs these blocks; what it says of others is ignored.
    pub fn new(blocks: Vec<String>) -> Self {
        Self {
            blocks,
            metrics: BTreeMap::new(),
            added: Snapshot::default(),
        }
    }

    /// Adds to `registry` what changed since the last snapshot of the same process.
    pub fn add(&mut self, registry: &Registry, snapshot: Snapshot) {
        for name in &self.blocks {
            let Some(now) = snapshot.blocks.get(name) else {
                continue;
            };
            let before = self.added.blocks.get(name).cloned().unwrap_or_default();
            let metrics = self.metrics.entry(name.clone());
            let metrics = metrics.or_insert_with(|| registry.block(name));
            for (place, counter) in metrics.counters().into_iter().enumerate() {
                counter.add(now.counters[place].saturating_sub(before.counters[place]));
            }
            for (place, gauge) in metrics.gauges().into_iter().enumerate() {
                gauge.add(now.gauges[place].wrapping_sub(before.gauges[place]));
            }
            let mut runs = now.run_time;
            for (count, before) in runs.iter_mut().zip(before.run_time) {
                *count = count.saturating_sub(before);
            }
            let time = now.run_time_ns.saturating_sub(before.run_time_ns);
            metrics.run_time.add(&runs, time);
        }
        for (name, now) in &snapshot.devices {
            let before = self.added.devices.get(name).copied().unwrap_or_default();
            let metrics = registry.device(name);
            for (place, gauge) in metrics.gauges().into_iter().enumerate() {
                gauge.add(now[place].wrapping_sub(before[place]));
            }
        }
        self.added = snapshot;
    }

    /// Takes back what the process had of gauges: it has ended. Its counters stay.
    pub fn end(&mut self, registry: &Registry) {
        for (name, metrics) in &self.metrics {
            if let Some(counts) = self.added.blocks.get(name) {
                for (gauge, value) in metrics.gauges().into_iter().zip(counts.gauges) {
                    gauge.sub(value);
                }
            }
        }
        for (name, bytes) in &self.added.devices {
            let metrics = registry.device(name);
            for (gauge, value) in metrics.gauges().into_iter().zip(bytes) {
                gauge.sub(*value);
            }
        }
        self.added = Snapshot::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn share() -> Share {
        Share::new(vec!["a".to_owned()])
    }

    #[test]
    fn counters_outlive_a_process_and_gauges_do_not() {
        let (own, worker) = (Registry::default(), Registry::default());
        own.block("a").runs.add(1);
        worker.block("a").runs.add(5);
        worker.block("a").queued.add(3);
        worker
            .block("a")
            .run_time
            .observe(Duration::from_micros(70));
        worker.device("cpu").weight_bytes.set(100);
        let mut share = share();
        share.add(&own, Snapshot::of(&worker));
        worker.block("a").runs.add(2);
        worker.block("a").queued.sub(1);
        share.add(&own, Snapshot::of(&worker));
        assert_eq!(own.block("a").runs.get(), 8);
        assert_eq!(own.block("a").queued.get(), 2);
        assert_eq!(own.block("a").run_time.count(), 1);
        assert_eq!(own.block("a").run_time.sum(), Duration::from_micros(70));
        assert_eq!(own.device("cpu").weight_bytes.get(), 100);
        share.end(&own);
        assert_eq!(own.block("a").runs.get(), 8);
        assert_eq!(own.block("a").queued.get(), 0);
        assert_eq!(own.device("cpu").weight_bytes.get(), 0);
        // Its successor counts from zero.
        let successor = Registry::default();
        successor.block("a").runs.add(4);
        share.add(&own, Snapshot::of(&successor));
        assert_eq!(own.block("a").runs.get(), 12);
    }

    #[test]
    fn blocks_of_other_processes_are_ignored() {
        let (own, worker) = (Registry::default(), Registry::default());
        worker.block("b").runs.add(5);
        share().add(&own, Snapshot::of(&worker));
        assert!(!own.render().contains("\"b\""));
    }

    #[test]
    fn a_snapshot_is_read_as_it_was_written() {
        let worker = Registry::default();
        worker.block("a").runs.add(5);
        worker.device("cpu").weight_bytes.set(7);
        let snapshot = Snapshot::of(&worker);
        let text = serde_json::to_string(&snapshot).expect("JSON");
        let read: Snapshot = serde_json::from_str(&text).expect("a snapshot");
        assert_eq!(read, snapshot);
    }
}
