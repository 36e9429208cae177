//! What a configuration asks of the machine, by who asks for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{BlockSpec, Device, DeviceSpec, GraphEngine, HostSpec, SourceSpec, Spec};

/// Descriptors of one socket and what wakes its thread.
const DESCRIPTORS_PER_SOCKET: u64 = 4;
/// Descriptors that a program has anyway.
const DESCRIPTORS_AT_LEAST: u64 = 64;

/// Keys of a configuration by what they ask for. Without a configuration nothing is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Needs {
    /// By ordinal.
    pub(super) cuda: BTreeMap<u16, Vec<String>>,
    pub(super) onnxruntime: Vec<String>,
    /// Blocks that are not in the main process.
    pub(super) processes: Vec<String>,
    /// Hosts with a key, where there are several hosts.
    pub(super) keys: Vec<String>,
    pub(super) devices: Vec<DeviceSpec>,
    /// Hosts, if there are several.
    pub(super) hosts: Vec<HostSpec>,
    /// Open files of the main process, roughly; 0 if nobody asks.
    pub(super) descriptors: u64,
}

impl Needs {
    pub(super) fn of(spec: &Spec) -> Self {
        let mut needs = Self {
            devices: spec.devices.clone(),
            ..Self::default()
        };
        for block in &spec.blocks {
            let key = |field: &str| format!("blocks.{}.{field}", block.name);
            // Other hosts have devices of their own, and which of them this machine is nobody says.
            if let Device::Cuda(ordinal) = block.device
                && spec.hosts.len() <= 1
            {
                needs.cuda.entry(ordinal).or_default().push(key("device"));
            }
            if asks_for_onnxruntime(&block.source) {
                needs.onnxruntime.push(key("engine"));
            }
            if block.process.is_some() {
                needs.processes.push(key("process"));
            }
        }
        if spec.hosts.len() > 1 {
            let keyed = spec.hosts.iter().filter(|host| !host.keys.is_empty());
            needs.keys = keyed
                .map(|host| format!("hosts.{}.key", host.name))
                .collect();
            needs.hosts.clone_from(&spec.hosts);
        }
        needs.descriptors = descriptors(spec);
        needs
    }

    /// Returns all keys that ask for a CUDA device.
    pub(super) fn any_cuda(&self) -> Vec<String> {
        self.cuda.values().flatten().cloned().collect()
    }

    /// Returns keys that ask for links between processes of this host or others.
    pub(super) fn any_link(&self) -> Vec<String> {
        let hosts = self.hosts.iter();
        let hosts = hosts.map(|host| format!("hosts.{}", host.name));
        self.processes.iter().cloned().chain(hosts).collect()
    }

    /// Returns the worker processes that one host has at most.
    pub(super) fn workers(spec: &Spec) -> usize {
        let name = |block: &BlockSpec| Some((block.host.clone(), block.process.clone()?));
        let workers: BTreeSet<_> = spec.blocks.iter().filter_map(name).collect();
        workers.len()
    }
}

fn asks_for_onnxruntime(source: &SourceSpec) -> bool {
    match source {
        SourceSpec::Graph { engine, .. } => *engine == GraphEngine::OnnxRuntime,
        SourceSpec::TorchScript { .. } | SourceSpec::DecodeImage(_) | SourceSpec::Mock(_) => false,
    }
}

/// Guesses open files: sockets of each instance, its links, and a connection for each request.
fn descriptors(spec: &Spec) -> u64 {
    let instances: usize = spec.blocks.iter().map(|block| block.instances).sum();
    let sockets = 3 * instances as u64 + 2 * Needs::workers(spec) as u64;
    DESCRIPTORS_AT_LEAST + DESCRIPTORS_PER_SOCKET * sockets + spec.limits.in_flight_max as u64
}
