//! Durations in fixed memory.
//!
//! Values below 256 have a bucket each; above, every power of two is divided into 128 buckets, so a quantile is at
//! most 1/128 too high and never too low.

use std::time::Duration;

/// Bits of a value that tell its bucket within a power of two.
const BITS: u32 = 7;
/// Values with a bucket of their own.
const EXACT: u64 = 1 << (BITS + 1);
/// Largest value that is told apart: in µs, more than twelve days.
const LARGEST: u64 = (1 << 40) - 1;
const BUCKETS: usize = bucket(LARGEST) + 1;

/// Counts of whole numbers, in this program µs.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    /// Counts a value; one above about 10¹² counts as that.
    pub fn record(&mut self, value: u64) {
        let value = value.min(LARGEST);
        self.buckets[bucket(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Counts a duration in µs, rounded down.
    pub fn record_duration(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the smallest value; 0 where there is none.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// Returns the mean; 0 where there is no value.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64
        }
    }

    /// Returns the smallest value that a fraction `quantile` of all values does not exceed (nearest rank), at most
    /// 1/128 too high; 0 where there is no value.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = ((quantile * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_end(index).min(self.max);
            }
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

const fn bucket(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let shift = value.ilog2() - BITS;
    let mantissa = value >> shift;
    (EXACT + (shift as u64 - 1) * (EXACT / 2) + mantissa - EXACT / 2) as usize
}

/// Returns the largest value of a bucket.
fn upper_end(index: usize) -> u64 {
    let index = index as u64;
    if index < EXACT {
        return index;
    }
    let shift = (index - EXACT) / (EXACT / 2) + 1;
    let mantissa = (index - EXACT) % (EXACT / 2) + EXACT / 2;
    ((mantissa + 1) << shift) - 1
}
