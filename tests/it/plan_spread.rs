//! Devices that the configuration leaves open: chosen for room first, then so that blocks that belong together stay together.

use std::collections::BTreeMap;
use std::time::Duration;

use blockflow::graph::Digest;
use blockflow::plan::{Candidate, Flow, Need, Seating, spread};
use blockflow::types::{Device, DeviceSpec};
use proptest::prelude::*;

fn weights(name: &str) -> Digest {
    Digest::of("weights", name.as_bytes())
}

fn plain(bytes: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([("plain".to_owned(), bytes)])
}

/// A block with weights of its own.
fn block(name: &str, bytes: u64) -> Candidate {
    Candidate {
        need: Need {
            block: name.into(),
            identity: weights(name),
            device: Device::Cpu,
            process: "main".into(),
            weights: BTreeMap::from([(weights(name), plain(bytes))]),
            workspace: 0,
            load: Duration::ZERO,
        },
        fixed: None,
        present: None,
        work: 1,
    }
}

fn flow(from: usize, to: usize, bytes: u64) -> Flow {
    Flow { from, to, bytes }
}

fn sim(ordinal: u16, limit: Option<u64>) -> DeviceSpec {
    DeviceSpec {
        memory_bytes: limit,
        ..DeviceSpec::unbounded(Device::Sim(ordinal))
    }
}

fn devices(seats: &[Seating]) -> Vec<Device> {
    seats.iter().map(|seat| seat.device).collect()
}

/// Bytes of each block, as every block of these tests has weights of its own.
fn bytes(block: &Candidate) -> u64 {
    let forms = block.need.weights.values();
    forms.flat_map(BTreeMap::values).sum::<u64>() + block.need.workspace
}

/// What a device holds, without any cleverness.
fn held(blocks: &[Candidate], seats: &[Seating], device: Device) -> u64 {
    let there = blocks.iter().zip(seats);
    let there = there.filter(|(_, seat)| seat.device == device);
    there.map(|(block, _)| bytes(block)).sum()
}

/// First fit, largest first, of blocks that are to be placed. `None`: there is no room that way.
fn first_fit(blocks: &[Candidate], devices: &[DeviceSpec]) -> Option<()> {
    let mut rooms: Vec<u64> = devices
        .iter()
        .map(|spec| {
            let fixed = blocks
                .iter()
                .filter(|block| block.fixed.is_some() && block.need.device == spec.device);
            let taken: u64 = fixed.map(bytes).sum();
            spec.memory_bytes.unwrap_or(u64::MAX).saturating_sub(taken)
        })
        .collect();
    let mut open: Vec<u64> = blocks
        .iter()
        .filter(|block| block.fixed.is_none())
        .map(bytes)
        .collect();
    open.sort_unstable_by(|one, other| other.cmp(one));
    for size in open {
        *rooms.iter_mut().find(|room| **room >= size)? -= size;
    }
    Some(())
}

#[derive(Debug, Clone)]
struct Question {
    blocks: Vec<Candidate>,
    flows: Vec<Flow>,
    devices: Vec<DeviceSpec>,
}

fn question() -> impl Strategy<Value = Question> {
    let limits = prop::collection::vec(prop::option::weighted(0.8, 20..120_u64), 1..4);
    let placed = prop::option::weighted(0.3, 0..4_u16);
    let blocks = prop::collection::vec(
        (0..40_u64, placed, prop::bool::weighted(0.15), 0..9_u64),
        0..9,
    );
    let flows = prop::collection::vec((0..9_usize, 0..9_usize, 1..99_u64), 0..9);
    (limits, blocks, flows).prop_map(|(limits, blocks, flows)| {
        let count = blocks.len();
        let blocks = blocks.into_iter().enumerate();
        let blocks = blocks.map(|(index, (size, place, fixed, work))| {
            let mut made = block(&format!("b{index}"), size);
            made.work = work;
            match place.map(Device::Sim) {
                Some(device) if fixed => {
                    made.fixed = Some("named".into());
                    made.need.device = device;
                }
                place => made.present = place,
            }
            made
        });
        let flows = flows
            .into_iter()
            .filter(|(from, to, _)| *from < count && *to < count);
        let limits = limits.into_iter().enumerate();
        Question {
            blocks: blocks.collect(),
            flows: flows
                .map(|(from, to, bytes)| flow(from, to, bytes))
                .collect(),
            devices: limits
                .map(|(ordinal, limit)| sim(u16::try_from(ordinal).unwrap(), limit))
                .collect(),
        }
    })
}

fn ask(question: &Question) -> Vec<Seating> {
    spread(&question.blocks, &question.flows, &question.devices)
}

