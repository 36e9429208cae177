//! Addresses: no two receivers share one, and everybody who sends to a receiver finds it listening on the carrier used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use blockflow::plan::{Carrier, EdgeFrom, EdgeTo, Plan, Receiver, Wiring, compile};
use blockflow::types::{Device, Endpoint, Epoch, HostSpec, Problem, Spec};
use proptest::prelude::*;

use crate::plan::{graph, spec};

/// Bytes of a socket's path, without the one that ends it.
const SOCKET_PATH_BYTES_MAX: usize = 107;

const CARRIERS: [Carrier; 3] = [Carrier::Inproc, Carrier::Ipc, Carrier::Tcp];

fn host(name: &str, address: &str, port: u16) -> HostSpec {
    HostSpec {
        name: name.to_owned(),
        address: address.parse().expect("an address"),
        port,
        keys: Vec::new(),
    }
}

/// Two hosts of one address, one of another, and one that nothing is on.
fn hosts() -> Vec<HostSpec> {
    vec![
        host("left", "127.0.0.1", 5600),
        host("right", "127.0.0.1", 6600),
        host("six", "::1", 5600),
        host("idle", "127.0.0.2", 5600),
    ]
}

#[derive(Debug, Clone)]
struct Put {
    host: Option<&'static str>,
    process: Option<&'static str>,
    device: Device,
    instances: usize,
    /// Step that it gets its input from, by distance; `None`: the pipeline's input.
    from: Option<usize>,
}

fn put() -> impl Strategy<Value = Put> {
    let hosts = prop::sample::select(vec![None, Some("left"), Some("right"), Some("six")]);
    let processes = prop::sample::select(vec![None, Some("heads"), Some("b1"), Some("b2")]);
    let devices = prop::sample::select(vec![Device::Cpu, Device::Cuda(0), Device::Cuda(1)]);
    let from = prop::option::of(0_usize..6);
    (hosts, processes, devices, 1_usize..4, from).prop_map(
        |(host, process, device, instances, from)| Put {
            host,
            process,
            device,
            instances,
            from,
        },
    )
}

/// A tree of blocks: each is fed by an earlier one or the pipeline, and feeds an output.
fn placed(puts: &[Put], server: Option<&str>) -> (Spec, Result<Plan, Vec<Problem>>) {
    let names: Vec<_> = (0..puts.len()).map(|index| format!("b{index}")).collect();
    let blocks: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), "x FP32 n 4 => y FP32 n 4"))
        .collect();
    let mut edges = Vec::new();
    for (index, put) in puts.iter().enumerate() {
        let from = put.from.and_then(|back| index.checked_sub(back + 1));
        let from = from.map_or("x".to_owned(), |step| format!("b{step}.y"));
        edges.push(format!("{from} -> b{index}.x"));
        edges.push(format!("b{index}.y -> y{index}"));
    }
    let edges: Vec<_> = edges.iter().map(String::as_str).collect();
    let (mut spec, signatures) = spec(&blocks, vec![graph(&edges)]);
    spec.hosts = hosts();
    spec.server.host = server.map(str::to_owned);
    for (block, put) in spec.blocks.iter_mut().zip(puts) {
        block.host = put.host.map(str::to_owned);
        block.process = put.process.map(str::to_owned);
        block.device = put.device;
        block.instances = put.instances;
    }
    let plan = compile(&spec, &signatures, Epoch(u32::MAX));
    (spec, plan)
}

fn random() -> impl Strategy<Value = Plan> {
    let server = prop::sample::select(vec![None, Some("left"), Some("right"), Some("six")]);
    (prop::collection::vec(put(), 1..10), server)
        .prop_map(|(puts, server)| placed(&puts, server).1.expect("sound"))
}

