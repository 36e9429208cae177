//! One device: how much memory blocks may hold there and, of a simulated one, its link and its faults.

use config::Value;

use crate::types::{Device, DeviceFault, DeviceSpec, Due, FaultPoint, FaultSpec};

use super::reader::{Problems, Section, Unit, decimal};
use super::value::{quoted, show, typed};

/// An exabyte.
const MEGABYTES_MAX: f64 = 1e12;
const BYTES_PER_MEGABYTE: f64 = 1e6;
const COUNT_MAX: u64 = 1_000_000_000;
const HANG_MS_MAX: u32 = 600_000;
const FAULTS_MAX: usize = 64;

pub(super) fn device(name: &str, mut section: Section<'_>) -> Option<DeviceSpec> {
    // Each has one name only, so that no two sections speak of the same.
    let known = name.parse::<Device>().ok();
    let Some(device) = known.filter(|device| device.to_string() == name) else {
        let seen = format!("is named {}", quoted(name));
        let expected = "expected \"cpu\", \"cuda:0\" or \"sim:0\" and so on";
        section.problems().add(section.path(), seen, expected);
        return None;
    };
    let mut megabytes = |name| section.optional(name, |section| megabytes(section, name));
    let memory_bytes = megabytes("memory_mb");
    let (copy, faults) = match device {
        Device::Sim(_) => (megabytes("copy_mb_s"), faults(&mut section)),
        Device::Cpu | Device::Cuda(_) => (Some(None), Some(Vec::new())),
    };
    section.finish(match device {
        Device::Sim(_) => "a simulated device",
        Device::Cpu | Device::Cuda(_) => "a device that is not simulated",
    });
    Some(DeviceSpec {
        device,
        memory_bytes: memory_bytes?,
        copy_bytes_per_s: copy?,
        faults: faults?,
    })
}

/// Reads millions of bytes.
fn megabytes(section: &mut Section<'_>, name: &str) -> Option<u64> {
    let value = typed(section.take(name)?);
    let bytes = decimal(&value)
        .filter(|count| *count <= MEGABYTES_MAX)
        .map(|count| (count * BYTES_PER_MEGABYTE).round())
        .filter(|bytes| *bytes >= 1.0);
    if bytes.is_none() {
        let expected = format!("expected millions of bytes, above 0 and at most {MEGABYTES_MAX:e}");
        section.wrong(name, show(&value), expected);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and between 1 and an exabyte"
    )]
    bytes.map(|bytes| bytes as u64)
}

fn faults(section: &mut Section<'_>) -> Option<Vec<FaultSpec>> {
    if !section.has("faults") {
        return Some(Vec::new());
    }
    let expected =
        "expected a list of tables such as { at = \"run\", kind = \"error\", every = 10 }";
    let list = section.list("faults", expected)?;
    let total = list.len();
    if total > FAULTS_MAX {
        let expected = format!("expected at most {FAULTS_MAX}");
        section.wrong("faults", format!("is a list of {total}"), expected);
        return None;
    }
    let problems = section.problems();
    let read = |(path, value)| fault(path, value, problems);
    let faults: Vec<_> = list.into_iter().filter_map(read).collect();
    (faults.len() == total).then_some(faults)
}

/// A word for each kind of fault; how long a hang lasts is read after it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole(DeviceFault),
    Hang,
}

fn fault(path: String, value: Value, problems: &Problems) -> Option<FaultSpec> {
    let mut section = Section::of(path, value, problems)?;
    let at = section.word(
        "at",
        &[("load", FaultPoint::Load), ("run", FaultPoint::Run)],
    );
    let kind = section.word(
        "kind",
        &[
            ("out_of_memory", Kind::Whole(DeviceFault::OutOfMemory)),
            ("sticky", Kind::Whole(DeviceFault::Sticky)),
            ("hang", Kind::Hang),
            ("error", Kind::Whole(DeviceFault::Error)),
        ],
    );
    let kind = match kind {
        Some(Kind::Whole(kind)) => Some(kind),
        Some(Kind::Hang) => section
            .duration("hang_ms", Unit::Milliseconds, 1..=HANG_MS_MAX)
            .map(|time| DeviceFault::Hang { time }),
        None => {
            section.know("hang_ms");
            None
        }
    };
    let due = due(&mut section);
    let block = section.optional("block", |section| {
        section.text("block", "expected the name of a block")
    });
    section.finish("a fault");
    Some(FaultSpec {
        at: at?,
        kind: kind?,
        due: due?,
        block: block?,
    })
}

fn due(section: &mut Section<'_>) -> Option<Due> {
    match (section.has("every"), section.has("after")) {
        (true, false) => section.number("every", 1..=COUNT_MAX).map(Due::Every),
        (false, true) => section.number("after", 0..=COUNT_MAX).map(Due::After),
        (both, _) => {
            let seen = if both {
                "has every and after"
            } else {
                "does not say when"
            };
            let expected = "expected exactly one of every and after";
            section.problems().add(section.path(), seen, expected);
            None
        }
    }
}
