//! What one block uses of a store.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::engine::ledger::OutOfMemory;
use crate::graph::Digest;
use crate::types::{Device, lock};

use super::entry::{Entry, Key};
use super::{Held, Store};

/// The entries that one block uses, each once however often it does. They stay for as long as this; what was got from it
/// is to be dropped before.
#[derive(Debug)]
pub(in crate::engine) struct Holding(Mutex<Entries>);

#[derive(Debug)]
struct Entries {
    store: Arc<Store>,
    known: HashMap<Key, Arc<Entry>>,
}

impl Holding {
    /// Begins with nothing.
    pub(in crate::engine) fn new(device: Device) -> Self {
        Self(Mutex::new(Entries {
            store: Store::of(device),
            known: HashMap::new(),
        }))
    }

    /// Returns what the device holds of a content in a form; what it does not hold is made. `make` returns it with its
    /// bytes, and must return the same for the same content and form.
    pub(in crate::engine) fn get<V: Send + Sync + 'static, E>(
        &mut self,
        content: Digest,
        form: String,
        make: impl FnOnce() -> Result<(V, usize), E>,
    ) -> Result<Arc<V>, E> {
        self.find_or(content, form, |store, key| {
            let (value, bytes) = make()?;
            Ok(store.keep(key, Arc::new(value), bytes))
        })
    }

    /// As [`Holding::get`], within the limit of the device.
    pub(in crate::engine) fn get_within<V: Send + Sync + 'static, E: From<OutOfMemory>>(
        &mut self,
        content: Digest,
        form: String,
        make: impl FnOnce() -> Result<(V, usize), E>,
    ) -> Result<Arc<V>, E> {
        self.find_or(content, form, |store, key| {
            let (value, bytes) = make()?;
            Ok(store.keep_within(key, Arc::new(value), bytes)?)
        })
    }

    fn find_or<V: Send + Sync + 'static, E>(
        &mut self,
        content: Digest,
        form: String,
        keep: impl FnOnce(&Arc<Store>, Key) -> Result<Arc<Entry>, E>,
    ) -> Result<Arc<V>, E> {
        let kind = TypeId::of::<V>();
        let key = Key::Shared {
            content,
            form,
            kind,
        };
        let entries = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let known = entries.known.get(&key).cloned();
        let entry = match known.or_else(|| entries.store.find(&key)) {
            Some(entry) => entry,
            None => keep(&entries.store, key.clone())?,
        };
        let value = entry.value.clone().downcast();
        entries.known.insert(key, entry);
        Ok(value.expect("the key has the type of the value"))
    }

    /// Counts memory that an engine keeps to itself.
    pub(in crate::engine) fn add_own(&mut self, bytes: usize) {
        let entries = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.store.keep_own(bytes);
        entries.known.insert(entry.key.clone(), entry);
    }

    /// Returns the bytes of all entries.
    pub(in crate::engine) fn bytes(&self) -> usize {
        let entries = self.lock();
        entries.known.values().map(|entry| entry.bytes).sum()
    }

    /// Returns the bytes of all entries, by content and form where they have one.
    pub(in crate::engine) fn held(&self) -> Held {
        let (mut by_content, mut own) = (BTreeMap::<Digest, BTreeMap<String, u64>>::new(), 0);
        for entry in self.lock().known.values() {
            let bytes = entry.bytes as u64;
            match &entry.key {
                Key::Shared { content, form, .. } => {
                    let forms = by_content.entry(*content).or_default();
                    *forms.entry(form.clone()).or_default() += bytes;
                }
                Key::Own(_) => own += bytes,
            }
        }
        Held {
            by_content,
            own,
            by_session: 0,
        }
    }

    /// Has everything be held on another device, within its limit, and no longer where it was. Where that fails, all stays
    /// as it was.
    pub(in crate::engine) fn move_to(&self, device: Device) -> Result<(), OutOfMemory> {
        let mut entries = self.lock();
        let store = Store::of(device);
        if Arc::ptr_eq(&store, &entries.store) {
            return Ok(());
        }
        let moved = entries.known.iter().map(|(key, entry)| {
            let moved = store.keep_within(key.clone(), entry.value.clone(), entry.bytes)?;
            Ok((moved.key.clone(), moved))
        });
        let moved = moved.collect::<Result<_, OutOfMemory>>()?;
        *entries = Entries {
            store,
            known: moved,
        };
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        lock(&self.0)
    }
}