/// Everybody who sends to somebody, found in the plan alone.
fn sends(plan: &Plan) -> BTreeSet<(Receiver, Receiver)> {
    let blocks = (0..plan.blocks.len()).map(Receiver::Block);
    let mut sends: BTreeSet<_> = blocks
        .flat_map(|block| [(Receiver::Gateway, block), (block, Receiver::Gateway)])
        .collect();
    for pipeline in &plan.pipelines {
        for edge in &pipeline.edges {
            let block = |step: usize| Receiver::Block(pipeline.steps[step].block);
            let from = match edge.from {
                EdgeFrom::Input(_) => Receiver::Gateway,
                EdgeFrom::Step { step, .. } => block(step),
            };
            let to = match edge.to {
                EdgeTo::Output(_) => Receiver::Gateway,
                EdgeTo::Step { step, .. } => block(step),
            };
            assert_eq!(plan.carrier(from, to), edge.route.carrier);
            sends.insert((from, to));
        }
    }
    sends
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_receivers_share_an_address(plan in random()) {
        let mut taken: BTreeMap<String, (Receiver, usize, Carrier)> = BTreeMap::new();
        let receivers: Vec<_> = plan.receivers().collect();
        prop_assert_eq!(receivers.len(), plan.blocks.len() + 1);
        for (receiver, instances) in receivers {
            for (instance, carrier) in (0..instances).flat_map(|at| CARRIERS.map(|by| (at, by))) {
                let endpoint = plan.endpoint(receiver, instance, carrier, Path::new("/run"));
                let kind = match &endpoint {
                    Endpoint::Inproc(_) => Carrier::Inproc,
                    Endpoint::Ipc(_) => Carrier::Ipc,
                    Endpoint::Tcp { .. } => Carrier::Tcp,
                };
                prop_assert_eq!(kind, carrier);
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()));
                let other = taken.insert(endpoint.to_string(), (receiver, instance, carrier));
                prop_assert_eq!(other, None, "{} is taken", endpoint);
            }
        }
    }

    #[test]
    fn every_sender_finds_its_receiver_listening_and_no_carrier_is_listened_on_in_vain(plan in random()) {
        let wiring = Wiring::of(&plan);
        let mut expected: BTreeMap<Receiver, BTreeSet<Carrier>> = BTreeMap::new();
        for (from, to) in sends(&plan) {
            expected.entry(to).or_default().insert(plan.carrier(from, to));
        }
        for (receiver, _) in plan.receivers() {
            let seen = plan.carriers_into(&wiring, receiver);
            prop_assert_eq!(Some(&seen), expected.get(&receiver), "{:?}", receiver);
        }
    }

    #[test]
    fn ports_count_from_that_of_the_host(plan in random()) {
        let mut ports: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
        for (receiver, instances) in plan.receivers() {
            let name = plan.placement(receiver).host.as_str();
            for instance in 0..instances {
                let endpoint = plan.endpoint(receiver, instance, Carrier::Tcp, Path::new("/run"));
                let Endpoint::Tcp { host, port } = endpoint else { panic!("{endpoint}") };
                let spec = plan.hosts.iter().find(|host| host.name == name).expect("a host");
                let address: IpAddr = host.trim_matches(['[', ']']).parse().expect("an address");
                prop_assert_eq!(address, spec.address);
                ports.entry(name).or_default().push(port);
            }
        }
        for (name, ports) in ports {
            let first = plan.hosts.iter().find(|host| host.name == name).expect("a host").port;
            let expected: Vec<_> = (first..).take(ports.len()).collect();
            prop_assert_eq!(ports, expected, "{}", name);
        }
    }

    #[test]
    fn processes_are_those_that_something_lives_in(plan in random()) {
        for host in &plan.hosts {
            let placements = plan.receivers().map(|(receiver, _)| plan.placement(receiver));
            let mut expected: BTreeSet<_> = placements
                .filter(|placement| placement.host == host.name)
                .map(|placement| placement.process.as_str())
                .collect();
            expected.insert("main");
            prop_assert_eq!(plan.processes(&host.name), expected);
        }
    }
}

#[test]
fn addresses_are_made_of_what_the_plan_says() {
    let put = |host, process, instances| Put {
        host,
        process,
        device: Device::Cpu,
        instances,
        from: Some(0),
    };
    let puts = [
        put(None, None, 2),
        put(Some("right"), Some("heads"), 3),
        put(Some("left"), Some("heads"), 1),
        put(Some("right"), None, 1),
        put(Some("six"), None, 2),
    ];
    let (_, plan) = placed(&puts, Some("left"));
    let plan = Plan {
        epoch: Epoch(7),
        ..plan.expect("sound")
    };
    let at = |receiver, instance, carrier| {
        let endpoint = plan.endpoint(receiver, instance, carrier, Path::new("/run/bf"));
        endpoint.to_string()
    };
    use Receiver::{Block, Gateway};
    for (receiver, instance, inproc, ipc, tcp) in [
        (Gateway, 0, "gateway", 0, "127.0.0.1:5600"),
        (Block(0), 1, "block/b0/1", 2, "127.0.0.1:5602"),
        (Block(1), 2, "block/b1/2", 5, "127.0.0.1:6602"),
        (Block(2), 0, "block/b2/0", 6, "127.0.0.1:5603"),
        (Block(3), 0, "block/b3/0", 7, "127.0.0.1:6603"),
        (Block(4), 1, "block/b4/1", 9, "[::1]:5601"),
    ] {
        let expected = [
            format!("inproc://epoch-7/{inproc}"),
            format!("ipc:///run/bf/7-{ipc}.sock"),
            format!("tcp://{tcp}"),
        ];
        assert_eq!(CARRIERS.map(|by| at(receiver, instance, by)), expected);
    }
    let processes: Vec<_> = plan.processes("left").into_iter().collect();
    assert_eq!(processes, ["heads", "main"]);
    assert_eq!(
        plan.processes("idle").into_iter().collect::<Vec<_>>(),
        ["main"]
    );
}

