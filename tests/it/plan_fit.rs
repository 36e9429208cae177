//! Whether another configuration fits beside the one of now: both overlap if and only if there is room, and no step takes more than
//! there is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blockflow::graph::Digest;
use blockflow::plan::{Fit, Need, Strategy as Way, fit, overall};
use blockflow::types::{Device, DeviceSpec};
use proptest::prelude::*;

fn digest(number: u8) -> Digest {
    Digest::of("test", &[number])
}

fn form(name: &str, bytes: u64) -> BTreeMap<String, u64> {
    BTreeMap::from([(name.to_owned(), bytes)])
}

/// A block of the main process on `sim:0`; plain weights by what is in them.
fn need(name: &str, weights: &[(u8, u64)], workspace: u64) -> Need {
    let parts: Vec<u8> = weights
        .iter()
        .flat_map(|(content, bytes)| [*content, bytes.to_le_bytes()[0]])
        .collect();
    Need {
        block: name.to_owned(),
        identity: Digest::of(name, &parts),
        device: Device::Sim(0),
        process: "main".to_owned(),
        weights: weights
            .iter()
            .map(|(content, bytes)| (digest(*content), form("plain", *bytes)))
            .collect(),
        workspace,
        load: Duration::from_secs(3),
    }
}

fn limited(device: Device, bytes: u64) -> DeviceSpec {
    DeviceSpec {
        memory_bytes: Some(bytes),
        copy_bytes_per_s: Some(100),
        ..DeviceSpec::unbounded(device)
    }
}

fn only(fits: &[Fit]) -> Fit {
    let [only] = fits else { panic!("{fits:?}") };
    *only
}

#[test]
fn weights_that_both_have_are_there_once() {
    let old = [need("a", &[(1, 50), (2, 10)], 4)];
    let new = [need("a", &[(1, 50), (3, 10)], 4)];
    let fits = fit(&old, &new, &[limited(Device::Sim(0), 78)]).unwrap();
    let only = only(&fits);
    assert_eq!(only.strategy, Way::Overlap);
    assert_eq!((only.before, only.both, only.after), (64, 78, 64));
    assert_eq!(only.pause, Duration::ZERO);
}

#[test]
fn one_byte_less_has_requests_wait() {
    let old = [need("a", &[(1, 50), (2, 10)], 4)];
    let new = [need("a", &[(1, 50), (3, 10)], 4)];
    let only = only(&fit(&old, &new, &[limited(Device::Sim(0), 77)]).unwrap());
    // The block goes as a whole, and comes as a whole: 60 bytes either way at 100 a second.
    assert_eq!((only.strategy, only.between), (Way::StageOnHost, 0));
    assert_eq!(only.pause, Duration::from_millis(1200));
}

#[test]
fn blocks_that_stay_neither_go_nor_come() {
    let stays = need("stays", &[(9, 30)], 1);
    let old = [stays.clone(), need("a", &[(1, 50)], 1)];
    let new = [stays, need("a", &[(2, 50)], 1)];
    let only = only(&fit(&old, &new, &[limited(Device::Sim(0), 100)]).unwrap());
    assert_eq!((only.strategy, only.between), (Way::StageOnHost, 30));
    assert_eq!(only.pause, Duration::from_secs(1));
}

#[test]
fn where_the_host_has_no_room_either_the_old_go_first() {
    let old = [need("a", &[(1, 50)], 0)];
    let new = [need("a", &[(2, 50)], 0)];
    let host = |bytes| {
        let devices = [limited(Device::Sim(0), 60), limited(Device::Cpu, bytes)];
        only(&fit(&old, &new, &devices).unwrap())
    };
    assert_eq!(host(100).strategy, Way::StageOnHost);
    let evicted = host(99);
    assert_eq!(evicted.strategy, Way::EvictFirst);
    // What the copy takes, and what loading the old one took.
    assert_eq!(evicted.pause, Duration::from_millis(3500));
}

