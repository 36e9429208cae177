//! The NVIDIA driver: whether it is there, starts, and is new enough for libtorch.

use std::fs;
use std::path::Path;

use crate::engine::cuda::{CudaVersion, Presence, driver_version, presence};

use super::Finding;
use super::needs::Needs;

/// CUDA that libtorch is built with. A driver runs programs of its own major version and of all before it.
const CUDA_NEEDED: CudaVersion = CudaVersion {
    major: 13,
    minor: 0,
};
/// First driver that has it.
const DRIVER_NEEDED: &str = "580";
/// Of PCI devices by NVIDIA.
const VENDOR: &str = "0x10de";

const CHECK: &str = "NVIDIA driver";
const INSTALL: &str = "sudo apt install nvidia-driver-580-server, or the package of this system for driver 580 or newer, then restart";

/// What was seen of the driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) presence: Presence,
    /// Newest CUDA that the driver has, where it says so.
    pub(super) cuda: Option<CudaVersion>,
    /// Version of the kernel module, where one is loaded.
    pub(super) module: Option<String>,
    /// An NVIDIA display or compute device is on the bus.
    pub(super) hardware: bool,
    /// The devices' files are there and this user may open them; `None`: there are none.
    pub(super) files: Option<bool>,
}

pub(super) fn look() -> Seen {
    let module = fs::read_to_string("/proc/driver/nvidia/version").ok();
    Seen {
        presence: presence(),
        cuda: driver_version().ok(),
        module: module.as_deref().and_then(module_version),
        hardware: hardware(Path::new("/sys/bus/pci/devices")),
        files: files(),
    }
}

pub(super) fn judge(seen: &Seen, needs: &Needs) -> Finding {
    let finding = match &seen.presence {
        Presence::NoDriver => absent(seen),
        Presence::NoDevice(reason) => unusable(seen, reason.as_deref()),
        Presence::Devices(count) => working(seen, *count),
    };
    finding.for_keys(&needs.any_cuda())
}

fn absent(seen: &Seen) -> Finding {
    if seen.module.is_some() {
        return Finding::missing(
            CHECK,
            "the kernel module is loaded, but libcuda.so.1 is not found",
            "in a container, start it with --gpus all; else sudo apt install libcuda1, or what this system calls it",
        );
    }
    if seen.hardware {
        let found = "there is an NVIDIA device, but no driver for it";
        return Finding::missing(CHECK, found, INSTALL);
    }
    Finding::missing(
        CHECK,
        "not there, and no NVIDIA device is on the bus: blocks run on \"cpu\" and \"sim:N\"",
        "nothing, unless this machine has a device after all: then install driver 580 or newer",
    )
}

/// Codes by the names that the driver's header gives them.
fn unusable(seen: &Seen, reason: Option<&str>) -> Finding {
    let found = match reason {
        Some(reason) => format!("it is installed and does not start ({reason})"),
        None => "it is installed and finds no device".to_owned(),
    };
    let remedy = match reason {
        Some("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH") => {
            "restart the machine: the kernel module and libcuda.so.1 are of different versions"
                .to_owned()
        }
        Some("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE") => {
            format!(
                "remove the cuda-compat package, or install driver {DRIVER_NEEDED} or newer itself"
            )
        }
        Some("CUDA_ERROR_SYSTEM_NOT_READY") => {
            "sudo systemctl start nvidia-fabricmanager".to_owned()
        }
        Some("CUDA_ERROR_OPERATING_SYSTEM" | "CUDA_ERROR_UNKNOWN") if seen.files != Some(true) => {
            "sudo nvidia-modprobe -u -c=0, and see that this user may open /dev/nvidia*".to_owned()
        }
        Some("CUDA_ERROR_OPERATING_SYSTEM" | "CUDA_ERROR_UNKNOWN") => {
            "look at dmesg for lines with NVRM; restarting the machine often helps".to_owned()
        }
        _ if std::env::var_os("CUDA_VISIBLE_DEVICES").is_some() => {
            "unset CUDA_VISIBLE_DEVICES, which may hide all devices".to_owned()
        }
        _ if seen.module.is_none() && seen.hardware => "sudo modprobe nvidia".to_owned(),
        _ => "in a container, start it with --gpus all; else see what nvidia-smi says".to_owned(),
    };
    Finding::missing(CHECK, found, remedy)
}

fn working(seen: &Seen, count: usize) -> Finding {
    let module = seen.module.as_deref();
    let version = match (module, seen.cuda) {
        (Some(module), Some(cuda)) => format!("{module} with CUDA {}", cuda),
        (Some(module), None) => module.to_owned(),
        (None, Some(cuda)) => format!("CUDA {}", cuda),
        (None, None) => "of unknown version".to_owned(),
    };
    let devices = if count == 1 { "device" } else { "devices" };
    let found = format!("{version}, {count} {devices}");
    let old = match seen.cuda {
        Some(cuda) => cuda < CUDA_NEEDED,
        None => module.is_some_and(|module| major(module) < major(DRIVER_NEEDED)),
    };
    if old {
        return Finding::missing(
            CHECK,
            format!("{found}: too old for libtorch, which is built with CUDA {CUDA_NEEDED}"),
            INSTALL,
        );
    }
    Finding::ok(CHECK, found)
}

