//! Joining the inputs of a step by request id.
//!
//! Invariants: a key is complete at most once; what arrives twice for one port replaces the earlier value; never more keys
//! are open than are allowed, however many a peer makes up: where there are too many, the most urgent one goes, which is the
//! first to be past its deadline anyway.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// Collects values per key until every port has one.
#[derive(Debug)]
pub struct Joiner<K, V> {
    ports: usize,
    open_max: usize,
    open: HashMap<K, Open<V>>,
}

#[derive(Debug)]
struct Open<V> {
    values: Vec<Option<V>>,
    deadline: Instant,
}

impl<K: Eq + Hash + Copy, V> Joiner<K, V> {
    /// Joins values of `ports` ports; at most `open_max` keys are incomplete at a time.
    pub fn new(ports: usize, open_max: usize) -> Self {
        Self {
            ports,
            open_max,
            open: HashMap::new(),
        }
    }

    /// Adds values for some of the ports of `key`; returns all of them, in port order, once none is missing.
    /// Values for ports that do not exist are ignored.
    pub fn offer(&mut self, key: K, values: Vec<(u16, V)>, deadline: Instant) -> Option<Vec<V>> {
        let open = self.open.entry(key).or_insert_with(|| Open {
            values: (0..self.ports).map(|_| None).collect(),
            deadline,
        });
        open.deadline = deadline;
        for (port, value) in values {
            if let Some(slot) = open.values.get_mut(usize::from(port)) {
                *slot = Some(value);
            }
        }
        if open.values.iter().all(Option::is_some) {
            return self.open.remove(&key)?.values.into_iter().collect();
        }
        if self.open.len() > self.open_max {
            let urgent = self.open.iter().min_by_key(|(_, open)| open.deadline);
            let urgent = urgent.map(|(key, _)| *key);
            urgent.and_then(|key| self.open.remove(&key));
        }
        None
    }

    /// Forgets every key that is not worth keeping.
    pub fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.open.retain(|key, _| keep(key));
    }

    /// Forgets every key past its deadline.
    pub fn expire(&mut self, now: Instant) {
        self.open.retain(|_, open| open.deadline > now);
    }

    /// Returns when [`Joiner::expire`] next has something to do.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.open.values().map(|open| open.deadline).min()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }
}