#[test]
fn blocks_of_the_host_and_of_workers_cannot_wait_there() {
    let on = |device, process: &str, content| Need {
        device,
        process: process.to_owned(),
        ..need("a", &[(content, 50)], 0)
    };
    for (device, process) in [(Device::Cpu, "main"), (Device::Sim(0), "apart")] {
        let (old, new) = ([on(device, process, 1)], [on(device, process, 2)]);
        let only = only(&fit(&old, &new, &[limited(device, 99)]).unwrap());
        assert_eq!(only.strategy, Way::EvictFirst);
    }
    // A worker process shares nothing with the one that takes its place.
    let same = [on(Device::Sim(0), "apart", 1)];
    let only = only(&fit(&same, &same, &[limited(Device::Sim(0), 100)]).unwrap());
    assert_eq!((only.strategy, only.both), (Way::Overlap, 100));
}

#[test]
fn what_does_not_fit_at_all_is_refused_with_numbers() {
    let new = [need("a", &[(1, 50)], 2), need("b", &[(1, 50), (2, 20)], 3)];
    let misfits = fit(&[], &new, &[limited(Device::Sim(0), 74)]).unwrap_err();
    let told = misfits[0].to_string();
    assert_eq!(
        told,
        "device sim:0 has room for 74 bytes, and its blocks need 75 (\"a\" 52, \"b\" 73): place fewer there, or raise \
         memory_mb of devices.\"sim:0\""
    );
}

#[test]
fn each_form_of_a_content_is_there_once_and_a_guess_stands_for_all_of_them() {
    let holding = |name: &str, weights| Need {
        weights: BTreeMap::from([(digest(1), weights)]),
        ..need(name, &[], 0)
    };
    let plain = holding("plain", form("plain", 10));
    let packed = holding("packed", form("packed", 12));
    let [small, large] = [15, 30].map(|bytes| holding("guessed", form("", bytes)));
    let after = |needs: &[&Need]| {
        let needs: Vec<_> = needs.iter().map(|&need| need.clone()).collect();
        only(&fit(&[], &needs, &[]).unwrap()).after
    };
    assert_eq!(after(&[&plain, &packed, &plain]), 22);
    assert_eq!(after(&[&plain, &small]), 15);
    assert_eq!(after(&[&plain, &packed, &small]), 22);
    assert_eq!(after(&[&small, &plain, &packed, &large]), 30);
    // What both sides have in another form each, both hold for a while.
    let fits = fit(&[plain], &[packed], &[limited(Device::Sim(0), 21)]).unwrap();
    assert_eq!((only(&fits).both, only(&fits).after), (22, 12));
    assert_eq!(only(&fits).strategy, Way::StageOnHost);
}

#[test]
fn without_a_limit_both_overlap() {
    let old = [need("a", &[(1, u64::MAX)], 0)];
    let new = [need("a", &[(2, u64::MAX)], 0)];
    let fits = fit(&old, &new, &[]).unwrap();
    assert_eq!(overall(&fits), Way::Overlap);
}

fn needs() -> impl Strategy<Value = Vec<Need>> {
    let device = prop_oneof![Just(Device::Cpu), (0_u16..2).prop_map(Device::Sim)];
    let process = prop::sample::select(vec!["main", "main", "apart", "away"]);
    let weights = prop::collection::btree_set((0_u8..6, 0_u8..2), 0..4);
    let block = (0_u8..4, device, process, weights, 0_u64..10);
    prop::collection::btree_map(0_u8..4, block, 0..4).prop_map(|blocks| {
        let blocks = blocks.into_values();
        blocks
            .map(|(name, device, process, weights, workspace)| {
                // A content has one size in a form.
                let weights: Vec<_> = weights
                    .into_iter()
                    .map(|(content, form)| (content, u64::from(content * 7 + form * 3 + 1)))
                    .collect();
                let mut made = need(&format!("b{name}"), &weights, workspace);
                made.weights.clear();
                for (content, bytes) in weights {
                    let forms = made.weights.entry(digest(content)).or_default();
                    forms.insert(format!("{bytes} bytes"), bytes);
                }
                Need {
                    device,
                    process: process.to_owned(),
                    ..made
                }
            })
            .collect()
    })
}