fn major(version: &str) -> u32 {
    let digits = version.split('.').next().unwrap_or_default();
    digits.parse().unwrap_or_default()
}

/// Takes `580.65.06` out of what the kernel module says of itself.
fn module_version(text: &str) -> Option<String> {
    let mut words = text.lines().next()?.split_whitespace();
    let number = |word: &&str| {
        word.contains('.') && word.chars().all(|one| one.is_ascii_digit() || one == '.')
    };
    words.find(number).map(str::to_owned)
}

/// Looks for a display or compute device by NVIDIA.
fn hardware(bus: &Path) -> bool {
    let Ok(devices) = fs::read_dir(bus) else {
        return false;
    };
    let said = |path: &Path, file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    devices.flatten().any(|device| {
        let path = device.path();
        said(&path, "vendor").trim() == VENDOR && said(&path, "class").starts_with("0x03")
    })
}

fn files() -> Option<bool> {
    let all = fs::read_dir("/dev").ok()?.flatten();
    let ours = all.filter(|file| file.file_name().to_string_lossy().starts_with("nvidia"));
    let files: Vec<_> = ours
        .map(|file| file.path())
        .filter(|path| !path.is_dir())
        .collect();
    (!files.is_empty()).then(|| files.iter().all(|path| fs::File::open(path).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::Status;

    fn seen(presence: Presence) -> Seen {
        Seen {
            presence,
            cuda: None,
            module: None,
            hardware: false,
            files: None,
        }
    }

    fn refused(code: &str) -> Seen {
        seen(Presence::NoDevice(Some(code.to_owned())))
    }

    fn remedy(seen: &Seen) -> String {
        let finding = judge(seen, &Needs::default());
        assert_eq!(finding.status, Status::Missing, "{finding:?}");
        finding.remedy.expect("what is missing can be brought")
    }

    #[test]
    fn a_machine_without_devices_needs_no_driver() {
        let finding = judge(&seen(Presence::NoDriver), &Needs::default());
        assert_eq!(finding.status, Status::Missing);
        assert!(finding.needed_by.is_empty());
        assert!(finding.found.contains("no NVIDIA device"), "{finding:?}");
    }

    #[test]
    fn whoever_asks_for_a_device_needs_a_driver() {
        let mut needs = Needs::default();
        needs.cuda.insert(1, vec!["blocks.a.device".to_owned()]);
        let finding = judge(&seen(Presence::NoDriver), &needs);
        assert_eq!(finding.needed_by, ["blocks.a.device"]);
    }

    #[test]
    fn a_device_without_a_driver_is_told_to_install_one() {
        let mut seen = seen(Presence::NoDriver);
        seen.hardware = true;
        assert!(remedy(&seen).contains("apt install"));
        seen.module = Some("580.65".into());
        assert!(remedy(&seen).contains("--gpus all"));
    }

    #[test]
    fn every_reason_not_to_start_has_its_remedy() {
        for (code, words) in [
            ("CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "restart the machine"),
            ("CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "cuda-compat"),
            ("CUDA_ERROR_SYSTEM_NOT_READY", "fabricmanager"),
            ("CUDA_ERROR_UNKNOWN", "nvidia-modprobe"),
        ] {
            assert!(remedy(&refused(code)).contains(words), "{code}");
        }
        let mut unknown = refused("CUDA_ERROR_UNKNOWN");
        unknown.files = Some(true);
        assert!(remedy(&unknown).contains("dmesg"));
        let mut none = refused("CUDA_ERROR_NO_DEVICE");
        none.hardware = true;
        assert!(remedy(&none).contains("modprobe") || remedy(&none).contains("CUDA_VISIBLE"));
    }

    #[test]
    fn an_old_driver_is_told_by_its_cuda_or_its_own_version() {
        for (cuda, module, status) in [
            (Some((13, 0)), Some("580.65.06"), Status::Ok),
            (Some((13, 1)), None, Status::Ok),
            (Some((12, 9)), Some("575.1"), Status::Missing),
            (None, Some("535.183.01"), Status::Missing),
            (None, Some("590.1"), Status::Ok),
            (None, None, Status::Ok),
        ] {
            let mut seen = seen(Presence::Devices(2));
            seen.cuda = cuda.map(|(major, minor)| CudaVersion { major, minor });
            seen.module = module.map(str::to_owned);
            let finding = judge(&seen, &Needs::default());
            assert_eq!(finding.status, status, "{cuda:?} {module:?}");
            assert!(finding.found.contains("2 devices"));
        }
    }

    #[test]
    fn the_version_is_read_out_of_the_modules_own_words() {
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\nGCC";
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC";
        assert_eq!(module_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(module_version(closed).as_deref(), Some("535.183.01"));
        assert_eq!(module_version(""), None);
    }
}
