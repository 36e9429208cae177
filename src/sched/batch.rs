//! When a batch closes, and what goes into it.
//!
//! A batch is the longest run of waiting items, oldest first, that share the oldest one's key and fit in `rows_max`
//! together. It closes when it is full, when its oldest item has waited long enough, or when waiting longer would make
//! an item miss its deadline. Items past their deadline are handed back, never run. Order among items of one key is
//! kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A request waiting at a block. Only items of equal key may share a run.
#[derive(Debug, Clone)]
pub struct Item<K, T> {
    pub key: K,
    pub rows: usize,
    pub arrived: Instant,
    pub deadline: Instant,
    pub content: T,
}

/// Bounds of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// An item of more rows runs alone.
    pub rows_max: usize,
    pub wait: Duration,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// Call [`Batcher::take`].
    Run,
    /// Nothing before then, unless something arrives.
    Wait(Instant),
    Idle,
}

/// Waiting items of one block instance.
#[derive(Debug)]
pub struct Batcher<K, T> {
    limits: Limits,
    waiting: VecDeque<Item<K, T>>,
}

impl<K: PartialEq, T> Batcher<K, T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
        }
    }

    pub fn push(&mut self, item: Item<K, T>) {
        self.waiting.push_back(item);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Removes and returns the items whose deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Vec<Item<K, T>> {
        self.remove(|item| item.deadline <= now)
    }

    /// Removes and returns the items that `unwanted` names.
    pub fn remove(&mut self, unwanted: impl Fn(&Item<K, T>) -> bool) -> Vec<Item<K, T>> {
        if !self.waiting.iter().any(&unwanted) {
            return Vec::new();
        }
        let (gone, kept) = self.waiting.drain(..).partition(|item| unwanted(item));
        self.waiting = kept;
        Vec::from(gone)
    }

    /// Decides at `now`, given how long a run is expected to take.
    pub fn decide(&self, now: Instant, run_time: Duration) -> Decision {
        let Some(oldest) = self.waiting.front() else {
            return Decision::Idle;
        };
        let mut rows = 0_usize;
        let mut close_at = oldest.arrived + self.limits.wait;
        for item in self.waiting.iter().filter(|item| item.key == oldest.key) {
            rows = rows.saturating_add(item.rows);
            if rows >= self.limits.rows_max {
                return Decision::Run;
            }
            close_at = close_at.min(item.deadline.checked_sub(run_time).unwrap_or(now));
        }
        if close_at <= now {
            Decision::Run
        } else {
            Decision::Wait(close_at)
        }
    }

    /// Returns when the next deadline of a waiting item passes.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.iter().map(|item| item.deadline).min()
    }

    /// Removes the batch at the front.
    pub fn take(&mut self) -> Vec<Item<K, T>> {
        let Some(oldest) = self.waiting.pop_front() else {
            return Vec::new();
        };
        let mut rows = oldest.rows;
        let mut batch = vec![oldest];
        let mut index = 0;
        while index < self.waiting.len() {
            let item = &self.waiting[index];
            if item.key != batch[0].key {
                index += 1;
                continue;
            }
            if rows.saturating_add(item.rows) > self.limits.rows_max {
                break;
            }
            rows += item.rows;
            batch.extend(self.waiting.remove(index));
        }
        batch
    }
}
