//! The ledger of each device.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::engine::sim::SimDevice;
use crate::telemetry::metrics::{self, DeviceMetrics};
use crate::types::{Device, DeviceSpec, lock};

use super::charge::{Charge, Lease};

/// What memory is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryKind {
    Weights,
    /// Inputs and outputs of sessions.
    Workspace,
}

/// How much is held on one device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    pub weights: u64,
    pub workspace: u64,
    pub limit: Option<u64>,
}

/// A block that has memory on a device, for as long as it or a session of it lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// No two have the same.
    pub id: u64,
    pub block: String,
    /// Bytes of the weights that it uses, also of those that others use.
    pub weights: u64,
    /// Bytes that only it has besides.
    pub workspace: u64,
}

/// A device has less memory left than was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OutOfMemory {
    pub device: Device,
    pub wanted: u64,
    pub held: u64,
    /// `None`: the configuration names none, but the device gives no more.
    pub limit: Option<u64>,
}

/// The account of one device.
pub struct Ledger {
    device: Device,
    state: Mutex<State>,
    metrics: Arc<DeviceMetrics>,
}

#[derive(Debug, Default)]
struct State {
    memory: Memory,
    tenants: BTreeMap<u64, Tenant>,
    /// The id of the next tenant.
    next: u64,
}

static LEDGERS: Mutex<BTreeMap<Device, Arc<Ledger>>> = Mutex::new(BTreeMap::new());

/// Has devices be as a configuration says from now on; what it says nothing of is not bounded.
pub fn set_devices(specs: &[DeviceSpec]) {
    for spec in specs {
        Ledger::of(spec.device);
    }
    for ledger in Ledger::all() {
        ledger.set_limit(DeviceSpec::of(specs, ledger.device).memory_bytes);
    }
    SimDevice::set_all(specs);
}

impl Ledger {
    /// Returns the ledger of a device.
    pub fn of(device: Device) -> Arc<Self> {
        let make = || {
            Arc::new(Self {
                device,
                state: Mutex::default(),
                metrics: metrics::device(&device.to_string()),
            })
        };
        lock(&LEDGERS).entry(device).or_insert_with(make).clone()
    }

    /// Returns the ledgers of all devices that something was asked of.
    pub fn all() -> Vec<Arc<Self>> {
        lock(&LEDGERS).values().cloned().collect()
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns what is held at this moment.
    pub fn memory(&self) -> Memory {
        self.state().memory
    }

    /// Returns the blocks that have memory at this moment.
    pub fn tenants(&self) -> Vec<Tenant> {
        self.state().tenants.values().cloned().collect()
    }

    /// Tells whether what is held is within the limit.
    pub fn check(&self) -> Result<(), OutOfMemory> {
        let memory = self.memory();
        match memory.limit {
            Some(limit) if memory.held() > limit => Err(OutOfMemory {
                device: self.device,
                wanted: memory.held() - limit,
                held: limit,
                limit: Some(limit),
            }),
            _ => Ok(()),
        }
    }

    /// Charges without looking at the limit.
    pub(in crate::engine) fn charge(self: &Arc<Self>, kind: MemoryKind, bytes: u64) -> Charge {
        self.state().memory.add(kind, bytes);
        self.gauge(kind).add(signed(bytes));
        Charge::new(self.clone(), kind, bytes)
    }

    /// Charges what is within the limit.
    pub(in crate::engine) fn charge_within(
        self: &Arc<Self>,
        kind: MemoryKind,
        bytes: u64,
    ) -> Result<Charge, OutOfMemory> {
        let mut state = self.state();
        let held = state.memory.held();
        let limit = state.memory.limit;
        if limit.is_some_and(|limit| held.saturating_add(bytes) > limit) {
            return Err(OutOfMemory {
                device: self.device,
                wanted: bytes,
                held,
                limit,
            });
        }
        state.memory.add(kind, bytes);
        drop(state);
        self.gauge(kind).add(signed(bytes));
        Ok(Charge::new(self.clone(), kind, bytes))
    }

    /// Makes a block a tenant, which uses so many bytes of weights.
    pub(in crate::engine) fn lease(self: &Arc<Self>, block: &str, weights: u64) -> Arc<Lease> {
        let mut state = self.state();
        state.next += 1;
        let id = state.next;
        let tenant = Tenant {
            id,
            block: block.to_owned(),
            weights,
            workspace: 0,
        };
        state.tenants.insert(id, tenant);
        drop(state);
        Arc::new(Lease::new(self.clone(), id))
    }

    pub(super) fn uncharge(&self, kind: MemoryKind, bytes: u64) {
        self.state().memory.sub(kind, bytes);
        self.gauge(kind).sub(signed(bytes));
    }

    pub(super) fn end_lease(&self, id: u64) {
        self.state().tenants.remove(&id);
    }

    pub(super) fn forget_weights(&self, id: u64) {
        if let Some(tenant) = self.state().tenants.get_mut(&id) {
            tenant.weights = 0;
        }
    }

    /// Notes what a tenant has more, or less, of its own.
    pub(super) fn note(&self, id: u64, change: impl FnOnce(u64) -> u64) {
        if let Some(tenant) = self.state().tenants.get_mut(&id) {
            tenant.workspace = change(tenant.workspace);
        }
    }

    fn set_limit(&self, limit: Option<u64>) {
        self.state().memory.limit = limit;
        self.metrics.limit_bytes.set(limit.map_or(0, signed));
    }

    fn gauge(&self, kind: MemoryKind) -> &metrics::Gauge {
        match kind {
            MemoryKind::Weights => &self.metrics.weight_bytes,
            MemoryKind::Workspace => &self.metrics.workspace_bytes,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Memory {
    /// Returns the bytes of all kinds.
    pub const fn held(&self) -> u64 {
        self.weights.saturating_add(self.workspace)
    }

    fn add(&mut self, kind: MemoryKind, bytes: u64) {
        let held = self.of(kind);
        *held = held.saturating_add(bytes);
    }

    fn sub(&mut self, kind: MemoryKind, bytes: u64) {
        let held = self.of(kind);
        *held = held.saturating_sub(bytes);
    }

    const fn of(&mut self, kind: MemoryKind) -> &mut u64 {
        match kind {
            MemoryKind::Weights => &mut self.weights,
            MemoryKind::Workspace => &mut self.workspace,
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            wanted,
            held,
            limit,
        } = self;
        match limit {
            Some(limit) => write!(
                f,
                "{device} is out of memory: {wanted} bytes were asked for where {held} of {limit} are held; place fewer \
                 blocks there, or raise memory_mb of devices.{device:?}",
                device = device.to_string()
            ),
            None => write!(
                f,
                "{device} is out of memory: {wanted} bytes were asked for where {held} are held"
            ),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("device", &self.device)
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
