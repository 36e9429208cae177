//! What is done about faults: every one is answered once, within the budget, and what was given up stays so.

use std::time::{Duration, Instant};

use blockflow::sched::{Doing, Remedy, Sight, Supervision, Ward, Watch};
use blockflow::types::{FaultKind, RestartSpec, StuckSpec};

/// Random schedules of faults, successes and stops.
const SCHEDULES: usize = 100_000;
const WARDS: [Ward; 3] = [Ward::Main, Ward::Worker, Ward::Process];

/// What comes next in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Fault,
    /// What was to be done anew is done; it works, or it fails at once.
    Due,
    Stop,
}

fn random_spec(random: &mut fastrand::Rng) -> RestartSpec {
    let backoff_min = Duration::from_millis(random.u64(1..500));
    RestartSpec {
        budget: random.usize(0..6),
        window: Duration::from_millis(random.u64(1..20_000)),
        backoff_min,
        backoff_max: backoff_min + Duration::from_millis(random.u64(0..2_000)),
    }
}

fn wait_of(remedy: Remedy) -> Option<Duration> {
    match remedy {
        Remedy::Rebuild(wait) | Remedy::Reopen(wait) | Remedy::Restart(wait) => Some(wait),
        Remedy::Await | Remedy::Replace | Remedy::GiveUp => None,
    }
}

/// Plays one schedule; returns how it ended.
fn play(random: &mut fastrand::Rng) -> Option<Remedy> {
    let (ward, spec) = (WARDS[random.usize(..3)], random_spec(random));
    let mut supervision = Supervision::new(ward, spec);
    let start = Instant::now();
    let mut agenda = vec![(start, Turn::Fault)];
    for _ in 0..random.usize(1..12) {
        let at = start + Duration::from_millis(random.u64(0..40_000));
        agenda.push((at, Turn::Fault));
    }
    if random.bool() {
        let at = start + Duration::from_millis(random.u64(0..40_000));
        agenda.push((at, Turn::Stop));
    }
    let mut anew: Vec<Instant> = Vec::new();
    let mut end = None;
    let (mut faults, mut remedies) = (0, 0);
    for _ in 0..200 {
        let next = agenda.iter().enumerate().min_by_key(|(_, turn)| **turn);
        let Some((place, &(now, turn))) = next else {
            break;
        };
        agenda.swap_remove(place);
        match turn {
            Turn::Stop => break,
            Turn::Due if random.u8(..3) > 0 => continue,
            Turn::Due | Turn::Fault => {}
        }
        let kind = FaultKind::ALL[random.usize(..FaultKind::ALL.len())];
        let decided = supervision.on_fault(kind, now, random.u32(..));
        if end.is_some() {
            assert_eq!(decided, None, "{ward:?} {kind:?}: it was over");
            assert!(supervision.is_over());
            continue;
        }
        faults += 1;
        let remedy = decided.expect("what is not over has a remedy");
        remedies += 1;
        match (ward, remedy) {
            (Ward::Process, Remedy::Rebuild(_) | Remedy::Reopen(_) | Remedy::Replace)
            | (Ward::Main | Ward::Worker, Remedy::Restart(_))
            | (Ward::Worker | Ward::Process, Remedy::Await) => {
                panic!("{ward:?} {kind:?}: {remedy:?}")
            }
            _ => {}
        }
        assert_eq!(
            matches!(remedy, Remedy::Reopen(_)),
            ward != Ward::Process && kind == FaultKind::Links && wait_of(remedy).is_some()
        );
        anew.retain(|&at| now - at <= spec.window);
        match wait_of(remedy) {
            Some(wait) => {
                anew.push(now);
                assert!(
                    anew.len() <= spec.budget,
                    "more than the budget in a window"
                );
                let doublings = 1 << (anew.len() - 1);
                let full = (spec.backoff_min * doublings).min(spec.backoff_max);
                assert!(wait <= full && wait >= full * 3 / 4, "{wait:?} of {full:?}");
                agenda.push((now + wait, Turn::Due));
            }
            None if remedy == Remedy::GiveUp => {
                assert_eq!(anew.len(), spec.budget, "given up too early");
            }
            None => {}
        }
        if matches!(remedy, Remedy::GiveUp | Remedy::Replace) {
            end = Some(remedy);
        }
    }
    assert_eq!(faults, remedies);
    end
}

