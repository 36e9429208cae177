//! When batches close, with time as a value.

use std::time::{Duration, Instant};

use blockflow::sched::{Batcher, Decision, Item, Limits};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

fn item(key: u8, rows: usize, arrived: Instant, deadline: Instant, content: u32) -> Item<u8, u32> {
    Item {
        key,
        rows,
        solo: false,
        arrived,
        deadline,
        content,
    }
}

fn batcher(rows_max: usize, wait: Duration) -> Batcher<u8, u32> {
    Batcher::new(Limits { rows_max, wait })
}

fn all(_: &u32) -> bool {
    true
}

fn contents(batch: Vec<Item<u8, u32>>) -> Vec<u32> {
    batch.into_iter().map(|item| item.content).collect()
}

#[test]
fn nothing_waiting_is_idle() {
    assert_eq!(
        batcher(4, MS).decide(Instant::now(), MS, all),
        Decision::Idle
    );
}

#[test]
fn a_full_batch_closes_at_once() {
    let now = Instant::now();
    let mut batcher = batcher(2, 100 * MS);
    batcher.push(item(0, 1, now, now + 1000 * MS, 1));
    assert_eq!(batcher.decide(now, MS, all), Decision::Wait(now + 100 * MS));
    batcher.push(item(0, 1, now, now + 1000 * MS, 2));
    assert_eq!(batcher.decide(now, MS, all), Decision::Run(0));
    assert_eq!(contents(batcher.take(0, all)), [1, 2]);
}

#[test]
fn the_oldest_item_waits_no_longer_than_allowed() {
    let now = Instant::now();
    let mut batcher = batcher(8, 5 * MS);
    batcher.push(item(0, 1, now, now + 1000 * MS, 1));
    assert_eq!(
        batcher.decide(now + 4 * MS, MS, all),
        Decision::Wait(now + 5 * MS)
    );
    assert_eq!(batcher.decide(now + 5 * MS, MS, all), Decision::Run(0));
}

#[test]
fn a_batch_closes_before_a_deadline_would_be_missed() {
    let now = Instant::now();
    let mut batcher = batcher(8, 100 * MS);
    batcher.push(item(0, 1, now, now + 1000 * MS, 1));
    batcher.push(item(0, 1, now, now + 42 * MS, 2));
    assert_eq!(
        batcher.decide(now, 10 * MS, all),
        Decision::Wait(now + 20 * MS)
    );
    assert_eq!(
        batcher.decide(now + 20 * MS, 10 * MS, all),
        Decision::Run(0)
    );
}

#[test]
fn an_item_larger_than_the_batch_runs_alone() {
    let now = Instant::now();
    let mut batcher = batcher(4, 100 * MS);
    batcher.push(item(0, 9, now, now + 1000 * MS, 1));
    batcher.push(item(0, 1, now, now + 1000 * MS, 2));
    assert_eq!(batcher.decide(now, MS, all), Decision::Run(0));
    assert_eq!(contents(batcher.take(0, all)), [1]);
}

#[test]
fn items_of_another_key_do_not_join_and_keep_their_turn() {
    let now = Instant::now();
    let mut batcher = batcher(8, Duration::ZERO);
    for (key, content) in [(0, 1), (1, 2), (0, 3), (1, 4)] {
        batcher.push(item(key, 1, now, now + 1000 * MS, content));
    }
    assert_eq!(contents(batcher.take(0, all)), [1, 3]);
    assert_eq!(contents(batcher.take(0, all)), [2, 4]);
    assert!(batcher.is_empty());
}

#[test]
fn expired_items_come_back_and_are_never_run() {
    let now = Instant::now();
    let mut batcher = batcher(8, Duration::ZERO);
    batcher.push(item(0, 1, now, now + MS, 1));
    batcher.push(item(0, 1, now, now + 50 * MS, 2));
    assert_eq!(batcher.next_expiry(), Some(now + MS));
    assert_eq!(contents(batcher.expire(now + MS)), [1]);
    assert_eq!(contents(batcher.take(0, all)), [2]);
}

