//! Where the gateway and each block live, from what the specification says and leaves unsaid.

use std::collections::BTreeMap;

use crate::types::{BlockSpec, Device, HostSpec, Problem, PublicKey, Spec};

use super::Placement;
use super::draft::unknown;

/// Ports of an address, 0 among them.
const PORTS: usize = 1 << 16;

/// Hosts and placements of one specification.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// As declared; one for this machine if none is.
    pub(super) hosts: Vec<HostSpec>,
    pub(super) gateway: Placement,
    /// In the order of the blocks.
    pub(super) blocks: Vec<Placement>,
}

impl Places {
    /// Resolves what is left unsaid: the gateway is on the first host, a block is where the gateway is.
    pub(super) fn of(spec: &Spec) -> Self {
        let hosts = if spec.hosts.is_empty() {
            vec![HostSpec::local()]
        } else {
            spec.hosts.clone()
        };
        let first = || hosts.first().map(|host| host.name.clone());
        let home = spec.server.host.clone().or_else(first).unwrap_or_default();
        let block = |block: &BlockSpec| Placement {
            host: block.host.clone().unwrap_or_else(|| home.clone()),
            process: block
                .process
                .clone()
                .unwrap_or_else(|| Placement::MAIN.to_owned()),
            device: block.device,
        };
        Self {
            blocks: spec.blocks.iter().map(block).collect(),
            gateway: Placement::main(&home, Device::Cpu),
            hosts,
        }
    }
}

/// Reports hosts that are not declared, and ports that do not suffice or that two hosts would share. `unsound` names
/// hosts that are declared in a form that could not be understood.
pub(super) fn check(spec: &Spec, places: &Places, unsound: &[String], problems: &mut Vec<Problem>) {
    let declared = places.hosts.iter().map(|host| host.name.as_str());
    let known: Vec<&str> = declared.chain(unsound.iter().map(String::as_str)).collect();
    let server = spec.server.host.iter();
    let server = server.map(|host| ("server.host".to_owned(), host));
    let blocks = spec.blocks.iter().filter_map(|block| {
        let host = block.host.as_ref()?;
        Some((format!("blocks.{}.host", block.name), host))
    });
    for (key, host) in server.chain(blocks) {
        if !known.contains(&host.as_str()) {
            let seen = format!("is {host:?}, which is no host");
            problems.push(unknown(&key, seen, host, known.iter().copied()));
        }
    }
    // The host that stands for none is the only one, so nothing reaches it over its ports.
    if !spec.hosts.is_empty() {
        check_keys(&spec.hosts, unsound, problems);
        check_ports(spec, places, problems);
    }
}

/// What leaves a machine has to be encrypted, and both sides have to know each other: one host beyond this machine, or one
/// with a key, asks for a key of every host.
fn check_keys(hosts: &[HostSpec], unsound: &[String], problems: &mut Vec<Problem>) {
    let mut owners: BTreeMap<PublicKey, &str> = BTreeMap::new();
    for host in hosts {
        for key in &host.keys {
            let owner = *owners.entry(*key).or_insert(&host.name);
            if owner != host.name {
                problems.push(Problem::new(
                    format!("hosts.{}.key", host.name),
                    format!("is a key of host {owner:?} too"),
                    "expected a key for each host: run `blockflow keys new` on every one",
                ));
            }
        }
    }
    let far = hosts.iter().find(|host| !host.address.is_loopback());
    let keyed = hosts.iter().find(|host| !host.keys.is_empty());
    let cause = match (far, keyed) {
        (Some(far), _) => format!(
            "host {:?} is beyond this machine, so that links have to be encrypted",
            far.name
        ),
        // One whose key cannot be read is told so already.
        (None, Some(keyed)) if unsound.is_empty() => format!("host {:?} has one", keyed.name),
        _ => return,
    };
    for host in hosts.iter().filter(|host| host.keys.is_empty()) {
        problems.push(Problem::new(
            format!("hosts.{}.key", host.name),
            format!("is missing, and {cause}"),
            "expected what `blockflow keys new` prints on that host",
        ));
    }
}

/// The ports of a host: one for each receiver there, and one at least.
struct Ports<'a> {
    host: &'a HostSpec,
    first: usize,
    count: usize,
}

fn check_ports(spec: &Spec, places: &Places, problems: &mut Vec<Problem>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let instances = spec.blocks.iter().map(|block| block.instances);
    let receivers = places.blocks.iter().zip(instances);
    for (placement, count) in receivers.chain([(&places.gateway, 1)]) {
        *counts.entry(&placement.host).or_default() += count;
    }
    let mut ports: Vec<_> = spec
        .hosts
        .iter()
        .map(|host| Ports {
            host,
            first: usize::from(host.port),
            count: counts.get(host.name.as_str()).map_or(1, |count| *count),
        })
        .collect();
    for Ports { host, first, count } in &ports {
        if first + count > PORTS {
            let seen = format!("is {first}, and the {count} receivers there take one port each");
            let expected = match PORTS.checked_sub(*count) {
                Some(most) => format!("expected at most {most}"),
                None => "expected fewer instances of blocks there".to_owned(),
            };
            problems.push(Problem::new(
                format!("hosts.{}.port", host.name),
                seen,
                expected,
            ));
        }
    }
    ports.sort_by_key(|ports| (ports.host.address, ports.first));
    let mut before: Option<&Ports<'_>> = None;
    for ports in &ports {
        let Some(other) = before.filter(|other| other.host.address == ports.host.address) else {
            before = Some(ports);
            continue;
        };
        let end = other.first + other.count;
        if ports.first < end {
            let seen = format!(
                "is {}, but host {:?} has ports {} to {} of {}",
                ports.first,
                other.host.name,
                other.first,
                end - 1,
                other.host.address
            );
            let expected = format!("expected {end} or more, or another address");
            problems.push(Problem::new(
                format!("hosts.{}.port", ports.host.name),
                seen,
                expected,
            ));
        }
        if ports.first + ports.count > end {
            before = Some(ports);
        }
    }
}
