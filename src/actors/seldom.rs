//! Saying something that a stranger can cause as often as he likes, but not that often.

use std::time::{Duration, Instant};

/// Between two lines about the same thing at least.
const PAUSE: Duration = Duration::from_secs(1);

/// When something was last said, and how often it was not said since.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Tells whether it is time to say it again, and how often it was left unsaid meanwhile.
    pub(super) fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now < last + PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_said_once_a_second_with_a_count() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        assert_eq!(seldom.due(start), Some(0));
        assert_eq!(seldom.due(start + PAUSE / 3), None);
        assert_eq!(seldom.due(start + PAUSE / 2), None);
        assert_eq!(seldom.due(start + PAUSE), Some(2));
        assert_eq!(seldom.due(start + PAUSE * 3), Some(0));
    }
}
