//! Which parts of a range are free.

use std::collections::BTreeMap;
use std::ops::Range;

use super::slot::SLOT_ALIGNMENT;

/// The free extents of a range. First fit, from the front, so that memory that was touched already is used again.
///
/// Invariants: extents are aligned, not empty, apart from each other by at least one byte, and within the range.
#[derive(Debug)]
pub(super) struct Extents {
    /// Length by start.
    free: BTreeMap<usize, usize>,
}

impl Extents {
    /// Returns a range that is free throughout; its ends are aligned.
    pub(super) fn new(range: Range<usize>) -> Self {
        let free = (!range.is_empty()).then_some((range.start, range.len()));
        Self {
            free: free.into_iter().collect(),
        }
    }

    /// Takes so many bytes, rounded up to the alignment; returns where they begin, or `None` if there is no such extent.
    pub(super) fn take(&mut self, bytes: usize) -> Option<usize> {
        let bytes = rounded(bytes)?;
        let fits = |(_, length): &(&usize, &usize)| **length >= bytes;
        let (&start, &length) = self.free.iter().find(fits)?;
        self.free.remove(&start);
        if length > bytes {
            self.free.insert(start + bytes, length - bytes);
        }
        Some(start)
    }

    /// Gives back what was taken: where it begins and as many bytes as were asked for.
    pub(super) fn give_back(&mut self, start: usize, bytes: usize) {
        let Some(bytes) = rounded(bytes) else {
            return;
        };
        let (mut start, mut end) = (start, start + bytes);
        if let Some((&before, &length)) = self.free.range(..start).next_back()
            && before + length == start
        {
            self.free.remove(&before);
            start = before;
        }
        if let Some(length) = self.free.remove(&end) {
            end += length;
        }
        self.free.insert(start, end - start);
    }

    /// Returns the number of free bytes.
    pub(super) fn free_bytes(&self) -> usize {
        self.free.values().sum()
    }
}

/// An extent has at least one unit, so that no two begin at one place.
fn rounded(bytes: usize) -> Option<usize> {
    bytes.max(1).checked_next_multiple_of(SLOT_ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: usize = 40;
    const FIRST: usize = 3;

    #[derive(Debug, Clone)]
    enum Step {
        Take(usize),
        /// Which of those that are taken.
        GiveBack(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..12 * SLOT_ALIGNMENT).prop_map(Step::Take),
            any::<usize>().prop_map(Step::GiveBack),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// Returns the free extents of a map of units.
    fn gaps(taken: &[bool]) -> BTreeMap<usize, usize> {
        let mut gaps = BTreeMap::new();
        let mut unit = 0;
        for run in taken.chunk_by(|left, right| left == right) {
            if !run[0] {
                let start = (FIRST + unit) * SLOT_ALIGNMENT;
                gaps.insert(start, run.len() * SLOT_ALIGNMENT);
            }
            unit += run.len();
        }
        gaps
    }

    proptest! {
        /// The model is a map of units, in which the first run that is long enough is looked for.
        #[test]
        fn extents_are_those_of_a_map_of_units(steps in steps()) {
            let range = FIRST * SLOT_ALIGNMENT..(FIRST + UNITS) * SLOT_ALIGNMENT;
            let mut extents = Extents::new(range);
            let mut taken = [false; UNITS];
            let mut held: Vec<(usize, usize)> = Vec::new();
            for step in steps {
                match step {
                    Step::Take(bytes) => {
                        let units = bytes.max(1).div_ceil(SLOT_ALIGNMENT);
                        let first = (0..=UNITS - units.min(UNITS))
                            .find(|&at| units <= UNITS && !taken[at..at + units].contains(&true));
                        let start = extents.take(bytes);
                        prop_assert_eq!(start, first.map(|unit| (FIRST + unit) * SLOT_ALIGNMENT));
                        if let (Some(start), Some(first)) = (start, first) {
                            taken[first..first + units].fill(true);
                            held.push((start, bytes));
                        }
                    }
                    Step::GiveBack(which) if !held.is_empty() => {
                        let (start, bytes) = held.swap_remove(which % held.len());
                        let first = start / SLOT_ALIGNMENT - FIRST;
                        let units = bytes.max(1).div_ceil(SLOT_ALIGNMENT);
                        taken[first..first + units].fill(false);
                        extents.give_back(start, bytes);
                    }
                    Step::GiveBack(_) => {}
                }
                prop_assert_eq!(&extents.free, &gaps(&taken));
            }
            for (start, bytes) in held {
                extents.give_back(start, bytes);
            }
            prop_assert_eq!(extents.free_bytes(), UNITS * SLOT_ALIGNMENT);
            prop_assert_eq!(extents.free.len(), 1);
        }
    }

    #[test]
    fn more_than_there_can_be_is_not_there() {
        let mut extents = Extents::new(64..128);
        assert_eq!(extents.take(usize::MAX), None);
        assert_eq!(extents.take(65), None);
        assert_eq!(extents.take(64), Some(64));
        assert_eq!(extents.take(0), None);
        assert_eq!(Extents::new(64..64).take(1), None);
    }
}
