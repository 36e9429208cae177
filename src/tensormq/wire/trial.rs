//! Whether compressing the next payload of an edge is worth a try.
//!
//! Payloads of one edge are alike, so those that come tell of those to come. Invariant: of payloads that never get clearly
//! smaller all are compressed in vain only [`MISSES_MAX`] times, then one of [`PAUSE_MAX`] once pauses have grown.

/// Tries in a row that may be in vain before there is a pause.
pub const MISSES_MAX: u32 = 4;
/// Payloads that the first pause lasts. Each try in vain after one doubles the next.
pub const PAUSE_MIN: u32 = 16;
pub const PAUSE_MAX: u32 = 1024;

/// What the payloads of one edge have shown so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Trial {
    /// Tries in vain since the last that paid.
    misses: u32,
    /// Payloads that are still let pass untried.
    pause: u32,
}

impl Trial {
    /// Tells whether the payload that has come should be tried. The outcome is then to be [`Trial::learn`]ed.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        due
    }

    /// Takes note of a try: whether the payload became clearly smaller.
    pub(super) fn learn(&mut self, paid: bool) {
        if paid {
            *self = Self::default();
            return;
        }
        self.misses = self.misses.saturating_add(1);
        if let Some(pauses) = self.misses.checked_sub(MISSES_MAX) {
            let longest = (PAUSE_MAX / PAUSE_MIN).ilog2();
            self.pause = PAUSE_MIN << pauses.min(longest);
        }
    }
}

/// Tells whether a payload of so many bytes is clearly smaller compressed: by an eighth at least.
pub(super) fn pays(plain: usize, compressed: usize) -> bool {
    compressed <= plain - plain.div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of so many payloads are tried, of which none gets smaller.
    fn tried(trial: &mut Trial, payloads: u32) -> u32 {
        let one = |_| {
            let due = trial.is_due();
            if due {
                trial.learn(false);
            }
            u32::from(due)
        };
        (0..payloads).map(one).sum()
    }

    #[test]
    fn a_few_tries_in_vain_bring_a_pause_that_grows_to_a_bound() {
        let mut trial = Trial::default();
        assert_eq!(tried(&mut trial, MISSES_MAX), MISSES_MAX);
        let mut pause = PAUSE_MIN;
        while pause <= PAUSE_MAX {
            assert_eq!(tried(&mut trial, pause), 0, "pause of {pause}");
            assert_eq!(tried(&mut trial, 1), 1, "after a pause of {pause}");
            pause *= 2;
        }
        for _ in 0..3 {
            assert_eq!(tried(&mut trial, PAUSE_MAX), 0);
            assert_eq!(tried(&mut trial, 1), 1);
        }
    }

    #[test]
    fn one_that_pays_ends_all_pauses() {
        let mut trial = Trial::default();
        tried(&mut trial, 10_000);
        while !trial.is_due() {}
        trial.learn(true);
        assert_eq!(trial, Trial::default());
        assert_eq!(tried(&mut trial, MISSES_MAX), MISSES_MAX);
    }

    #[test]
    fn what_pays_always_is_always_tried() {
        let mut trial = Trial::default();
        for _ in 0..1000 {
            assert!(trial.is_due());
            trial.learn(true);
        }
    }

    #[test]
    fn misses_that_are_not_in_a_row_do_not_add_up() {
        let mut trial = Trial::default();
        for round in 0..1000 {
            assert!(trial.is_due(), "round {round}");
            trial.learn(round % MISSES_MAX == 0);
        }
    }

    #[test]
    fn misses_without_end_overflow_nothing() {
        let mut trial = Trial {
            misses: u32::MAX,
            pause: 0,
        };
        trial.learn(false);
        assert_eq!(tried(&mut trial, PAUSE_MAX), 0);
        assert!(trial.is_due());
    }

    #[test]
    fn an_eighth_less_is_clearly_smaller() {
        assert!(pays(800, 700) && !pays(800, 701));
        assert!(!pays(0, 1) && !pays(7, 7) && pays(7, 6) && pays(8, 7));
        assert!(!pays(usize::MAX, usize::MAX) && pays(usize::MAX, 0));
    }
}
