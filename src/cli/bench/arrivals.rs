//! When requests are sent.

use std::fmt;
use std::time::Duration;

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// The next one follows a reply, with this many always under way.
    Closed { concurrency: usize },
    /// Evenly spaced, per second.
    Constant { rate: f64 },
    /// Independent of each other, per second on average.
    Poisson { rate: f64 },
}

impl Arrivals {
    /// Returns the moments of an open loop, counted from its beginning, without end; none for a closed loop.
    ///
    /// The first constant arrival is at zero. Equal seeds give equal moments.
    pub fn offsets(self, seed: u64) -> Box<dyn Iterator<Item = Duration> + Send> {
        match self {
            Self::Closed { .. } => Box::new(std::iter::empty()),
            Self::Constant { rate } => {
                Box::new((0_u64..).map(move |index| Duration::from_secs_f64(index as f64 / rate)))
            }
            Self::Poisson { rate } => {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut at = 0.0_f64;
                Box::new(std::iter::repeat_with(move || {
                    // 1 − u lies in (0, 1], so the logarithm is finite.
                    at -= (1.0 - random.f64()).ln() / rate;
                    Duration::from_secs_f64(at)
                }))
            }
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Constant { .. } => "constant",
            Self::Poisson { .. } => "poisson",
        }
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { concurrency } => write!(f, "closed loop, {concurrency} at once"),
            Self::Constant { rate } => write!(f, "open loop, {rate} per second, evenly spaced"),
            Self::Poisson { rate } => write!(f, "open loop, {rate} per second, Poisson"),
        }
    }
}
