//! Two engines in turn on one block.

use std::time::{Duration, Instant};

use crate::engine::proof::zeros;
use crate::engine::{EngineError, Session, warm};
use crate::types::{Signature, Tensor};

/// Rounds of a trial at most, and those after which it may end early.
const ROUNDS_MAX: usize = 15;
const ROUNDS_MIN: usize = 2;
/// The time after which no further round begins.
const TRIAL_MAX: Duration = Duration::from_millis(600);

/// The shortest and the longest of some runs.
#[derive(Debug, Clone, Copy)]
struct Range {
    shortest: Duration,
    longest: Duration,
}

/// Returns the shortest run of each, after one of each that does not count.
pub(super) fn trial(
    mut sessions: [&mut dyn Session; 2],
    signature: &Signature,
) -> Result<[Duration; 2], EngineError> {
    let inputs = signature.inputs.iter().map(zeros);
    let inputs: Vec<Tensor> = inputs.collect::<Result<_, _>>()?;
    for session in &mut sessions {
        warm(*session, signature)?;
    }
    let mut ranges = [Range::EMPTY; 2];
    let began = Instant::now();
    for round in 1..=ROUNDS_MAX {
        for (session, range) in sessions.iter_mut().zip(&mut ranges) {
            range.add(timed(*session, &inputs)?);
        }
        if began.elapsed() > TRIAL_MAX || round >= ROUNDS_MIN && are_apart(ranges) {
            break;
        }
    }
    Ok(ranges.map(|range| range.shortest))
}

impl Range {
    const EMPTY: Self = Self {
        shortest: Duration::MAX,
        longest: Duration::ZERO,
    };

    fn add(&mut self, time: Duration) {
        self.shortest = self.shortest.min(time);
        self.longest = self.longest.max(time);
    }
}

/// Tells whether each run of one took clearly longer than each of the other.
fn are_apart([first, second]: [Range; 2]) -> bool {
    let exceeds = |slow: Range, fast: Range| slow.shortest > fast.longest.mul_f64(1.1);
    exceeds(first, second) || exceeds(second, first)
}

fn timed(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Duration, EngineError> {
    let began = Instant::now();
    session.run(inputs)?;
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(millis: [u64; 2]) -> Range {
        let mut range = Range::EMPTY;
        for millis in millis {
            range.add(Duration::from_millis(millis));
        }
        range
    }

    #[test]
    fn ranges_that_meet_or_nearly_so_are_not_apart() {
        for (first, second, expected) in [
            ([10, 20], [30, 40], true),
            ([30, 40], [10, 20], true),
            ([10, 20], [20, 30], false),
            ([10, 20], [21, 30], false),
            ([10, 40], [20, 30], false),
        ] {
            let seen = are_apart([range(first), range(second)]);
            assert_eq!(seen, expected, "{first:?} {second:?}");
        }
    }
}
