//! A bounded memory of what happened lately.

use std::collections::{HashSet, VecDeque};
use std::hash::Hash;

/// The last `capacity` distinct keys noted.
#[derive(Debug)]
pub struct Recent<K> {
    capacity: usize,
    order: VecDeque<K>,
    keys: HashSet<K>,
}

impl<K: Eq + Hash + Copy> Recent<K> {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: VecDeque::new(),
            keys: HashSet::new(),
        }
    }

    pub fn note(&mut self, key: K) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    pub fn contains(&self, key: &K) -> bool {
        self.keys.contains(key)
    }
}
