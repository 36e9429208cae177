//! What the driver says of itself and of its devices.

#![expect(unsafe_code, reason = "calls the driver")]

use std::ffi::c_int;
use std::fmt;

use cudarc::driver::{result, sys};

use crate::types::Device;

use super::CudaError;
use super::error::checked;
use super::presence::device_count;

/// A version of CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion {
    pub major: u32,
    pub minor: u32,
}

/// What is known of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceProperties {
    /// N of `cuda:N`.
    pub ordinal: u16,
    pub name: String,
    /// Major and minor number of the compute capability.
    pub capability: (u32, u32),
    pub memory_bytes: u64,
    /// Of all processes together; `None` where no context can be made, as where another process has the device alone.
    pub memory_free_bytes: Option<u64>,
    pub multiprocessors: u32,
    /// As `nvidia-smi -L` writes it.
    pub uuid: String,
    /// Domain, bus and device.
    pub pci: String,
    /// Whether processes can share its memory and wait for each other's events.
    pub can_ipc: bool,
    /// Devices whose memory it reads and writes directly.
    pub peers: Vec<u16>,
}

/// The oldest that the libtorch of this program and the functions used here are made for.
const NEEDED: CudaVersion = CudaVersion {
    major: 13,
    minor: 0,
};

/// Returns the newest version of CUDA that the driver can do.
pub fn driver_version() -> Result<CudaVersion, CudaError> {
    device_count()?;
    let mut version: c_int = 0;
    // SAFETY: a place to write to; the driver is there.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    checked("cuDriverGetVersion", asked.result())?;
    let version = u32::try_from(version).unwrap_or(0);
    Ok(CudaVersion {
        major: version / 1000,
        minor: version % 1000 / 10,
    })
}

/// Tells whether the driver is new enough: an older one lacks functions that are looked up when they are first called.
pub(crate) fn check_version() -> Result<(), CudaError> {
    let seen = driver_version()?;
    if seen < NEEDED {
        return Err(CudaError::DriverTooOld {
            seen,
            needed: NEEDED,
        });
    }
    Ok(())
}

/// Returns the devices of this machine that the driver shows to this process.
pub fn devices() -> Result<Vec<DeviceProperties>, CudaError> {
    let count = device_count()?;
    check_version()?;
    let ordinals = (0..count).filter_map(|ordinal| u16::try_from(ordinal).ok());
    ordinals.map(properties).collect()
}

fn properties(ordinal: u16) -> Result<DeviceProperties, CudaError> {
    use sys::CUdevice_attribute as Attribute;
    let device = checked("cuDeviceGet", result::device::get(ordinal.into()))?;
    let number = |attribute| -> Result<u32, CudaError> {
        // SAFETY: a device that the driver just named.
        let value = unsafe { result::device::get_attribute(device, attribute) };
        let value = checked("cuDeviceGetAttribute", value)?;
        Ok(u32::try_from(value).unwrap_or(0))
    };
    // SAFETY: as above.
    let memory = checked("cuDeviceTotalMem", unsafe {
        result::device::total_mem(device)
    })?;
    let uuid = checked("cuDeviceGetUuid", result::device::get_uuid(device))?;
    Ok(DeviceProperties {
        ordinal,
        name: checked("cuDeviceGetName", result::device::get_name(device))?,
        capability: (
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        memory_bytes: memory as u64,
        memory_free_bytes: free_bytes(device),
        multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        uuid: uuid_text(uuid.bytes.map(|byte| byte as u8)),
        pci: format!(
            "{:08x}:{:02x}:{:02x}.0",
            number(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID)?,
            number(Attribute::CU_DEVICE_ATTRIBUTE_PCI_BUS_ID)?,
            number(Attribute::CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID)?,
        ),
        can_ipc: can_ipc(device)?,
        peers: peers(ordinal, device)?,
    })
}

/// Returns what tells a device from all others, whatever a process calls it.
pub(crate) fn identity(ordinal: u16) -> Result<[u8; 16], CudaError> {
    let device = checked("cuDeviceGet", result::device::get(ordinal.into()))?;
    let uuid = checked("cuDeviceGetUuid", result::device::get_uuid(device))?;
    Ok(uuid.bytes.map(|byte| byte as u8))
}

/// Tells whether processes can share memory of a device and wait for each other's events.
pub(crate) fn can_share(ordinal: u16) -> Result<bool, CudaError> {
    device_count()?;
    check_version()?;
    can_ipc(checked("cuDeviceGet", result::device::get(ordinal.into()))?)
}

/// Tells whether there is a driver that says that processes cannot share memory of a device.
pub fn is_unshared(device: Device) -> bool {
    matches!(device, Device::Cuda(ordinal) if can_share(ordinal) == Ok(false))
}

fn can_ipc(device: sys::CUdevice) -> Result<bool, CudaError> {
    use sys::CUdevice_attribute as Attribute;
    let is = |attribute| {
        // SAFETY: a device that the driver named.
        let value = unsafe { result::device::get_attribute(device, attribute) };
        checked("cuDeviceGetAttribute", value).map(|value| value != 0)
    };
    let events = is(Attribute::CU_DEVICE_ATTRIBUTE_IPC_EVENT_SUPPORTED).unwrap_or(false);
    let unified = is(Attribute::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING)?;
    Ok(events && unified && !is(Attribute::CU_DEVICE_ATTRIBUTE_INTEGRATED)?)
}

/// Returns the free memory, for which a context is needed; one that was not there is gone again afterwards.
fn free_bytes(device: sys::CUdevice) -> Option<u64> {
    // SAFETY: a device that the driver just named.
    let context = unsafe { result::primary_ctx::retain(device) }.ok()?;
    // SAFETY: a context that was just retained.
    let pushed = unsafe { sys::cuCtxPushCurrent_v2(context) }.result();
    let info = pushed.and_then(|()| {
        let info = result::mem_get_info();
        let mut popped = std::ptr::null_mut();
        // SAFETY: a place to write to; what is popped was just pushed.
        unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) }.result()?;
        info
    });
    // SAFETY: gives back the one reference that was taken above.
    let _ = unsafe { result::primary_ctx::release(device) };
    info.ok().map(|(free, _)| free as u64)
}

fn peers(ordinal: u16, device: sys::CUdevice) -> Result<Vec<u16>, CudaError> {
    let count = u16::try_from(device_count()?).unwrap_or(u16::MAX);
    let mut peers = Vec::new();
    for other in (0..count).filter(|&other| other != ordinal) {
        let peer = checked("cuDeviceGet", result::device::get(other.into()))?;
        let mut can = 0;
        // SAFETY: a place to write to, and two devices that the driver named.
        let asked = unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, device, peer) };
        checked("cuDeviceCanAccessPeer", asked.result())?;
        if can != 0 {
            peers.push(other);
        }
    }
    Ok(peers)
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| digits[range].concat();
    let parts = [
        part(0..4),
        part(4..6),
        part(6..8),
        part(8..10),
        part(10..16),
    ];
    format!("GPU-{}", parts.join("-"))
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_written_as_the_tools_of_the_driver_do() {
        let bytes = std::array::from_fn(|place| 0x10 * place as u8 + 1);
        let expected = "GPU-01112131-4151-6171-8191-a1b1c1d1e1f1";
        assert_eq!(uuid_text(bytes), expected);
    }
}
