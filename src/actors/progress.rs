//! What an instance is doing, and since when: written by its thread, read by whoever supervises it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::sched::Doing;

/// Bits of the cell that tell what is done; the others count microseconds since the cell was made.
const KIND_BITS: u32 = 2;

/// In place of a time and a kind.
const ENDED: u64 = u64::MAX;

/// One atomic cell, so that nobody who looks sees half of a change.
#[derive(Debug)]
pub(super) struct Progress {
    made: Instant,
    cell: AtomicU64,
}

impl Progress {
    /// An instance that makes its first session.
    pub(super) fn new() -> Self {
        Self {
            made: Instant::now(),
            cell: AtomicU64::new(code(Doing::Warming)),
        }
    }

    /// Begins something at `now`.
    pub(super) fn begin(&self, doing: Doing, now: Instant) {
        let since = now.saturating_duration_since(self.made).as_micros() as u64;
        self.cell
            .store(since << KIND_BITS | code(doing), Ordering::Relaxed);
    }

    /// The instance is gone, and its thread with it in a moment.
    pub(super) fn end(&self) {
        self.cell.store(ENDED, Ordering::Relaxed);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.cell.load(Ordering::Relaxed) == ENDED
    }

    /// Returns what is done, and for how long it has been.
    pub(super) fn look(&self, now: Instant) -> (Doing, Duration) {
        let cell = self.cell.load(Ordering::Relaxed);
        if cell == ENDED {
            return (Doing::Idle, Duration::ZERO);
        }
        let since = self.made + Duration::from_micros(cell >> KIND_BITS);
        let doing = match cell & ((1 << KIND_BITS) - 1) {
            1 => Doing::Warming,
            2 => Doing::Running,
            _ => Doing::Idle,
        };
        (doing, now.saturating_duration_since(since))
    }
}

const fn code(doing: Doing) -> u64 {
    match doing {
        Doing::Idle => 0,
        Doing::Warming => 1,
        Doing::Running => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let progress = Progress::new();
        let start = progress.made;
        assert_eq!(progress.look(start).0, Doing::Warming);
        for (doing, at_ms) in [
            (Doing::Running, 5),
            (Doing::Idle, 7),
            (Doing::Warming, 90_000),
        ] {
            let at = start + Duration::from_millis(at_ms);
            progress.begin(doing, at);
            let later = at + Duration::from_millis(30);
            assert_eq!(progress.look(later), (doing, Duration::from_millis(30)));
            assert_eq!(progress.look(start).1, Duration::ZERO);
            assert!(!progress.has_ended());
        }
        progress.end();
        assert!(progress.has_ended());
        assert_eq!(progress.look(start), (Doing::Idle, Duration::ZERO));
    }
}
