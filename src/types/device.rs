//! Devices a block can run on.

use std::fmt;
use std::str::FromStr;

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
}

/// A name that is no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device {seen:?}, expected \"cpu\" or \"cuda:N\"")]
pub struct DeviceParseError {
    pub seen: String,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
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
            _ => Err(error()),
        }
    }
}