#[test]
fn a_full_batch_of_one_key_does_not_wait_for_an_older_item_of_another() {
    let now = Instant::now();
    let mut batcher = batcher(2, 100 * MS);
    for (key, content) in [(0, 1), (1, 2), (1, 3)] {
        batcher.push(item(key, 1, now, now + 1000 * MS, content));
    }
    assert_eq!(batcher.decide(now, MS, all), Decision::Run(1));
    assert_eq!(contents(batcher.take(1, all)), [2, 3]);
    assert_eq!(batcher.decide(now, MS, all), Decision::Wait(now + 100 * MS));
}

#[test]
fn a_deadline_of_a_later_key_closes_its_batch_in_time() {
    let now = Instant::now();
    let mut batcher = batcher(8, 200 * MS);
    batcher.push(item(0, 1, now, now + 1000 * MS, 1));
    batcher.push(item(1, 1, now, now + 24 * MS, 2));
    assert_eq!(batcher.decide(now, MS, all), Decision::Wait(now + 20 * MS));
    assert_eq!(batcher.decide(now + 20 * MS, MS, all), Decision::Run(1));
}

#[test]
fn items_that_are_not_eligible_are_passed_over_and_keep_their_place() {
    let now = Instant::now();
    let mut batcher = batcher(8, Duration::ZERO);
    for content in 1..=4 {
        batcher.push(item(0, 1, now, now + 1000 * MS, content));
    }
    let even = |content: &u32| content.is_multiple_of(2);
    assert_eq!(batcher.decide(now, MS, even), Decision::Run(1));
    assert_eq!(contents(batcher.take(1, even)), [2, 4]);
    assert_eq!(batcher.decide(now, MS, |_| false), Decision::Idle);
    assert_eq!(contents(batcher.take(0, all)), [1, 3]);
}

#[test]
fn a_solo_item_runs_at_once_and_alone() {
    let now = Instant::now();
    let mut batcher = batcher(8, 100 * MS);
    batcher.push(item(0, 1, now, now + 1000 * MS, 1));
    batcher.push_front(Item {
        solo: true,
        ..item(0, 1, now, now + 1000 * MS, 2)
    });
    assert_eq!(batcher.decide(now, MS, all), Decision::Run(0));
    assert_eq!(contents(batcher.take(0, all)), [2]);
    assert_eq!(batcher.decide(now, MS, all), Decision::Wait(now + 100 * MS));
}

#[test]
fn items_without_rows_count_as_one() {
    let now = Instant::now();
    let mut batcher = batcher(1, Duration::ZERO);
    batcher.push(item(0, 0, now, now + 1000 * MS, 1));
    batcher.push(item(0, 0, now, now + 1000 * MS, 2));
    assert_eq!(contents(batcher.take(0, all)), [1]);
    assert_eq!(contents(batcher.take(0, all)), [2]);
}

proptest! {
    #[test]
    fn every_item_is_taken_exactly_once_and_batches_hold_the_bounds(
        rows_max in 1_usize..6,
        items in prop::collection::vec((0_u8..3, 0_usize..8), 0..40),
    ) {
        let now = Instant::now();
        let mut batcher = batcher(rows_max, Duration::ZERO);
        for (content, (key, rows)) in (0..).zip(&items) {
            batcher.push(item(*key, *rows, now, now + 1000 * MS, content));
        }
        let mut taken = Vec::new();
        while !batcher.is_empty() {
            prop_assert_eq!(batcher.decide(now, Duration::ZERO, all), Decision::Run(0));
            let batch = batcher.take(0, all);
            let rows: usize = batch.iter().map(|item| item.rows.max(1)).sum();
            prop_assert!(rows <= rows_max || batch.len() == 1);
            prop_assert!(batch.iter().all(|item| item.key == batch[0].key));
            taken.extend(batch);
        }
        for key in 0..3 {
            let of_key: Vec<_> = taken.iter().filter(|item| item.key == key).map(|item| item.content).collect();
            prop_assert!(of_key.is_sorted(), "order of key {} is {:?}", key, of_key);
        }
        let mut all = contents(taken);
        all.sort_unstable();
        prop_assert_eq!(all, (0..items.len() as u32).collect::<Vec<_>>());
    }
}
