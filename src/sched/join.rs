//! Joining the inputs of a step by request id.
//!
//! Invariants: a key is complete at most once; what arrives twice for one port replaces the earlier value; the number
//! of open keys is bounded by the requests in flight, since each is cancelled or expires.

use std::collections::HashMap;
use std::hash::Hash;

/// Collects values per key until every port has one.
#[derive(Debug)]
pub struct Joiner<K, V> {
    open: HashMap<K, Vec<Option<V>>>,
}

impl<K: Eq + Hash + Copy, V> Joiner<K, V> {
    pub fn new() -> Self {
        Self {
            open: HashMap::new(),
        }
    }

    /// Adds values for some of the `ports` of `key`; returns all of them, in port order, once none is missing.
    /// Values for ports beyond `ports` are ignored.
    pub fn offer(&mut self, key: K, ports: usize, values: Vec<(u16, V)>) -> Option<Vec<V>> {
        let slots = self
            .open
            .entry(key)
            .or_insert_with(|| (0..ports).map(|_| None).collect());
        for (port, value) in values {
            if let Some(slot) = slots.get_mut(usize::from(port)) {
                *slot = Some(value);
            }
        }
        if slots.iter().any(Option::is_none) {
            return None;
        }
        self.open.remove(&key)?.into_iter().collect()
    }

    /// Forgets every key that is not worth keeping.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.open.retain(|key, _| keep(key));
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }
}

impl<K: Eq + Hash + Copy, V> Default for Joiner<K, V> {
    fn default() -> Self {
        Self::new()
    }
}