proptest! {
    #[test]
    fn every_block_has_a_device_and_a_reason(question in question()) {
        let seats = ask(&question);
        prop_assert_eq!(seats.len(), question.blocks.len());
        for (block, seat) in question.blocks.iter().zip(&seats) {
            prop_assert!(!seat.reason.is_empty());
            if block.fixed.is_some() {
                prop_assert_eq!(seat.device, block.need.device);
            } else {
                prop_assert!(question.devices.iter().any(|spec| spec.device == seat.device));
            }
        }
    }

    #[test]
    fn no_limit_is_broken_where_first_fit_keeps_them(question in question()) {
        let seats = ask(&question);
        let fits = first_fit(&question.blocks, &question.devices).is_some();
        for spec in &question.devices {
            let fixed = question.blocks.iter().filter(|block| {
                block.fixed.is_some() && block.need.device == spec.device
            });
            let named: u64 = fixed.map(bytes).sum();
            // What the configuration names is not for this to move.
            let limit = spec.memory_bytes.unwrap_or(u64::MAX).max(named);
            let holds = held(&question.blocks, &seats, spec.device);
            prop_assert!(!fits || holds <= limit, "{} of {}: {:?}", holds, limit, seats);
        }
    }

    #[test]
    fn the_answer_depends_on_the_question_alone(question in question()) {
        prop_assert_eq!(ask(&question), ask(&question.clone()));
    }

    #[test]
    fn asked_again_every_block_stays_where_it_is(mut question in question()) {
        let first = devices(&ask(&question));
        let fits = first_fit(&question.blocks, &question.devices).is_some();
        for (block, device) in question.blocks.iter_mut().zip(&first) {
            block.present = Some(*device);
        }
        let again = devices(&ask(&question));
        prop_assert!(!fits || again == first, "{:?} {:?}", first, again);
    }

    #[test]
    fn blocks_that_exchange_tensors_stay_together_where_there_is_room(
        mut question in question()
    ) {
        for spec in &mut question.devices {
            spec.memory_bytes = None;
        }
        for block in &mut question.blocks {
            (block.fixed, block.present) = (None, None);
        }
        let seats = devices(&ask(&question));
        for flow in &question.flows {
            prop_assert_eq!(seats[flow.from], seats[flow.to], "{:?}", flow);
        }
    }
}

#[test]
fn chains_that_have_nothing_to_do_with_each_other_share_the_work() {
    let blocks = ["a", "b", "c", "d"].map(|name| block(name, 10));
    let flows = [flow(0, 1, 5), flow(2, 3, 5)];
    let seats = spread(&blocks, &flows, &[sim(0, None), sim(1, None)]);
    let [first, second] = [Device::Sim(0), Device::Sim(1)];
    assert_eq!(devices(&seats), [first, first, second, second]);
    assert_eq!(
        seats[0].reason,
        "together with 1 others, where the least is done"
    );
}

#[test]
fn work_counts_before_memory() {
    let mut blocks = ["light", "heavy", "next"].map(|name| block(name, 10));
    blocks[0].need.weights.insert(weights("more"), plain(20));
    blocks[1].work = 1000;
    let seats = spread(&blocks, &[], &[sim(0, None), sim(1, None)]);
    // The largest comes first, then the one with most work, and the last goes where less is done.
    assert_eq!(
        devices(&seats),
        [Device::Sim(0), Device::Sim(1), Device::Sim(0)]
    );
}

#[test]
fn a_chain_that_fits_nowhere_is_cut_where_few_bytes_cross() {
    let blocks = ["a", "b", "c", "d"].map(|name| block(name, 10));
    // Three fit on a device; the narrow place is after two.
    let flows = [flow(0, 1, 900), flow(1, 2, 1), flow(2, 3, 900)];
    let seats = spread(&blocks, &flows, &[sim(0, Some(30)), sim(1, Some(30))]);
    let [first, second] = [Device::Sim(0), Device::Sim(1)];
    assert_eq!(devices(&seats), [first, first, second, second]);
    assert!(seats[2].reason.starts_with("part 2 of"), "{seats:?}");
}

#[test]
fn a_new_block_goes_beside_those_that_it_exchanges_tensors_with() {
    let mut blocks = ["busy", "free", "new"].map(|name| block(name, 10));
    blocks[0].present = Some(Device::Sim(0));
    blocks[0].work = 1000;
    blocks[1].present = Some(Device::Sim(1));
    let all = [sim(0, None), sim(1, None)];
    let seats = spread(&blocks, &[flow(0, 2, 64)], &all);
    assert_eq!(seats[2].device, Device::Sim(0));
    assert!(seats[2].reason.contains("64 bytes"), "{seats:?}");
    let alone = spread(&blocks, &[], &all);
    assert_eq!(alone[2].device, Device::Sim(1));
    assert_eq!(alone[0].reason, "stays where it was");
}

#[test]
fn a_block_that_has_grown_too_large_moves_and_the_others_stay() {
    let mut blocks = ["small", "grown"].map(|name| block(name, 10));
    blocks[1] = block("grown", 50);
    for block in &mut blocks {
        block.present = Some(Device::Sim(0));
    }
    let seats = spread(&blocks, &[], &[sim(0, Some(55)), sim(1, Some(55))]);
    assert_eq!(devices(&seats), [Device::Sim(0), Device::Sim(1)]);
}

#[test]
fn weights_that_blocks_share_count_once() {
    let mut blocks = ["a", "b"].map(|name| block(name, 0));
    for block in &mut blocks {
        block.need.weights.insert(weights("backbone"), plain(40));
    }
    let flows = [flow(0, 1, 1)];
    let seats = spread(&blocks, &flows, &[sim(0, Some(50)), sim(1, Some(50))]);
    assert_eq!(devices(&seats), [Device::Sim(0), Device::Sim(0)]);
}

#[test]
fn what_fits_nowhere_is_told_so() {
    let blocks = [block("huge", 100), block("small", 5)];
    let seats = spread(&blocks, &[], &[sim(0, Some(20)), sim(1, Some(30))]);
    assert_eq!(seats[0].reason, "no device has room for it");
    assert_eq!(seats[0].device, Device::Sim(1));
    assert_eq!(seats[1].device, Device::Sim(0));
}
