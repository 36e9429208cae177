//! Whether this machine has an NVIDIA driver and devices, found out without needing either.

#![expect(unsafe_code, reason = "looks for the driver's library")]

use std::fmt;
use std::sync::OnceLock;

use cudarc::driver::{result, sys};

use super::CudaError;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// No driver is installed.
    NoDriver,
    /// There is a driver, but no device that it can use; with the driver's reason where it gave one.
    NoDevice(Option<String>),
    /// So many devices, at least one.
    Devices(usize),
}

/// Looks for the driver and its devices, the first time; what was found then holds for the process.
pub fn presence() -> Presence {
    static FOUND: OnceLock<Presence> = OnceLock::new();
    FOUND.get_or_init(look).clone()
}

/// Returns how many devices there are, at least one.
pub(super) fn device_count() -> Result<usize, CudaError> {
    match presence() {
        Presence::Devices(count) => Ok(count),
        none => Err(CudaError::NotAvailable(none)),
    }
}

fn look() -> Presence {
    // SAFETY: loads libcuda if the machine has it, running its initialisers, as any CUDA program does, and lets it go.
    // Asked first because every other call of cudarc panics where the library is missing.
    if !unsafe { sys::is_culib_present() } {
        return Presence::NoDriver;
    }
    match result::init().and_then(|()| result::device::get_count()) {
        Ok(count) => match usize::try_from(count) {
            Ok(count) if count > 0 => Presence::Devices(count),
            _ => Presence::NoDevice(None),
        },
        // The bare code: naming it calls into the driver, which may be too old to have the function.
        Err(error) => Presence::NoDevice(Some(format!("{:?}", error.0))),
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => f.write_str("no NVIDIA driver is installed"),
            Self::NoDevice(None) => f.write_str("the NVIDIA driver finds no device"),
            Self::NoDevice(Some(reason)) => {
                write!(f, "the NVIDIA driver finds no device ({reason})")
            }
            Self::Devices(1) => f.write_str("the NVIDIA driver finds 1 device"),
            Self::Devices(count) => write!(f, "the NVIDIA driver finds {count} devices"),
        }
    }
}
