//! The primary context of each device.

#![expect(unsafe_code, reason = "calls the driver")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::device::check_version;
use super::error::checked;
use super::presence::{device_count, presence};
use super::stream::Idle;
use super::{CudaError, PinnedPool};

/// The primary context of a device, which libtorch computes in too.
#[derive(Debug)]
pub struct Context {
    ordinal: u16,
    raw: sys::CUcontext,
    /// Streams that nobody has at the moment.
    pub(super) idle: Mutex<Idle>,
    pinned: PinnedPool,
    /// Whether it reads the memory of another device directly, as far as somebody has asked.
    pub(super) reads: Mutex<BTreeMap<u16, bool>>,
}

// SAFETY: a context is used from any thread; the driver has its own locks. It is never released.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// Bytes of a device, of all processes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemoryInfo {
    pub free: u64,
    pub total: u64,
}

/// That a context is the thread's current one; the one before is that again when this is dropped.
pub(super) struct Current(());

static CONTEXTS: Mutex<BTreeMap<u16, Arc<Context>>> = Mutex::new(BTreeMap::new());

impl Context {
    /// Returns the primary context of a device, which is made if nobody has done so yet. It stays for as long as the
    /// process.
    pub fn of(ordinal: u16) -> Result<Arc<Self>, CudaError> {
        let count = device_count()?;
        check_version()?;
        if usize::from(ordinal) >= count {
            let found = presence();
            return Err(CudaError::NoSuchDevice { ordinal, found });
        }
        let mut contexts = lock(&CONTEXTS);
        if let Some(known) = contexts.get(&ordinal) {
            return Ok(known.clone());
        }
        let device = checked("cuDeviceGet", result::device::get(ordinal.into()))?;
        // SAFETY: a device that the driver just named.
        let raw = checked("cuDevicePrimaryCtxRetain", unsafe {
            result::primary_ctx::retain(device)
        })?;
        let made = Arc::new(Self {
            ordinal,
            raw,
            idle: Mutex::default(),
            pinned: PinnedPool::new(ordinal),
            reads: Mutex::default(),
        });
        contexts.insert(ordinal, made.clone());
        Ok(made)
    }

    pub fn ordinal(&self) -> u16 {
        self.ordinal
    }

    /// Returns the pinned memory for copies of this device.
    pub fn pinned(&self) -> &PinnedPool {
        &self.pinned
    }

    /// Asks the device how much memory it has.
    pub fn memory(&self) -> Result<DeviceMemoryInfo, CudaError> {
        let _current = self.enter()?;
        let (free, total) = checked("cuMemGetInfo", result::mem_get_info())?;
        Ok(DeviceMemoryInfo {
            free: free as u64,
            total: total as u64,
        })
    }

    /// Makes the context the thread's current one for a while.
    pub(super) fn enter(&self) -> Result<Current, CudaError> {
        // SAFETY: the context is never released.
        let pushed = unsafe { sys::cuCtxPushCurrent_v2(self.raw) };
        checked("cuCtxPushCurrent", pushed.result())?;
        Ok(Current(()))
    }

    pub(super) const fn raw(&self) -> sys::CUcontext {
        self.raw
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let mut popped = std::ptr::null_mut();
        // SAFETY: a place to write to; what is popped is what `enter` pushed, as these are dropped in the opposite order.
        // Fails only where every call does.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) };
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
