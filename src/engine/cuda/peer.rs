//! Devices that read each other's memory directly, and those that do not.
//!
//! The driver copies between any two devices; where one may read the other's memory it does so over the link between them,
//! else through memory of the host. It takes the direct way only where access was switched on, once for each direction.

#![expect(unsafe_code, reason = "calls the driver")]

use std::ffi::c_int;

use cudarc::driver::{result, sys};

use super::context::lock;
use super::device::check_version;
use super::error::checked;
use super::presence::device_count;
use super::{Context, CudaError};

/// Tells whether a device can read the memory of another one directly. Makes no context.
pub fn can_read(reader: u16, owner: u16) -> Result<bool, CudaError> {
    device_count()?;
    check_version()?;
    let reader = checked("cuDeviceGet", result::device::get(reader.into()))?;
    let owner = checked("cuDeviceGet", result::device::get(owner.into()))?;
    let mut can: c_int = 0;
    // SAFETY: a place to write to, and two devices that the driver named.
    let asked = unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, reader, owner) };
    checked("cuDeviceCanAccessPeer", asked.result())?;
    Ok(can != 0)
}

impl Context {
    /// Tells whether this device reads the memory of another one directly, which is switched on the first time. Otherwise
    /// copies between them go through the host, and that is logged once.
    pub fn reads(&self, owner: &Self) -> Result<bool, CudaError> {
        if self.ordinal() == owner.ordinal() {
            return Ok(true);
        }
        let mut known = lock(&self.reads);
        if let Some(reads) = known.get(&owner.ordinal()) {
            return Ok(*reads);
        }
        let reads = can_read(self.ordinal(), owner.ordinal())? && self.switch_on(owner)?;
        if !reads {
            let [reader, owner] = [self, owner].map(|one| format!("cuda:{}", one.ordinal()));
            tracing::info!(%reader, %owner, "copied through the host: the device cannot read the other's memory");
        }
        known.insert(owner.ordinal(), reads);
        Ok(reads)
    }

    fn switch_on(&self, owner: &Self) -> Result<bool, CudaError> {
        use sys::CUresult as Code;
        let _current = self.enter()?;
        // SAFETY: a current context and another one, neither of which is ever released.
        let switched = unsafe { sys::cuCtxEnablePeerAccess(owner.raw(), 0) };
        match switched {
            // libtorch may have been first.
            Code::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED => Ok(true),
            // A device has so many peers at most.
            Code::CUDA_ERROR_TOO_MANY_PEERS | Code::CUDA_ERROR_PEER_ACCESS_UNSUPPORTED => Ok(false),
            code => checked("cuCtxEnablePeerAccess", code.result()).map(|()| true),
        }
    }
}
