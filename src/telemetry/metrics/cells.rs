//! Counter, gauge and histogram, each a few atomics.
//!
//! Relaxed ordering throughout: a reader may see one cell ahead of another, never a wrong total.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// A number with a fraction.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

/// Durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations up to each bound, and one more for those above the last; not cumulative.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

/// Upper bounds of the buckets, in microseconds.
pub(super) const BOUNDS: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    pub fn add(&self, count: i64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn sub(&self, count: i64) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Number {
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Sets it to a value that is larger than what it is.
    pub fn raise(&self, value: f64) {
        let larger = |bits| (f64::from_bits(bits) < value).then_some(value.to_bits());
        // That it is as large already is as good.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, larger);
    }

    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Histogram {
    pub fn observe(&self, time: Duration) {
        let place = BOUNDS.partition_point(|bound| Duration::from_micros(*bound) < time);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Adds observations by bucket and the nanoseconds that they take together.
    pub(super) fn add(&self, counts: &[u64; BOUNDS.len() + 1], nanoseconds: u64) {
        for (bucket, count) in self.buckets.iter().zip(counts) {
            bucket.fetch_add(*count, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns how many durations were observed.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns())
    }

    pub(super) fn sum_ns(&self) -> u64 {
        self.sum_ns.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> [u64; BOUNDS.len() + 1] {
        std::array::from_fn(|place| self.buckets[place].load(Ordering::Relaxed))
    }

    /// Returns the counts by bucket, the one above all bounds last.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
    }
}
