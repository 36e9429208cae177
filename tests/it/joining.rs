//! Joining the inputs of a step, and remembering what was cancelled.

use std::time::{Duration, Instant};

use blockflow::sched::{Joiner, Recent};
use proptest::prelude::*;

const MANY: usize = 100;

fn at(second: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_secs(second)
}

#[test]
fn a_step_is_complete_when_its_last_input_arrives() {
    let mut joiner = Joiner::new(3, MANY);
    assert_eq!(joiner.offer(1, vec![(2, "c")], at(1)), None);
    assert_eq!(joiner.offer(2, vec![(0, "x")], at(1)), None);
    assert_eq!(
        joiner.offer(1, vec![(0, "a"), (1, "b")], at(1)),
        Some(vec!["a", "b", "c"])
    );
    assert_eq!(joiner.len(), 1);
}

#[test]
fn a_step_without_inputs_is_complete_at_once() {
    let mut joiner = Joiner::<u8, ()>::new(0, MANY);
    assert_eq!(joiner.offer(1, Vec::new(), at(1)), Some(Vec::new()));
}

#[test]
fn a_port_that_does_not_exist_is_ignored() {
    let mut joiner = Joiner::new(1, MANY);
    assert_eq!(joiner.offer(1, vec![(7, "z")], at(1)), None);
    assert_eq!(joiner.offer(1, vec![(0, "a")], at(1)), Some(vec!["a"]));
}

#[test]
fn what_is_not_kept_is_forgotten() {
    let mut joiner = Joiner::new(2, MANY);
    joiner.offer(1, vec![(0, "a")], at(1));
    joiner.offer(2, vec![(0, "a")], at(1));
    joiner.retain(|key| *key == 2);
    assert_eq!(joiner.offer(1, vec![(1, "b")], at(1)), None);
    let complete = joiner.offer(2, vec![(1, "b")], at(1));
    assert_eq!(complete, Some(vec!["a", "b"]));
}

#[test]
fn what_is_past_its_deadline_is_forgotten() {
    let mut joiner = Joiner::new(2, MANY);
    joiner.offer(1, vec![(0, "a")], at(3));
    joiner.offer(2, vec![(0, "a")], at(2));
    assert_eq!(joiner.next_expiry(), Some(at(2)));
    joiner.expire(at(2));
    assert_eq!((joiner.len(), joiner.next_expiry()), (1, Some(at(3))));
    let complete = joiner.offer(1, vec![(1, "b")], at(3));
    assert_eq!(complete, Some(vec!["a", "b"]));
}

#[test]
fn of_more_than_there_can_be_the_most_urgent_goes() {
    let mut joiner = Joiner::new(2, 3);
    for key in 0..1000 {
        joiner.offer(key, vec![(0, "a")], at(2000 - key));
        assert!(joiner.len() <= 3);
    }
    for key in 0..3 {
        let complete = joiner.offer(key, vec![(1, "b")], at(2000));
        assert_eq!(complete, Some(vec!["a", "b"]));
    }
}

proptest! {
    #[test]
    fn any_order_of_arrival_completes_each_request_once(
        order in Just((0..5_u8).flat_map(|key| (0..4_u16).map(move |port| (key, port))).collect::<Vec<_>>())
            .prop_shuffle()
    ) {
        let mut joiner = Joiner::new(4, 5);
        let mut complete = Vec::new();
        for (key, port) in order {
            if let Some(values) = joiner.offer(key, vec![(port, (key, port))], at(1)) {
                prop_assert_eq!(values, (0..4).map(|port| (key, port)).collect::<Vec<_>>());
                complete.push(key);
            }
        }
        complete.sort_unstable();
        prop_assert_eq!(complete, (0..5).collect::<Vec<_>>());
        prop_assert!(joiner.is_empty());
    }

    #[test]
    fn memory_of_the_recent_is_bounded_and_keeps_the_newest(
        capacity in 1_usize..10, keys in prop::collection::vec(0_u8..30, 0..100)
    ) {
        let mut recent = Recent::new(capacity);
        let mut distinct: Vec<u8> = Vec::new();
        for key in keys {
            recent.note(key);
            if !distinct.contains(&key) {
                distinct.push(key);
                let excess = distinct.len().saturating_sub(capacity);
                distinct.drain(..excess);
            }
        }
        for key in 0..30 {
            prop_assert_eq!(recent.contains(&key), distinct.contains(&key));
        }
    }
}