#[test]
fn the_path_of_a_socket_leaves_room_for_its_directory() {
    let put = Put {
        host: None,
        process: Some("heads"),
        device: Device::Cpu,
        instances: 4,
        from: None,
    };
    let (_, plan) = placed(&vec![put; 12], None);
    let plan = plan.expect("sound");
    let directory = "/".repeat(SOCKET_PATH_BYTES_MAX - 24);
    let last = Receiver::Block(plan.blocks.len() - 1);
    let Endpoint::Ipc(path) = plan.endpoint(last, 3, Carrier::Ipc, directory.as_ref()) else {
        panic!("no path")
    };
    assert!(path.as_os_str().len() < SOCKET_PATH_BYTES_MAX);
    assert!(path.ends_with("4294967295-48.sock"), "{}", path.display());
}

fn problems(change: impl FnOnce(&mut Spec)) -> Vec<String> {
    let blocks = [("a", "x FP32 n => y FP32 n"), ("b", "x FP32 n => y FP32 n")];
    let (mut spec, signatures) = spec(
        &blocks,
        vec![graph(&["x -> a.x", "a.y -> b.x", "b.y -> y"])],
    );
    spec.hosts = hosts();
    change(&mut spec);
    match compile(&spec, &signatures, Epoch(1)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn hosts_that_are_not_declared_are_refused() {
    let seen = problems(|spec| {
        spec.server.host = Some("lft".into());
        spec.blocks[0].host = Some("nowhere".into());
        spec.blocks[1].host = Some("right".into());
    });
    assert_eq!(
        seen,
        [
            "blocks.a.host: is \"nowhere\", which is no host; expected one of \"left\", \"right\", \
             \"six\", \"idle\"",
            "server.host: is \"lft\", which is no host; did you mean \"left\"?",
        ]
    );
    let none = |host: &'static str| {
        problems(|spec| {
            spec.hosts.clear();
            spec.blocks[0].host = Some(host.into());
        })
    };
    assert_eq!(none("localhost"), [""; 0]);
    assert_eq!(
        none("left"),
        ["blocks.a.host: is \"left\", which is no host; expected \"localhost\""]
    );
}

#[test]
fn a_host_declared_twice_is_refused() {
    let seen = problems(|spec| spec.hosts.push(host("left", "127.0.0.9", 1)));
    assert_eq!(
        seen,
        ["hosts.left: is declared twice; expected each name once"]
    );
}

#[test]
fn ports_that_do_not_suffice_or_meet_are_refused_and_those_beside_each_other_are_not() {
    // The gateway, two instances of one block and one of the other: four ports of the first host.
    let ports = |left: u16, right: u16| {
        problems(|spec| {
            spec.hosts[0].port = left;
            spec.hosts[1].port = right;
            spec.blocks[0].instances = 2;
        })
    };
    assert_eq!(ports(5600, 5604), [""; 0]);
    assert_eq!(ports(5600, 5599), [""; 0]);
    assert_eq!(ports(65532, 1), [""; 0]);
    for right in [5600, 5603] {
        assert_eq!(
            ports(5600, right),
            [format!(
                "hosts.right.port: is {right}, but host \"left\" has ports 5600 to 5603 of 127.0.0.1; \
                 expected 5604 or more, or another address"
            )]
        );
    }
    assert_eq!(
        ports(65533, 1),
        [
            "hosts.left.port: is 65533, and the 4 receivers there take one port each; expected at most 65532"
        ]
    );
}

#[test]
fn a_wide_host_is_told_from_each_that_it_covers() {
    let seen = problems(|spec| {
        spec.blocks[0].instances = 8;
        for (name, port) in [("two", 5602), ("four", 5604), ("beside", 5610)] {
            spec.hosts.push(host(name, "127.0.0.1", port));
        }
        spec.hosts.push(host("elsewhere", "127.0.0.3", 5602));
    });
    let covered = |name: &str, port: u16| {
        format!(
            "hosts.{name}.port: is {port}, but host \"left\" has ports 5600 to 5609 of 127.0.0.1; \
             expected 5610 or more, or another address"
        )
    };
    assert_eq!(seen, [covered("four", 5604), covered("two", 5602)]);
}

#[test]
fn each_process_has_sockets_of_its_own() {
    let instances = |process: Option<&str>| {
        problems(|spec| {
            spec.hosts.clear();
            for block in &mut spec.blocks {
                block.instances = 15;
                block.process = process.map(str::to_owned);
            }
        })
    };
    assert_eq!(instances(None), [""; 0]);
    // A link out of a process takes three: 15 x (2 + 15 + 3) + 15 x (2 + 3) are few enough in the worker.
    assert_eq!(instances(Some("heads")), [""; 0]);
    let apart = problems(|spec| {
        spec.hosts.clear();
        for block in &mut spec.blocks {
            block.instances = 19;
        }
        spec.blocks[0].process = Some("heads".into());
    });
    assert_eq!(
        apart,
        [
            "blocks.a.instances: is 19, and process \"heads\" of host \"localhost\" needs 1159 sockets; \
             lower it, expected at most 1000 sockets"
        ]
    );
}
