//! What changes between two configurations: every key is somebody's, nothing is told that is the same, and a diff can be turned
//! around.

use std::time::Duration;

use blockflow::graph::Digest;
use blockflow::plan::{Change, Diff, Plan, Side, compile};
use blockflow::types::{
    CanarySpec, CudaGraphs, Device, DeviceFault, DeviceSpec, Due, Epoch, FaultPoint, FaultSpec,
    GoldenSpec, HostSpec, LogFormat, ShadowSpec, SourceSpec, Spec, Tolerance,
};
use proptest::prelude::*;

use crate::plan::{chain, graph, mock, signature, spec};

fn whole() -> Spec {
    let blocks = [
        ("first", "x FP32 n 4 => y FP32 n 4"),
        ("second", "y FP32 n 4 => z FP32 n 4"),
    ];
    spec(
        &blocks,
        vec![
            chain(&["first", "second"]),
            graph(&["x -> first.x", "first.y -> y"]),
        ],
    )
    .0
}

/// One side, with what it borrows.
struct Whole {
    plan: Plan,
    spec: Spec,
    contents: Vec<Digest>,
}

impl Whole {
    fn new(change: Edit) -> Self {
        let mut spec = whole();
        change(&mut spec);
        let signature = |source: &SourceSpec| match source {
            SourceSpec::Mock(mock) => Some(mock.signature.clone()),
            _ => panic!("every block is a mock"),
        };
        let blocks = spec.blocks.iter();
        let signatures: Vec<_> = blocks.map(|block| signature(&block.source)).collect();
        let contents = spec
            .blocks
            .iter()
            .map(|block| Digest::of("test", block.name.as_bytes()));
        Self {
            plan: compile(&spec, &signatures, Epoch(1)).expect("a sound configuration"),
            contents: contents.collect(),
            spec,
        }
    }

    fn side(&self) -> Side<'_> {
        Side {
            plan: &self.plan,
            log: &self.spec.log,
            contents: &self.contents,
        }
    }
}

fn diff(from: Edit, to: Edit) -> Diff {
    Diff::between(Whole::new(from).side(), Whole::new(to).side())
}

type Edit = fn(&mut Spec);

/// What is said of a device; a limit of 0 is none.
fn limited(memory: u64, copy_bytes_per_s: Option<u64>, faults: usize) -> DeviceSpec {
    let fault = FaultSpec {
        at: FaultPoint::Run,
        kind: DeviceFault::Error,
        due: Due::Every(1),
        block: None,
    };
    DeviceSpec {
        device: Device::Sim(0),
        memory_bytes: (memory > 0).then_some(memory),
        copy_bytes_per_s,
        faults: vec![fault; faults],
    }
}

/// What is changed, and how a diff tells.
const TUNES: [(Edit, &str); 30] = [
    (
        |spec| spec.server.drain += Duration::from_secs(1),
        "server.drain_ms: 0 → 1000",
    ),
    (
        |spec| spec.limits.in_flight_max += 1,
        "limits.in_flight_max: 1 → 2",
    ),
    (|spec| spec.log.filter = "debug".into(), "log.filter: "),
    (
        |spec| spec.devices.push(limited(1_500_000, None, 0)),
        "devices.memory_mb: none → sim:0 1.5",
    ),
    (
        |spec| spec.devices.push(limited(0, Some(20_000_000), 0)),
        "devices.copy_mb_s: none → sim:0 20",
    ),
    (
        |spec| spec.devices.push(limited(0, None, 2)),
        "devices.faults: none → sim:0 2",
    ),
    (
        |spec| {
            spec.reload.shadow = Some(ShadowSpec {
                share: 0.5,
                requests: 7,
                tolerance: Tolerance {
                    relative: 0.0,
                    absolute: 0.0,
                },
                mismatches_max: 0,
                time_max: Duration::from_secs(1),
            });
        },
        "reload.shadow: none → {",
    ),
    (
        |spec| {
            spec.reload.canary = Some(CanarySpec {
                share: 0.5,
                requests: 7,
                time_max: Duration::from_secs(1),
                error_ratio_max: 0.0,
                latency_ratio_max: 2.0,
            });
        },
        "reload.canary: none → {",
    ),
    (
        |spec| spec.blocks[0].instances = 3,
        "block first: retuned (instances: 1 → 3)",
    ),
    (
        |spec| spec.blocks[0].batch.rows_max = 3,
        "block first: retuned (batch.max: 1 → 3)",
    ),
    (
        |spec| {
            spec.blocks[0].batch.rows_max = 2;
            spec.blocks[0].batch.wait = Duration::from_millis(5);
        },
        "block first: retuned (batch.max: 1 → 2, batch.wait_ms: 0 → 5)",
    ),
    (
        |spec| spec.blocks[0].restart.budget = 9,
        "block first: retuned (restart.budget: 1 → 9)",
    ),
    (
        |spec| spec.blocks[0].restart.window = Duration::from_secs(7),
        "block first: retuned (restart.window_s: 1 → 7)",
    ),
    (
        |spec| spec.blocks[0].restart.backoff_min = Duration::ZERO,
        "block first: retuned (restart.backoff_min_ms: 1 → 0)",
    ),
    (
        |spec| spec.blocks[0].restart.backoff_max = Duration::from_secs(1),
        "block first: retuned (restart.backoff_max_ms: 1 → 1000)",
    ),
    (
        |spec| spec.blocks[0].proof.warm = vec![[("x".to_owned(), vec![2, 4])].into()],
        "block first: retuned (warm: [] → [{\"x\":[2,4]}])",
    ),
    (
        |spec| spec.blocks[0].proof.finite = false,
        "block first: retuned (finite: true → false)",
    ),
    (
        |spec| {
            spec.blocks[0].proof.golden = Some(GoldenSpec {
                cases: Vec::new(),
                tolerance: Tolerance {
                    relative: 0.5,
                    absolute: 0.0,
                },
            });
        },
        "block first: retuned (golden: none → {",
    ),
    (
        |spec| spec.blocks[0].proof.cuda_graphs = CudaGraphs::Off,
        "block first: retuned (cuda_graphs: auto → false)",
    ),
    (
        |spec| spec.blocks[0].stuck.run = Some(Duration::from_secs(2)),
        "block first: retuned (stuck.run_ms: 0 → 2000)",
    ),
    (
        |spec| spec.blocks[0].stuck.warm = Some(Duration::from_secs(3)),
        "block first: retuned (stuck.warm_ms: 0 → 3000)",
    ),
    (
        |spec| spec.blocks[0].queue_max = 4,
        "block first: retuned (queue_max: 1 → 4)",
    ),
    (
        |spec| spec.pipelines[0].deadline += Duration::from_secs(1),
        ": retuned (deadline_ms: ",
    ),
    (
        |spec| spec.blocks[0].threads = 2,
        "block first: rebuilt (threads: 1 → 2)",
    ),
    (
        |spec| spec.blocks[0].process = Some("apart".into()),
        "block first: rebuilt (process: \"main\" → \"apart\")",
    ),
    (
        |spec| {
            let SourceSpec::Mock(mock) = &mut spec.blocks[0].source else {
                panic!("every block is a mock");
            };
            mock.latency = Duration::from_millis(3);
        },
        "block first: rebuilt (mock: ",
    ),
    (
        |spec| {
            let more = signature("x FP32 n 4 => y FP32 n 4");
            spec.blocks.push(mock("third", &more));
        },
        "block third: added",
    ),
    (|spec| drop(spec.pipelines.pop()), ": removed"),
    (
        |spec| spec.pipelines[1].flow = graph(&["x -> second.y", "second.z -> y"]),
        ": rebuilt (",
    ),
    (
        |spec| spec.pipelines[1].name = "renamed".into(),
        "pipeline renamed: added",
    ),
];

