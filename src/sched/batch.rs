//! When a batch closes, and what goes into it.
//!
//! A batch is made of waiting items of one key, oldest first, that fit in `rows_max` rows together. Each key has a batch
//! in the making: it closes when it is full, when its oldest item has waited long enough, or when waiting longer would
//! make one of its items miss its deadline. Items that are not eligible now (their results could not be sent on) are
//! passed over. Items past their deadline are handed back, never run. Order among items of one key is kept.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How late a timer may ring.
const TIMER_TICK: Duration = Duration::from_millis(2);

/// A request waiting at a block. Only items of equal key may share a run.
#[derive(Debug, Clone)]
pub struct Item<K, T> {
    pub key: K,
    /// 0 counts as 1.
    pub rows: usize,
    /// Runs at once and on its own.
    pub solo: bool,
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
    /// Call [`Batcher::take`] with this place.
    Run(usize),
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

    /// Puts an item before all others.
    pub fn push_front(&mut self, item: Item<K, T>) {
        self.waiting.push_front(item);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns what waits, oldest first.
    pub fn contents_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.waiting.iter_mut().map(|item| &mut item.content)
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
    pub fn decide(
        &self,
        now: Instant,
        run_time: Duration,
        eligible: impl Fn(&T) -> bool,
    ) -> Decision {
        let mut forming: Vec<Forming<'_, K>> = Vec::new();
        let items = self.waiting.iter().enumerate();
        for (place, item) in items.filter(|(_, item)| eligible(&item.content)) {
            let close_at = (item.arrived + self.limits.wait).min(latest_start(item, run_time, now));
            let rows = item.rows.max(1);
            let batch = match forming
                .iter_mut()
                .find(|batch| *batch.key == item.key && !item.solo)
            {
                Some(batch) => {
                    batch.rows = batch.rows.saturating_add(rows);
                    batch.close_at = batch.close_at.min(close_at);
                    batch
                }
                None => {
                    let key = &item.key;
                    forming.push(Forming {
                        key,
                        place,
                        rows,
                        close_at,
                    });
                    forming.last_mut().expect("one was pushed")
                }
            };
            if item.solo || batch.rows >= self.limits.rows_max || batch.close_at <= now {
                return Decision::Run(batch.place);
            }
        }
        let next = forming.iter().map(|batch| batch.close_at).min();
        next.map_or(Decision::Idle, Decision::Wait)
    }

    /// Returns when the next deadline of a waiting item passes.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.iter().map(|item| item.deadline).min()
    }

    /// Removes the batch whose oldest item stands at `place`.
    pub fn take(&mut self, place: usize, eligible: impl Fn(&T) -> bool) -> Vec<Item<K, T>> {
        let Some(oldest) = self.waiting.remove(place) else {
            return Vec::new();
        };
        let mut rows = oldest.rows.max(1);
        let mut index = if oldest.solo {
            self.waiting.len()
        } else {
            place
        };
        let mut batch = vec![oldest];
        while let Some(item) = self.waiting.get(index) {
            if item.key != batch[0].key || item.solo || !eligible(&item.content) {
                index += 1;
                continue;
            }
            rows = rows.saturating_add(item.rows.max(1));
            if rows > self.limits.rows_max {
                break;
            }
            batch.extend(self.waiting.remove(index));
        }
        batch
    }
}

/// A batch in the making.
struct Forming<'a, K> {
    key: &'a K,
    /// Of its oldest item.
    place: usize,
    rows: usize,
    close_at: Instant,
}

/// Returns when an item must start to be done in time, with as much time again and a tick of the timer to spare.
fn latest_start<K, T>(item: &Item<K, T>, run_time: Duration, now: Instant) -> Instant {
    item.deadline
        .checked_sub(2 * run_time + TIMER_TICK)
        .unwrap_or(now)
}
