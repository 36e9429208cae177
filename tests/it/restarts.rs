//! When a failed block is rebuilt, and when it is given up.

use std::time::{Duration, Instant};

use blockflow::sched::{Restart, RestartPolicy};
use blockflow::types::RestartSpec;
use proptest::prelude::*;

const SPEC: RestartSpec = RestartSpec {
    budget: 3,
    window: Duration::from_secs(10),
    backoff_min: Duration::from_millis(100),
    backoff_max: Duration::from_millis(350),
};

fn wait_of(restart: Restart) -> Duration {
    match restart {
        Restart::After(wait) => wait,
        Restart::GiveUp => panic!("given up"),
    }
}

#[test]
fn the_wait_doubles_up_to_its_limit() {
    let now = Instant::now();
    let mut policy = RestartPolicy::new(SPEC);
    let waits: Vec<_> = (0..3)
        .map(|_| wait_of(policy.on_failure(now, 0)).as_millis())
        .collect();
    assert_eq!(waits, [100, 200, 350]);
}

#[test]
fn one_failure_more_than_the_budget_gives_up() {
    let now = Instant::now();
    let mut policy = RestartPolicy::new(SPEC);
    for _ in 0..3 {
        assert_ne!(policy.on_failure(now, 0), Restart::GiveUp);
    }
    assert_eq!(policy.on_failure(now, 0), Restart::GiveUp);
}

#[test]
fn failures_outside_of_the_window_are_forgotten() {
    let start = Instant::now();
    let mut policy = RestartPolicy::new(SPEC);
    for second in [0, 4, 8, 12, 16, 20, 24] {
        let restart = policy.on_failure(start + Duration::from_secs(second), 0);
        assert_ne!(restart, Restart::GiveUp, "at {second} s");
    }
}

#[test]
fn without_a_budget_the_first_failure_gives_up() {
    let mut policy = RestartPolicy::new(RestartSpec { budget: 0, ..SPEC });
    assert_eq!(policy.on_failure(Instant::now(), 0), Restart::GiveUp);
}

proptest! {
    #[test]
    fn jitter_shortens_the_wait_by_a_quarter_at_most(jitter in any::<u32>()) {
        let wait = wait_of(RestartPolicy::new(SPEC).on_failure(Instant::now(), jitter));
        prop_assert!(wait <= SPEC.backoff_min);
        prop_assert!(wait >= SPEC.backoff_min * 3 / 4);
    }
}