const FIXED: [(Edit, &str); 5] = [
    (
        |spec| spec.server.http = ([127, 0, 0, 1], 99).into(),
        "server.http: ",
    ),
    (|spec| spec.server.workers += 1, "server.workers: "),
    (
        |spec| spec.server.body_bytes_max += 1,
        "server.body_bytes_max: ",
    ),
    (
        |spec| spec.log.format = LogFormat::Json,
        "log.format: \"Text\" → \"Json\"",
    ),
    (
        |spec| {
            let mut host = HostSpec::local();
            host.name = "here".into();
            spec.hosts.push(host);
        },
        "hosts: ",
    ),
];

#[test]
fn what_is_the_same_is_not_told() {
    let same = diff(|_| (), |_| ());
    assert!(same.is_empty(), "{same}");
    assert_eq!(same.to_string(), "");
    // The order in which blocks and pipelines stand means nothing.
    let swapped = diff(|_| (), |spec| spec.blocks.swap(0, 1));
    assert!(swapped.is_empty(), "{swapped}");
}

#[test]
fn every_key_has_its_part() {
    for (edit, told) in TUNES {
        let diff = diff(|_| (), edit);
        assert!(diff.fixed.is_empty(), "{diff}");
        assert!(diff.to_string().contains(told), "{told:?} not in {diff}");
    }
    for (edit, told) in FIXED {
        let diff = diff(|_| (), edit);
        let fixed = diff
            .fixed
            .iter()
            .any(|value| value.to_string().starts_with(told));
        assert!(fixed, "{told:?} not in {diff}");
    }
}

#[test]
fn other_contents_of_the_same_file_are_a_rebuild() {
    let (old, mut new) = (Whole::new(|_| ()), Whole::new(|_| ()));
    new.contents[1] = Digest::of("test", b"trained again");
    let diff = Diff::between(old.side(), new.side());
    assert_eq!(diff.blocks.len(), 1);
    let Change::Rebuild(values) = &diff.blocks["second"] else {
        panic!("{diff}");
    };
    assert_eq!(values[0].key, "model");
}

proptest! {
    #[test]
    fn a_diff_turned_around_is_that_of_the_other_direction(
        first in 0..TUNES.len() + FIXED.len(), second in 0..TUNES.len() + FIXED.len()
    ) {
        let edits: Vec<Edit> = TUNES.iter().chain(&FIXED).map(|(edit, _)| *edit).collect();
        let there = diff(edits[first], edits[second]);
        let back = diff(edits[second], edits[first]);
        prop_assert_eq!(there.is_empty(), first == second);
        prop_assert_eq!(there.clone().flip(), back);
        prop_assert_eq!(there.clone().flip().flip(), there);
    }
}
