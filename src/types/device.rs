//! Devices a block can run on, and what a configuration says of them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where a block computes and its tensors live.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub enum Device {
    #[default]
    Cpu,
    /// CUDA device by ordinal.
    Cuda(u16),
    /// Simulated accelerator by ordinal: computes on the CPU, with memory and a link of its own.
    Sim(u16),
}

/// What a configuration says of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    pub device: Device,
    /// Bytes that all blocks together may hold there; `None`: as many as they like.
    pub memory_bytes: Option<u64>,
    /// Bytes a second over the link between host and device, of a simulated one; `None`: as fast as memory is copied.
    pub copy_bytes_per_s: Option<u64>,
    /// What goes wrong on a simulated one.
    pub faults: Vec<FaultSpec>,
}

/// A fault that a simulated device has by declaration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    pub at: FaultPoint,
    pub kind: DeviceFault,
    pub due: Due,
    /// Only calls of this block count; `None`: all of the device.
    pub block: Option<String>,
}

/// The calls that a fault can happen in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultPoint {
    /// A block is loaded.
    Load,
    /// A block runs once.
    Run,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceFault {
    /// The call finds too little memory; what it took is free again.
    OutOfMemory,
    /// This call and every later one on the device fail, until the process is another one.
    Sticky,
    /// The call takes this much longer.
    Hang { time: Duration },
    /// The call fails.
    Error,
}

/// Which calls a fault happens in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Due {
    /// The n-th one, and each n-th after it.
    Every(u64),
    /// One: the next after so many.
    After(u64),
}

/// A name that is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {seen:?}, expected \"cpu\", \"cuda:N\" or \"sim:N\"")]
pub struct DeviceParseError {
    pub seen: String,
}

impl DeviceSpec {
    /// Returns what a configuration that says `all` of this says of a device.
    pub fn of(all: &[Self], device: Device) -> Self {
        let said = all.iter().find(|spec| spec.device == device);
        said.cloned().unwrap_or_else(|| Self::unbounded(device))
    }

    /// Returns what holds of a device of which a configuration says nothing.
    pub const fn unbounded(device: Device) -> Self {
        Self {
            device,
            memory_bytes: None,
            copy_bytes_per_s: None,
            faults: Vec::new(),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Sim(ordinal) => write!(f, "sim:{ordinal}"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || DeviceParseError {
            seen: text.to_owned(),
        };
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            Some(("cuda", ordinal)) => ordinal.parse().map(Self::Cuda).map_err(|_| error()),
            Some(("sim", ordinal)) => ordinal.parse().map(Self::Sim).map_err(|_| error()),
            _ => Err(error()),
        }
    }
}
