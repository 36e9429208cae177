//! What a configuration says of devices: held against its blocks, and against another configuration.

use std::collections::BTreeMap;

use crate::types::{DeviceChoice, DeviceSpec, Problem, Spec};

use super::Value;
use super::compare::compare;
use super::draft::unknown;

/// Reports faults of blocks that are not declared. `unsound` names blocks that are declared in a form that could not be
/// understood.
pub(super) fn check(spec: &Spec, unsound: &[String], problems: &mut Vec<Problem>) {
    let declared = spec.blocks.iter().map(|block| block.name.as_str());
    let known: Vec<&str> = declared.chain(unsound.iter().map(String::as_str)).collect();
    if spec.hosts.len() > 1 {
        let open = spec.blocks.iter();
        let open = open.filter(|block| block.device_choice == DeviceChoice::Open);
        problems.extend(open.map(|block| {
            Problem::new(
                format!("blocks.{}.device", block.name),
                "is \"auto\", which is chosen for one machine, and there are several hosts",
                "expected the name of a device",
            )
        }));
    }
    for device in &spec.devices {
        for (index, fault) in device.faults.iter().enumerate() {
            let Some(block) = &fault.block else {
                continue;
            };
            if !known.contains(&block.as_str()) {
                let key = format!("devices.{}.faults[{index}].block", device.device);
                let seen = format!("is {block:?}, which is no block");
                problems.push(unknown(&key, seen, block, known.iter().copied()));
            }
        }
    }
}

/// Notes what is said differently of devices.
pub(super) fn compare_devices(settings: &mut Vec<Value>, sides: [&[DeviceSpec]; 2]) {
    // What is said of a device, in the order of devices: the order in which they stand means nothing.
    fn said<T>(
        devices: &[DeviceSpec],
        part: impl Fn(&DeviceSpec) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let parts = devices
            .iter()
            .map(|spec| Some((spec.device.to_string(), part(spec)?)));
        parts.flatten().collect()
    }
    let memory = sides.map(|side| said(side, |spec| spec.memory_bytes));
    compare(settings, "devices.memory_mb", memory, |sizes| {
        listed(sizes, |bytes| megabytes(*bytes))
    });
    let copy = sides.map(|side| said(side, |spec| spec.copy_bytes_per_s));
    compare(settings, "devices.copy_mb_s", copy, |rates| {
        listed(rates, |bytes| megabytes(*bytes))
    });
    let faults = sides.map(|side| {
        said(side, |spec| {
            (!spec.faults.is_empty()).then(|| spec.faults.clone())
        })
    });
    compare(settings, "devices.faults", faults, |faults| {
        listed(faults, |faults| faults.len().to_string())
    });
}

/// Writes `sim:0 64, sim:1 32`, or `none`.
fn listed<T>(parts: &BTreeMap<String, T>, show: impl Fn(&T) -> String) -> String {
    if parts.is_empty() {
        return "none".to_owned();
    }
    let parts = parts
        .iter()
        .map(|(device, part)| format!("{device} {}", show(part)));
    parts.collect::<Vec<_>>().join(", ")
}

/// Writes bytes as a configuration does.
fn megabytes(bytes: u64) -> String {
    let (whole, rest) = (bytes / 1_000_000, bytes % 1_000_000);
    let text = format!("{whole}.{rest:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
