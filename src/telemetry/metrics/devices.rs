//! Memory of devices.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::Gauge;
use super::text::Page;
use crate::types::lock;

/// Counts of one device.
#[derive(Debug, Default)]
pub struct DeviceMetrics {
    /// Bytes of the weights of all blocks, those that several use counted once.
    pub weight_bytes: Gauge,
    /// Bytes that sessions hold for inputs and outputs.
    pub workspace_bytes: Gauge,
    /// Bytes that this process may hold; 0: the configuration names no bound.
    pub limit_bytes: Gauge,
    /// Bytes by block that outlived what they were held for.
    leaked: Mutex<BTreeMap<String, u64>>,
}

/// Gauges of a device that are the sum over processes.
pub(super) const DEVICE_GAUGES: usize = 2;

impl DeviceMetrics {
    pub(super) fn gauges(&self) -> [&Gauge; DEVICE_GAUGES] {
        [&self.weight_bytes, &self.workspace_bytes]
    }

    /// Takes down what a block leaks; 0: nothing any more.
    pub fn set_leaked(&self, block: &str, bytes: u64) {
        let mut leaked = lock(&self.leaked);
        if bytes == 0 {
            leaked.remove(block);
        } else {
            leaked.insert(block.to_owned(), bytes);
        }
    }

    /// Returns what each block leaks.
    pub fn leaked(&self) -> BTreeMap<String, u64> {
        lock(&self.leaked).clone()
    }
}

pub(super) fn render(page: &mut Page, devices: &BTreeMap<String, Arc<DeviceMetrics>>) {
    let help = "Bytes held, by what for; weights that several blocks use are counted once.";
    page.family("blockflow_device_memory_bytes", "gauge", help);
    for (device, metrics) in devices {
        let kinds = ["weights", "workspace"];
        for (kind, gauge) in kinds.into_iter().zip(metrics.gauges()) {
            page.sample(&[("device", device), ("kind", kind)], gauge.get());
        }
    }
    let help = "Bytes that may be held, where the configuration says so.";
    page.family("blockflow_device_memory_limit_bytes", "gauge", help);
    for (device, metrics) in devices {
        let limit = metrics.limit_bytes.get();
        if limit > 0 {
            page.sample(&[("device", device)], limit);
        }
    }
    let help = "Bytes that outlived the block they were held for.";
    page.family("blockflow_device_leaked_bytes", "gauge", help);
    for (device, metrics) in devices {
        for (block, bytes) in metrics.leaked() {
            page.sample(&[("device", device), ("block", &block)], bytes);
        }
    }
}