#[test]
fn no_schedule_of_faults_loses_a_decision_or_breaks_the_budget() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut given_up, mut replaced, mut lived) = (0, 0, 0);
    for _ in 0..SCHEDULES {
        match play(&mut random) {
            Some(Remedy::GiveUp) => given_up += 1,
            Some(_) => replaced += 1,
            None => lived += 1,
        }
    }
    println!("{given_up} given up, {replaced} replaced, {lived} went on");
    assert!(given_up > 1000 && replaced > 1000 && lived > 1000);
}

#[test]
fn what_hangs_or_loses_its_device_needs_another_process() {
    let spec = RestartSpec {
        budget: 1,
        window: Duration::from_secs(1),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(1),
    };
    let first = |ward, kind| Supervision::new(ward, spec).on_fault(kind, Instant::now(), 0);
    for (ward, kind, remedy) in [
        (Ward::Main, FaultKind::Hang, Remedy::Await),
        (Ward::Worker, FaultKind::Hang, Remedy::Replace),
        (Ward::Main, FaultKind::DeviceLost, Remedy::Replace),
        (Ward::Worker, FaultKind::DeviceLost, Remedy::Replace),
    ] {
        assert_eq!(first(ward, kind), Some(remedy), "{ward:?} {kind:?}");
    }
    // Where nobody could be told that its sockets stay closed.
    let mut worker = Supervision::new(Ward::Worker, spec);
    let now = Instant::now();
    let remedies = [0, 1].map(|_| worker.on_fault(FaultKind::Links, now, 0));
    let wait = Duration::from_millis(1);
    assert_eq!(
        remedies,
        [Some(Remedy::Reopen(wait)), Some(Remedy::Replace)]
    );
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_long_run_is_stuck_then_overdue_then_back() {
    let spec = StuckSpec {
        run: Some(ms(100)),
        warm: Some(ms(1000)),
    };
    let mut watch = Watch::new(spec);
    let looks = [
        (Doing::Warming, 900, Sight::Same),
        (Doing::Idle, 5000, Sight::Same),
        (Doing::Running, 100, Sight::Same),
        (Doing::Running, 101, Sight::Stuck(ms(100))),
        (Doing::Running, 200, Sight::Same),
        (Doing::Running, 201, Sight::Overdue),
        (Doing::Running, 900, Sight::Same),
        (Doing::Idle, 0, Sight::Back),
        // However late it is looked at, being stuck is told first.
        (Doing::Warming, 9000, Sight::Stuck(ms(1000))),
        (Doing::Warming, 9001, Sight::Overdue),
        (Doing::Running, 3, Sight::Back),
    ];
    for (doing, lasted, sight) in looks {
        assert_eq!(watch.look(doing, ms(lasted)), sight, "{doing:?} {lasted}");
    }
}

#[test]
fn without_a_bound_nothing_is_stuck() {
    let mut watch = Watch::new(StuckSpec::default());
    for doing in [Doing::Idle, Doing::Warming, Doing::Running] {
        assert_eq!(watch.look(doing, Duration::from_secs(1 << 30)), Sight::Same);
        assert!(!watch.is_stuck());
    }
}

#[test]
fn whatever_is_seen_stuck_is_seen_back() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..SCHEDULES / 10 {
        let bound = |random: &mut fastrand::Rng| random.bool().then(|| ms(random.u64(1..100)));
        let mut watch = Watch::new(StuckSpec {
            run: bound(&mut random),
            warm: bound(&mut random),
        });
        let (mut stuck, mut overdue) = (false, false);
        for _ in 0..40 {
            let doing = [Doing::Idle, Doing::Warming, Doing::Running][random.usize(..3)];
            match watch.look(doing, ms(random.u64(..300))) {
                Sight::Same => {}
                Sight::Stuck(_) => assert!(!std::mem::replace(&mut stuck, true)),
                Sight::Overdue => {
                    assert!(stuck);
                    overdue = true;
                }
                Sight::Back => {
                    assert!(std::mem::take(&mut stuck));
                    overdue = false;
                }
            }
            assert!(watch.is_stuck() == stuck && (stuck || !overdue));
        }
        watch.look(Doing::Idle, Duration::ZERO);
        assert!(!watch.is_stuck());
    }
}
