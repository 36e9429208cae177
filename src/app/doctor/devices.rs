//! Devices that blocks can be placed on: the host, CUDA devices, and simulated ones.

use std::fs;

use crate::engine::cuda::{self, DeviceProperties, Presence};
use crate::types::Device;

use super::Finding;
use super::needs::Needs;

const MEGABYTE: u64 = 1_000_000;

/// Memory of a device, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) device: Device,
    /// What it is called.
    pub(super) name: String,
    pub(super) total: u64,
    /// `None`: nobody says.
    pub(super) free: Option<u64>,
    /// What else there is to say of it.
    pub(super) more: Option<String>,
}

pub(super) fn look() -> Vec<Memory> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    // Why there are none is for the check of the driver to tell.
    let cuda = cuda::devices().unwrap_or_default();
    host(&text)
        .into_iter()
        .chain(cuda.iter().map(of_cuda))
        .collect()
}

fn of_cuda(device: &DeviceProperties) -> Memory {
    let (major, minor) = device.capability;
    let ipc = match device.can_ipc {
        true => "shares memory between processes",
        false => "does not share memory between processes",
    };
    let peers: Vec<_> = device
        .peers
        .iter()
        .map(|peer| format!("cuda:{peer}"))
        .collect();
    let peers = match peers.is_empty() {
        true => String::new(),
        false => format!(", copies directly from {}", peers.join(" and ")),
    };
    Memory {
        device: Device::Cuda(device.ordinal),
        name: device.name.clone(),
        total: device.memory_bytes,
        free: device.memory_free_bytes,
        more: Some(format!("compute capability {major}.{minor}, {ipc}{peers}")),
    }
}

/// Reads the memory of the host.
fn host(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    };
    Some(Memory {
        device: Device::Cpu,
        name: "host".to_owned(),
        total: bytes("MemTotal:")?,
        free: bytes("MemAvailable:"),
        more: None,
    })
}

pub(super) fn judge(seen: &[Memory], presence: &Presence, needs: &Needs) -> Vec<Finding> {
    let limit = |device| {
        let mut said = needs.devices.iter().filter(|spec| spec.device == device);
        said.find_map(|spec| spec.memory_bytes)
    };
    let mut findings: Vec<_> = seen
        .iter()
        .map(|memory| held_against(memory, limit(memory.device)))
        .collect();
    let count = match presence {
        Presence::Devices(count) => *count,
        Presence::NoDriver | Presence::NoDevice(_) => 0,
    };
    for (ordinal, keys) in &needs.cuda {
        if usize::from(*ordinal) >= count {
            findings.push(absent(*ordinal, count).for_keys(keys));
        }
    }
    let simulated = needs.devices.iter();
    let simulated = simulated.filter(|spec| matches!(spec.device, Device::Sim(_)));
    findings.extend(simulated.map(|spec| {
        let found = match spec.memory_bytes {
            Some(bytes) => format!("simulated, with room for {} MB", bytes / MEGABYTE),
            None => "simulated, with as much room as the host has".to_owned(),
        };
        Finding::ok(spec.device.to_string(), found)
    }));
    findings
}

fn held_against(memory: &Memory, limit: Option<u64>) -> Finding {
    let Memory {
        device,
        name,
        total,
        free,
        more,
    } = memory;
    let mut found = format!("{name}, {} MB of memory", total / MEGABYTE);
    match free {
        Some(free) => found.push_str(&format!(", {} MB free", free / MEGABYTE)),
        None => found.push_str(", and another process may have the device alone"),
    }
    if let Some(more) = more {
        found.push_str(&format!(", {more}"));
    }
    match limit {
        Some(limit) if limit > *total => Finding::warning(
            device.to_string(),
            format!("{found}; blocks may hold {} MB", limit / MEGABYTE),
            format!(
                "set memory_mb of devices.\"{device}\" to at most {}",
                total / MEGABYTE
            ),
        ),
        Some(limit) if free.is_some_and(|free| limit > free) => Finding::warning(
            device.to_string(),
            format!("{found}; blocks may hold {} MB", limit / MEGABYTE),
            "end other programs that hold memory there, or lower memory_mb",
        ),
        _ => Finding::ok(device.to_string(), found),
    }
}

fn absent(ordinal: u16, count: usize) -> Finding {
    let found = match count {
        0 => "there is no CUDA device".to_owned(),
        1 => "there is cuda:0 only".to_owned(),
        _ => format!("there are cuda:0 to cuda:{} only", count - 1),
    };
    let remedy = match count {
        0 => "place its blocks on \"cpu\", or see the NVIDIA driver above".to_owned(),
        _ => "place its blocks on one that is there, or look at CUDA_VISIBLE_DEVICES".to_owned(),
    };
    Finding::missing(Device::Cuda(ordinal).to_string(), found, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;
    use crate::types::DeviceSpec;

    fn memory(device: Device) -> Memory {
        Memory {
            device,
            name: "one".into(),
            total: 8_000 * MEGABYTE,
            free: Some(6_000 * MEGABYTE),
            more: None,
        }
    }

    fn limited(device: Device, megabytes: u64) -> Needs {
        Needs {
            devices: vec![DeviceSpec {
                memory_bytes: Some(megabytes * MEGABYTE),
                ..DeviceSpec::unbounded(device)
            }],
            ..Needs::default()
        }
    }

    #[test]
    fn a_limit_is_held_against_what_is_there_and_what_is_free() {
        for (megabytes, status) in [
            (5_000, Status::Ok),
            (7_000, Status::Warning),
            (9_000, Status::Warning),
        ] {
            let needs = limited(Device::Cuda(0), megabytes);
            let findings = judge(&[memory(Device::Cuda(0))], &Presence::Devices(1), &needs);
            assert_eq!(findings.len(), 1);
            assert_eq!(findings[0].status, status, "{megabytes}");
        }
    }

    #[test]
    fn a_device_that_is_asked_for_and_not_there_is_missing() {
        let mut needs = Needs::default();
        for ordinal in [0, 1, 2] {
            needs
                .cuda
                .insert(ordinal, vec![format!("blocks.b{ordinal}.device")]);
        }
        for (presence, absent) in [
            (Presence::NoDriver, vec!["cuda:0", "cuda:1", "cuda:2"]),
            (Presence::NoDevice(None), vec!["cuda:0", "cuda:1", "cuda:2"]),
            (Presence::Devices(2), vec!["cuda:2"]),
            (Presence::Devices(3), vec![]),
        ] {
            let findings = judge(&[], &presence, &needs);
            let names: Vec<_> = findings.iter().map(|one| one.check.as_str()).collect();
            assert_eq!(names, absent, "{presence}");
            for finding in &findings {
                assert_eq!(finding.status, Status::Missing);
                assert_eq!(finding.needed_by.len(), 1);
            }
        }
    }

    #[test]
    fn simulated_devices_are_always_there() {
        let findings = judge(&[], &Presence::NoDriver, &limited(Device::Sim(3), 64));
        assert_eq!(findings[0].check, "sim:3");
        assert_eq!(findings[0].status, Status::Ok);
        assert!(findings[0].found.contains("64 MB"));
    }

    #[test]
    fn the_memory_of_the_host_is_read() {
        let text = "MemTotal:       2000 kB\nMemFree: 1 kB\nMemAvailable:   1000 kB\n";
        let memory = host(text).expect("both are there");
        assert_eq!((memory.total, memory.free), (2_048_000, Some(1_024_000)));
        assert_eq!(host("MemFree: 3 kB\n"), None);
    }
}
