//! What one block uses of a store.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::Arc;

use crate::graph::Digest;
use crate::types::Device;

use super::Store;
use super::entry::{Entry, Key};

/// The entries that one block uses, each once however often it does. They stay for as long as this; what was got from it
/// is to be dropped before.
#[derive(Debug)]
pub(in crate::engine) struct Holding {
    store: Arc<Store>,
    entries: HashMap<Key, Arc<Entry>>,
}

impl Holding {
    /// Begins with nothing.
    pub(in crate::engine) fn new(device: Device) -> Self {
        Self {
            store: Store::of(device),
            entries: HashMap::new(),
        }
    }

    /// Returns what the device holds of a content in a form; what it does not hold is made. `make` returns it with its
    /// bytes, and must return the same for the same content and form.
    pub(in crate::engine) fn get<V: Send + Sync + 'static, E>(
        &mut self,
        content: Digest,
        form: String,
        make: impl FnOnce() -> Result<(V, usize), E>,
    ) -> Result<Arc<V>, E> {
        let kind = TypeId::of::<V>();
        let key = Key::Shared {
            content,
            form,
            kind,
        };
        let known = self.entries.get(&key).cloned();
        let entry = match known.or_else(|| self.store.find(&key)) {
            Some(entry) => entry,
            None => {
                let (value, bytes) = make()?;
                self.store.keep(key.clone(), Arc::new(value), bytes)
            }
        };
        let value = entry.value.clone().downcast();
        self.entries.insert(key, entry);
        Ok(value.expect("the key has the type of the value"))
    }

    /// Counts memory that an engine keeps to itself.
    pub(in crate::engine) fn add_own(&mut self, bytes: usize) {
        let entry = self.store.keep_own(bytes);
        self.entries.insert(entry.key.clone(), entry);
    }

    /// Returns the bytes of all entries.
    pub(in crate::engine) fn bytes(&self) -> usize {
        self.entries.values().map(|entry| entry.bytes).sum()
    }
}
