//! The store of each device.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use crate::engine::ledger::{Charge, Ledger, MemoryKind, OutOfMemory};
use crate::types::{Device, lock};

use super::entry::{Entry, Key};

/// What blocks hold on one device.
pub struct Store {
    device: Device,
    entries: Mutex<Entries>,
    ledger: Arc<Ledger>,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of all entries, each counted once.
    pub bytes: usize,
    /// Bytes of those that several blocks use.
    pub shared_bytes: usize,
    pub entries: usize,
}

#[derive(Default)]
struct Entries {
    known: HashMap<Key, Known>,
    /// Of all entries that are not dropped yet.
    bytes: usize,
    /// The number of the next thing that is not shared.
    next: u64,
}

struct Known {
    entry: Weak<Entry>,
    bytes: usize,
}

static STORES: Mutex<BTreeMap<Device, Arc<Store>>> = Mutex::new(BTreeMap::new());

impl Store {
    /// Returns the store of a device.
    pub fn of(device: Device) -> Arc<Self> {
        let mut stores = lock(&STORES);
        let make = || {
            Arc::new(Self {
                device,
                entries: Mutex::default(),
                ledger: Ledger::of(device),
            })
        };
        stores.entry(device).or_insert_with(make).clone()
    }

    /// Returns how much the blocks of this moment hold.
    pub fn usage(&self) -> Usage {
        let entries = self.lock();
        let shared = entries.known.values();
        let shared = shared.filter(|known| known.entry.strong_count() > 1);
        Usage {
            bytes: entries.bytes,
            shared_bytes: shared.map(|known| known.bytes).sum(),
            entries: entries.known.len(),
        }
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<Entry>> {
        self.lock().get(key)
    }

    /// Keeps a value, unless another thread was faster: then its value is returned.
    pub(super) fn keep(
        self: &Arc<Self>,
        key: Key,
        value: Arc<dyn Any + Send + Sync>,
        bytes: usize,
    ) -> Arc<Entry> {
        let mut entries = self.lock();
        if let Some(faster) = entries.get(&key) {
            return faster;
        }
        let charge = self.ledger.charge(MemoryKind::Weights, bytes as u64);
        self.enter(&mut entries, key, value, (bytes, charge))
    }

    /// Does the same within the limit of the device.
    pub(super) fn keep_within(
        self: &Arc<Self>,
        key: Key,
        value: Arc<dyn Any + Send + Sync>,
        bytes: usize,
    ) -> Result<Arc<Entry>, OutOfMemory> {
        let mut entries = self.lock();
        let key = match key {
            // Numbers are those of one store.
            Key::Own(_) => entries.own_key(),
            shared @ Key::Shared { .. } => shared,
        };
        if let Some(known) = entries.get(&key) {
            return Ok(known);
        }
        let charge = self
            .ledger
            .charge_within(MemoryKind::Weights, bytes as u64)?;
        Ok(self.enter(&mut entries, key, value, (bytes, charge)))
    }

    /// Keeps something that is not shared.
    pub(super) fn keep_own(self: &Arc<Self>, bytes: usize) -> Arc<Entry> {
        let mut entries = self.lock();
        let key = entries.own_key();
        let charge = self.ledger.charge(MemoryKind::Weights, bytes as u64);
        self.enter(&mut entries, key, Arc::new(()), (bytes, charge))
    }

    fn enter(
        self: &Arc<Self>,
        entries: &mut Entries,
        key: Key,
        value: Arc<dyn Any + Send + Sync>,
        (bytes, charge): (usize, Charge),
    ) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            store: self.clone(),
            key: key.clone(),
            value,
            bytes,
            _charge: charge,
        });
        let known = Known {
            entry: Arc::downgrade(&entry),
            bytes,
        };
        entries.known.insert(key, known);
        entries.bytes += bytes;
        entry
    }

    /// Takes out an entry that is being dropped. Its place may be taken already, by the same made anew.
    pub(super) fn forget(&self, entry: &Entry) {
        let mut entries = self.lock();
        let known = entries.known.get(&entry.key);
        if known.is_some_and(|known| std::ptr::eq(known.entry.as_ptr(), entry)) {
            entries.known.remove(&entry.key);
        }
        entries.bytes -= entry.bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

impl Entries {
    fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.known.get(key)?.entry.upgrade()
    }

    fn own_key(&mut self) -> Key {
        let key = Key::Own(self.next);
        self.next += 1;
        key
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("device", &self.device)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}
