//! Measuring: quantiles, arrivals and durations are right.

use std::time::Duration;

use blockflow::cli::{Arrivals, Histogram, parse_duration};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_quantile_is_never_too_low_and_at_most_a_128th_too_high(
        mut values in prop::collection::vec(prop_oneof![0_u64..300, 0_u64..1 << 20, 0_u64..1 << 40], 1..400),
        quantile in 0.0_f64..=1.0,
    ) {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        values.sort_unstable();
        let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
        let exact = values[rank - 1];
        let seen = histogram.quantile(quantile);
        prop_assert!(seen >= exact, "{seen} for {exact}");
        prop_assert!(seen <= exact + exact / 128, "{seen} for {exact}");
        prop_assert_eq!(histogram.min(), values[0]);
        prop_assert_eq!(histogram.max(), values[values.len() - 1]);
        prop_assert_eq!(histogram.quantile(1.0), histogram.max());
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        prop_assert!((histogram.mean() - mean).abs() <= mean * 1e-9);
    }

    #[test]
    fn durations_print_and_parse(number in 1_u32..100_000, unit in 0_usize..5) {
        let (unit, seconds) = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)][unit];
        let parsed = parse_duration(&format!("{number}{unit}")).expect("parses");
        prop_assert!((parsed.as_secs_f64() - f64::from(number) * seconds).abs() < 1e-6 * f64::from(number) * seconds);
    }
}

#[test]
fn small_values_are_exact_and_huge_ones_are_clamped() {
    let mut histogram = Histogram::new();
    assert_eq!(
        (histogram.quantile(0.5), histogram.min(), histogram.max()),
        (0, 0, 0)
    );
    assert_eq!(histogram.mean(), 0.0);
    for value in 1..=100 {
        histogram.record(value);
    }
    let quantiles = [0.0, 0.5, 0.95, 0.99, 1.0].map(|quantile| histogram.quantile(quantile));
    assert_eq!(quantiles, [1, 50, 95, 99, 100]);
    histogram.record(u64::MAX);
    assert_eq!(histogram.max(), (1 << 40) - 1);
}

#[test]
fn constant_arrivals_are_evenly_spaced() {
    let moments: Vec<_> = Arrivals::Constant { rate: 200.0 }
        .offsets(1)
        .take(4)
        .collect();
    assert_eq!(moments, [0, 5, 10, 15].map(Duration::from_millis));
}

#[test]
fn poisson_arrivals_have_the_rate_and_the_spread_of_independent_ones() {
    let poisson = Arrivals::Poisson { rate: 1000.0 };
    let moments: Vec<_> = poisson.offsets(7).take(20_000).collect();
    assert!(moments.is_sorted());
    assert!(moments.iter().copied().eq(poisson.offsets(7).take(20_000)));
    assert!(!moments.iter().copied().eq(poisson.offsets(8).take(20_000)));
    let gaps: Vec<_> = moments
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    assert!((mean * 1000.0 - 1.0).abs() < 0.05, "{mean}");
    assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn wrong_durations_are_refused() {
    for text in [
        "",
        "10",
        "s",
        "-1s",
        "1.2.3s",
        "10 s",
        "1e3s",
        "10d",
        "1000000000000000000000h",
    ] {
        assert!(parse_duration(text).is_err(), "{text:?}");
    }
}
