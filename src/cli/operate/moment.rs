//! A point in time, as people read it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes milliseconds since 1970 as a date and time of UTC: `2026-11-22T04:31:45Z`; as they are where no calendar has them.
pub(super) fn show(milliseconds: u64) -> String {
    let seconds = i64::try_from(milliseconds / 1000).ok();
    let moment = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let shown = moment.and_then(|moment| moment.format(&Rfc3339).ok());
    shown.unwrap_or_else(|| milliseconds.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
        ] {
            assert_eq!(show(seconds * 1000 + 999), expected);
        }
        assert_eq!(show(u64::MAX), u64::MAX.to_string());
    }
}
