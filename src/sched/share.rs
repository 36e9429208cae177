//! A share of a stream, spread evenly over it.

/// Picks a share of what comes, counted from 0: of the first `n` always `n × share`, rounded down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    millionths: u64,
}

impl Share {
    const WHOLE: u64 = 1_000_000;

    /// Takes a share from 0 to 1; what is outside of that counts as the nearest bound.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "from 0 to a million"
    )]
    pub fn new(share: f32) -> Self {
        Self {
            millionths: (f64::from(share.clamp(0.0, 1.0)) * Self::WHOLE as f64).round() as u64,
        }
    }

    /// Tells whether the one that comes after `before` others is picked.
    pub fn picks(self, before: u64) -> bool {
        // The pattern repeats, so large counts need no large products.
        let place = before % Self::WHOLE;
        (place + 1) * self.millionths / Self::WHOLE > place * self.millionths / Self::WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_holds_its_share() {
        for (share, of_a_hundred) in [
            (0.0, 0),
            (0.01, 1),
            (0.05, 5),
            (0.333, 33),
            (0.5, 50),
            (1.0, 100),
        ] {
            let share = Share::new(share);
            let picked = (0..100).filter(|before| share.picks(*before)).count();
            assert_eq!(picked, of_a_hundred, "{share:?}");
            let far = u64::MAX - 1000;
            let picked = (far..far + 100)
                .filter(|before| share.picks(*before))
                .count();
            assert!(picked.abs_diff(of_a_hundred) <= 1, "{share:?}: {picked}");
        }
        let third = Share::new(1.0 / 3.0);
        let mut picked = 0;
        for before in 0..10_000_u64 {
            picked += u64::from(third.picks(before));
            assert!(picked.abs_diff((before + 1) / 3) <= 1, "{before}");
        }
    }
}