/// A model of devices: what is there at a moment, by block.
#[derive(Default)]
struct Bench<'a> {
    /// Side, block and whether its sessions are there.
    there: Vec<(u8, &'a Need, bool)>,
}

impl Bench<'_> {
    fn held(&self, device: Device) -> u64 {
        let mut weights = BTreeMap::new();
        let mut workspace = 0;
        for (side, need, sessions) in &self.there {
            if need.device != device {
                continue;
            }
            let apart = need.process != "main";
            // Workers of one side are not those of the other.
            let owner = apart.then_some((*side, need.process.as_str()));
            for (content, forms) in &need.weights {
                for (form, bytes) in forms {
                    weights.insert((owner, *content, form.as_str()), *bytes);
                }
            }
            workspace += if *sessions { need.workspace } else { 0 };
        }
        weights.into_values().sum::<u64>() + workspace
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_step_of_any_order_takes_more_than_there_is(
        old in needs(), new in needs(), limits in prop::collection::vec(0_u64..250, 3), order in any::<u64>()
    ) {
        let devices = [Device::Cpu, Device::Sim(0), Device::Sim(1)];
        let specs: Vec<_> = devices.iter().zip(&limits).map(|(device, limit)| limited(*device, *limit)).collect();
        let all = |side: u8, needs: &[Need]| -> Vec<(u8, Need)> { needs.iter().map(|need| (side, need.clone())).collect() };
        let (olds, news) = (all(0, &old), all(1, &new));
        let bench = |olds: &[(u8, Need)], news: &[(u8, Need)], device| {
            let there = olds.iter().chain(news).map(|(side, need)| (*side, need, true)).collect();
            Bench { there }.held(device)
        };
        let limit = |device: Device| specs.iter().find(|spec| spec.device == device).and_then(|spec| spec.memory_bytes).unwrap();
        let too_much: Vec<_> = devices.iter().filter(|device| bench(&[], &news, **device) > limit(**device)).collect();
        let decided = fit(&old, &new, &specs);
        prop_assert_eq!(decided.is_err(), !too_much.is_empty());
        let Ok(fits) = decided else { return Ok(()) };
        let used: BTreeSet<_> = old.iter().chain(&new).map(|need| need.device).collect();
        prop_assert_eq!(fits.iter().map(|fit| fit.device).collect::<BTreeSet<_>>(), used);
        for fit in &fits {
            let both = bench(&olds, &news, fit.device);
            prop_assert_eq!(fit.both, both);
            prop_assert_eq!(fit.before, bench(&olds, &[], fit.device));
            prop_assert_eq!(fit.after, bench(&[], &news, fit.device));
            // Overlap if and only if there is room for it.
            prop_assert_eq!(fit.strategy == Way::Overlap, both <= limit(fit.device));
            // However blocks come one after the other, and whichever of them.
            let part: Vec<_> = news.iter().enumerate().filter(|(place, _)| order >> (place % 64) & 1 == 1).map(|(_, need)| need.clone()).collect();
            let step = match fit.strategy {
                Way::Overlap => bench(&olds, &part, fit.device),
                Way::StageOnHost | Way::EvictFirst => bench(&[], &part, fit.device).max(fit.between),
            };
            prop_assert!(step <= limit(fit.device), "{step} of {fit}");
            if fit.strategy == Way::StageOnHost {
                prop_assert!(fit.device != Device::Cpu);
                prop_assert!(new.iter().filter(|need| need.device == fit.device).all(|need| need.process == "main"));
            }
        }
        // What waits on the host has room there beside all that the host holds.
        let staged = fits.iter().filter(|fit| fit.strategy == Way::StageOnHost);
        let waiting: u64 = staged.map(|fit| {
            let weights = |side: &[(u8, Need)]| {
                let there = side.iter().map(|(side, need)| (*side, need, false)).collect();
                Bench { there }.held(fit.device)
            };
            weights(&olds) + weights(&news) - 2 * fit.between
        }).sum();
        if waiting > 0 {
            prop_assert!(bench(&olds, &news, Device::Cpu) + waiting <= limit(Device::Cpu));
        }
    }
}
