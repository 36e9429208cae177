//! One thing in a store.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use crate::engine::ledger::Charge;
use crate::graph::Digest;

use super::Store;

/// What tells things in a store apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Shared {
        content: Digest,
        form: String,
        kind: TypeId,
    },
    /// Something that no two blocks can share, by number.
    Own(u64),
}

/// Something held, which leaves its store when it is dropped.
pub(super) struct Entry {
    pub(super) store: Arc<Store>,
    pub(super) key: Key,
    pub(super) value: Arc<dyn Any + Send + Sync>,
    pub(super) bytes: usize,
    pub(super) _charge: Charge,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.store.forget(self);
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
