//! Joining the inputs of a step, and remembering what was cancelled.

use blockflow::sched::{Joiner, Recent};
use proptest::prelude::*;

#[test]
fn a_step_is_complete_when_its_last_input_arrives() {
    let mut joiner = Joiner::new();
    assert_eq!(joiner.offer(1, 3, vec![(2, "c")]), None);
    assert_eq!(joiner.offer(2, 3, vec![(0, "x")]), None);
    assert_eq!(
        joiner.offer(1, 3, vec![(0, "a"), (1, "b")]),
        Some(vec!["a", "b", "c"])
    );
    assert_eq!(joiner.len(), 1);
}

#[test]
fn a_step_without_inputs_is_complete_at_once() {
    assert_eq!(
        Joiner::<u8, ()>::new().offer(1, 0, Vec::new()),
        Some(Vec::new())
    );
}

#[test]
fn a_port_that_does_not_exist_is_ignored() {
    let mut joiner = Joiner::new();
    assert_eq!(joiner.offer(1, 1, vec![(7, "z")]), None);
    assert_eq!(joiner.offer(1, 1, vec![(0, "a")]), Some(vec!["a"]));
}

#[test]
fn what_is_not_kept_is_forgotten() {
    let mut joiner = Joiner::new();
    joiner.offer(1, 2, vec![(0, "a")]);
    joiner.offer(2, 2, vec![(0, "a")]);
    joiner.retain(|key| *key == 2);
    assert_eq!(joiner.offer(1, 2, vec![(1, "b")]), None);
    assert_eq!(joiner.offer(2, 2, vec![(1, "b")]), Some(vec!["a", "b"]));
}

proptest! {
    #[test]
    fn any_order_of_arrival_completes_each_request_once(
        order in Just((0..5_u8).flat_map(|key| (0..4_u16).map(move |port| (key, port))).collect::<Vec<_>>())
            .prop_shuffle()
    ) {
        let mut joiner = Joiner::new();
        let mut complete = Vec::new();
        for (key, port) in order {
            if let Some(values) = joiner.offer(key, 4, vec![(port, (key, port))]) {
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
