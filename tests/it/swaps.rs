//! The way of a new epoch, decided without any: it ends once, in time, and never takes over after a verdict against it.

use std::time::{Duration, Instant};

use blockflow::sched::{
    Canaried, LATENCY_SLACK, MEDIAN_ANSWERS_MIN, P99_ANSWERS_MIN, Phase, Shadowed, Side, Swap,
};
use blockflow::types::{CanarySpec, ReloadSpec, ShadowSpec, Tolerance};
use proptest::prelude::*;

fn shadow(requests: u64, mismatches_max: u64, time_max: Duration) -> ShadowSpec {
    ShadowSpec {
        share: 1.0,
        requests,
        tolerance: Tolerance {
            relative: 0.0,
            absolute: 0.0,
        },
        mismatches_max,
        time_max,
    }
}

fn canary(requests: u64, time_max: Duration) -> CanarySpec {
    CanarySpec {
        share: 0.5,
        requests,
        time_max,
        error_ratio_max: 0.1,
        latency_ratio_max: 2.0,
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum Event {
    Prepared,
    Begin(bool),
    Shadowed(Shadowed),
    Canaried(Canaried),
    Stop,
    Switched,
}

fn events() -> impl Strategy<Value = Event> {
    let counts = (0..40_u64, 0..4_u64, 0..4_u64);
    let shadowed = counts.prop_map(|(equal, different, failed)| Shadowed {
        compared: equal + different + failed,
        different,
        failed,
    });
    let side = (0..3_u64, 0..150_u64, 0..20_u64, 0..40_u64, 0..40_u64);
    let side = side.prop_map(|(open, succeeded, failed, median, more)| Side {
        open,
        succeeded,
        failed,
        median: Duration::from_millis(median),
        p99: Duration::from_millis(median + more),
    });
    let canaried = (side.clone(), side).prop_map(|(old, new)| Canaried { old, new });
    prop_oneof![
        3 => Just(Event::Prepared),
        3 => any::<bool>().prop_map(Event::Begin),
        6 => shadowed.prop_map(Event::Shadowed),
        6 => canaried.prop_map(Event::Canaried),
        1 => Just(Event::Stop),
        2 => Just(Event::Switched),
    ]
}

fn specs() -> impl Strategy<Value = ReloadSpec> {
    let times = (1..2000_u64).prop_map(Duration::from_millis);
    let shadow = (1..40_u64, 0..4_u64, times.clone())
        .prop_map(|(requests, mismatches, time)| shadow(requests, mismatches, time));
    let canary = (1..200_u64, times).prop_map(|(requests, time)| canary(requests, time));
    (prop::option::of(shadow), prop::option::of(canary))
        .prop_map(|(shadow, canary)| ReloadSpec { shadow, canary })
}

/// What may come right after a phase.
fn next(phase: Phase) -> &'static [Phase] {
    match phase {
        Phase::Preparing => &[Phase::Warm, Phase::Rejected],
        Phase::Warm => &[
            Phase::Shadowing,
            Phase::Canary,
            Phase::Switching,
            Phase::Rejected,
        ],
        Phase::Shadowing => &[Phase::Canary, Phase::Switching, Phase::Rejected],
        Phase::Canary => &[Phase::Switching, Phase::RolledBack],
        Phase::Switching => &[Phase::Switched, Phase::Rejected, Phase::RolledBack],
        Phase::Switched | Phase::Rejected | Phase::RolledBack => &[],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_epoch_goes_its_way_and_ends_once(
        spec in specs(), events in prop::collection::vec((0..800_u64, events()), 0..40)
    ) {
        let mut swap = Swap::new(spec.clone());
        let mut now = Instant::now();
        let (mut phase, mut has_served, mut until) = (Phase::Preparing, false, None);
        for (later, event) in events {
            now += Duration::from_millis(later);
            let after = match &event {
                Event::Prepared => swap.prepared(),
                Event::Begin(tried) => swap.begin(now, *tried),
                Event::Shadowed(seen) => swap.shadowed(now, seen),
                Event::Canaried(seen) => swap.canaried(now, seen),
                Event::Stop => swap.stop("told to"),
                Event::Switched => swap.switched(),
            };
            prop_assert_eq!(after, swap.phase());
            prop_assert!(after == phase || next(phase).contains(&after), "{phase:?} to {after:?}");
            prop_assert!(!(phase.is_last() && after != phase));
            has_served |= after == Phase::Canary;
            let against = matches!(after, Phase::Rejected | Phase::RolledBack);
            prop_assert_eq!(against, !swap.reasons().is_empty());
            prop_assert!(after != Phase::Rejected || !has_served);
            prop_assert!(after != Phase::RolledBack || has_served);
            prop_assert!(after != Phase::Shadowing || spec.shadow.is_some());
            prop_assert!(after != Phase::Canary || spec.canary.is_some());
            // Looked at when its time is over, a trial ends.
            let time_max = match after {
                Phase::Shadowing => spec.shadow.as_ref().map(|spec| spec.time_max),
                Phase::Canary => spec.canary.as_ref().map(|spec| spec.time_max),
                _ => None,
            };
            if after != phase {
                until = time_max.map(|time_max| now + time_max);
            }
            let looked = match event {
                Event::Shadowed(_) => phase == Phase::Shadowing,
                Event::Canaried(_) => phase == Phase::Canary,
                _ => false,
            };
            prop_assert!(!looked || after != phase || until.is_some_and(|until| now < until));
            phase = after;
        }
    }

    #[test]
    fn a_trial_is_over_within_its_times_whatever_is_seen(
        spec in specs(), shadowed in prop::collection::vec(events(), 0..20)
    ) {
        let mut swap = Swap::new(spec.clone());
        swap.prepared();
        let began = Instant::now();
        swap.begin(began, true);
        let shadow_max = spec.shadow.as_ref().map_or(Duration::ZERO, |spec| spec.time_max);
        let canary_max = spec.canary.as_ref().map_or(Duration::ZERO, |spec| spec.time_max);
        for event in shadowed {
            if let Event::Shadowed(seen) = event {
                swap.shadowed(began, &seen);
            }
        }
        swap.shadowed(began + shadow_max, &Shadowed::default());
        prop_assert_ne!(swap.phase(), Phase::Shadowing);
        swap.canaried(began + shadow_max + canary_max, &Canaried::default());
        let phase = swap.phase();
        prop_assert!(phase == Phase::Switching || phase.is_last(), "{phase:?}");
    }
}

fn begun(spec: ReloadSpec, now: Instant) -> Swap {
    let mut swap = Swap::new(spec);
    swap.prepared();
    swap.begin(now, true);
    swap
}

#[test]
fn without_a_trial_it_takes_over_at_once() {
    let now = Instant::now();
    assert_eq!(begun(ReloadSpec::default(), now).phase(), Phase::Switching);
    let mut swap = Swap::new(ReloadSpec {
        shadow: Some(shadow(1, 0, SECOND)),
        canary: None,
    });
    swap.prepared();
    assert_eq!(
        swap.begin(now, false),
        Phase::Switching,
        "nothing to try it on"
    );
    assert_eq!(swap.switched(), Phase::Switched);
}

#[test]
fn shadows_judge_by_count_and_by_time() {
    let now = Instant::now();
    let spec = ReloadSpec {
        shadow: Some(shadow(10, 1, SECOND)),
        canary: Some(canary(10, SECOND)),
    };
    let seen = |compared, different, failed| Shadowed {
        compared,
        different,
        failed,
    };
    let after = |later: Duration, seen: Shadowed| {
        let mut swap = begun(spec.clone(), now);
        (swap.shadowed(now + later, &seen), swap.reasons().concat())
    };
    let soon = SECOND / 2;
    assert_eq!(after(soon, seen(9, 1, 0)).0, Phase::Shadowing);
    assert_eq!(after(soon, seen(10, 0, 1)).0, Phase::Canary);
    assert_eq!(
        after(SECOND, seen(0, 0, 0)).0,
        Phase::Canary,
        "too little, and time is over"
    );
    let (phase, reason) = after(soon, seen(7, 1, 1));
    assert_eq!(phase, Phase::Rejected);
    assert!(
        reason.contains("of 7 shadowed requests 1 got another answer and 1 failed"),
        "{reason}"
    );
}

fn side(succeeded: u64, failed: u64, median_ms: u64, p99_ms: u64) -> Side {
    Side {
        open: 0,
        succeeded,
        failed,
        median: Duration::from_millis(median_ms),
        p99: Duration::from_millis(p99_ms),
    }
}

#[test]
fn a_canary_is_judged_by_failures_and_latencies_beside_the_old_one() {
    let now = Instant::now();
    let spec = ReloadSpec {
        shadow: None,
        canary: Some(canary(200, SECOND)),
    };
    let after = |later: Duration, old: Side, new: Side| {
        let mut swap = begun(spec.clone(), now);
        let phase = swap.canaried(now + later, &Canaried { old, new });
        (phase, swap.reasons().join("; "))
    };
    let soon = SECOND / 2;
    let old = side(200, 10, 10, 20);
    assert_eq!(after(soon, old, side(199, 0, 10, 20)).0, Phase::Canary);
    assert_eq!(
        after(soon, old, side(200, 0, 20, 40)).0,
        Phase::Switching,
        "as slow as allowed"
    );
    for (old, new, told) in [
        (
            old,
            side(200, 0, 21, 40),
            "the median of the latency is 21.0 ms, of the old one 10.0 ms",
        ),
        (
            old,
            side(200, 0, 10, 41),
            "the 99th percentile of the latency is 41.0 ms",
        ),
        (
            old,
            side(160, 40, 10, 20),
            "40 of 200 requests failed, of the old one 10 of 210",
        ),
        // It cannot become good any more.
        (old, side(5, 30, 10, 20), "30 of 35 requests failed"),
    ] {
        let (phase, reasons) = after(soon, old, new);
        assert_eq!(phase, Phase::RolledBack, "{told}");
        assert!(reasons.contains(told), "{told:?} not in {reasons}");
    }
    // What is common to both sides is not held against it.
    let failing = side(160, 40, 10, 20);
    assert_eq!(
        after(soon, failing, side(150, 50, 10, 20)).0,
        Phase::Switching
    );
    // Of few answers the slowest says little.
    let few = side(P99_ANSWERS_MIN - 1, 0, 10, 500);
    assert_eq!(after(SECOND, old, few).0, Phase::Switching);
    let fewer = side(MEDIAN_ANSWERS_MIN - 1, 0, 500, 500);
    assert_eq!(after(SECOND, old, fewer).0, Phase::Switching);
    assert_eq!(
        after(SECOND, Side::default(), Side::default()).0,
        Phase::Switching,
        "no traffic"
    );
    let stuck = Side {
        open: 3,
        ..Side::default()
    };
    let (phase, reasons) = after(SECOND, old, stuck);
    assert_eq!(phase, Phase::RolledBack);
    assert!(
        reasons.contains("none of 3 requests was answered"),
        "{reasons}"
    );
}

#[test]
fn latencies_that_nobody_notices_are_alike() {
    let now = Instant::now();
    let spec = ReloadSpec {
        shadow: None,
        canary: Some(canary(100, SECOND)),
    };
    let of = |time: Duration| Side {
        median: time,
        p99: time,
        ..side(100, 0, 0, 0)
    };
    let old = of(Duration::from_micros(50));
    for (time, phase) in [
        (old.median + LATENCY_SLACK, Phase::Switching),
        (
            old.median + LATENCY_SLACK + Duration::from_micros(1),
            Phase::RolledBack,
        ),
    ] {
        let mut swap = begun(spec.clone(), now);
        assert_eq!(
            swap.canaried(now, &Canaried { old, new: of(time) }),
            phase,
            "{time:?}"
        );
    }
}

#[test]
fn a_stop_ends_it_unless_it_has_taken_over() {
    let now = Instant::now();
    let spec = ReloadSpec {
        shadow: Some(shadow(1, 0, SECOND)),
        canary: Some(canary(1, SECOND)),
    };
    assert_eq!(Swap::new(spec.clone()).stop("why"), Phase::Rejected);
    let mut swap = begun(spec, now);
    swap.shadowed(now + SECOND, &Shadowed::default());
    assert_eq!(swap.stop("why"), Phase::RolledBack);
    assert_eq!(swap.reasons(), ["why"]);
    assert_eq!(swap.switched(), Phase::RolledBack);
    let mut swap = begun(ReloadSpec::default(), now);
    swap.switched();
    assert_eq!(swap.stop("why"), Phase::Switched);
}
