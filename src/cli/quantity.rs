//! Large numbers as people read them.

/// Writes a number with three digits or so and a letter for its thousands: `1.82 G`.
pub(super) fn count(number: u64) -> String {
    scaled(number, "")
}

/// Writes a number of bytes: `46.8 MB`, in powers of a thousand.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, "B")
}

fn scaled(number: u64, unit: &str) -> String {
    const LETTERS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if number < 1000 {
        return format!("{number} {unit}").trim_end().to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = number as f64 / 1000.0;
    let mut letters = LETTERS.iter();
    let mut letter = letters.next().copied().unwrap_or_default();
    // What would be shown as 1000 is shown as 1 of the next.
    while value >= 999.5 {
        let Some(next) = letters.next() else { break };
        value /= 1000.0;
        letter = next;
    }
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {letter}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_their_unit() {
        for (number, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (999_999, "1.00 MB"),
            (46_830_000, "46.8 MB"),
            (468_300_000, "468 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), expected);
        }
        assert_eq!(count(7), "7");
        assert_eq!(count(1_820_000_000), "1.82 G");
    }
}
