//! Memory of the host that somebody else owns, and that a device copies from and to by itself all the same.

#![expect(unsafe_code, reason = "calls the driver")]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use cudarc::driver::{result, sys};

use crate::types::Mapped;

use super::context::lock;
use super::device::check_version;
use super::error::checked;
use super::{Context, CudaError};

/// Bytes that are registered of one mapping at most, from its beginning: they are in memory for as long as that lasts, used or
/// not.
const BYTES_MAX: usize = 32 << 20;

/// What is registered: bytes by first address.
static REGISTERED: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// The beginning of a mapping, registered for all devices until this is dropped. Whoever has a device copy there keeps it until
/// the copy is done.
#[derive(Debug)]
pub struct Registered {
    context: Arc<Context>,
    address: usize,
    /// Stays mapped for as long.
    _memory: Arc<dyn Mapped>,
}

impl Registered {
    /// Registers the beginning of a mapping. May take long: not for the data path.
    pub fn new(context: &Arc<Context>, memory: Arc<dyn Mapped>) -> Result<Self, CudaError> {
        let (address, bytes) = memory.span();
        let bytes = bytes.min(BYTES_MAX);
        let mut flags = sys::CU_MEMHOSTREGISTER_PORTABLE;
        if !memory.is_writable() {
            check_read_only(context)?;
            flags |= sys::CU_MEMHOSTREGISTER_READ_ONLY;
        }
        let _current = context.enter()?;
        // SAFETY: so many bytes from the address on are mapped, whole pages of the host, for as long as `memory` lives, which
        // is unregistered before it is dropped.
        let done = unsafe {
            sys::cuMemHostRegister_v2(address as *mut c_void, bytes, flags as std::ffi::c_uint)
        };
        checked("cuMemHostRegister", done.result())?;
        lock(&REGISTERED).insert(address, bytes);
        Ok(Self {
            context: context.clone(),
            address,
            _memory: memory,
        })
    }
}

/// Tells whether a device copies from some bytes by itself, although they are no [`PinnedBlock`](super::PinnedBlock).
pub(in crate::engine) fn is_registered(bytes: &[u8]) -> bool {
    let address = bytes.as_ptr().addr();
    let all = lock(&REGISTERED);
    let before = all.range(..=address).next_back();
    before.is_some_and(|(start, length)| address - start + bytes.len() <= *length)
}

/// Returns how many of the first of some bytes, at least one, are alike: registered, or not. The driver refuses to copy from
/// or to both at once.
pub(super) fn alike(bytes: &[u8]) -> usize {
    let address = bytes.as_ptr().addr();
    let all = lock(&REGISTERED);
    let before = all.range(..=address).next_back();
    let within = before.map(|(start, length)| (start + length).saturating_sub(address));
    let border = match within.filter(|&within| within > 0) {
        Some(within) => Some(within),
        None => all
            .range(address..)
            .next()
            .map(|(start, _)| start - address),
    };
    border.map_or(bytes.len(), |border| border.min(bytes.len()))
}

fn check_read_only(context: &Context) -> Result<(), CudaError> {
    use sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED as SUPPORTED;
    check_version()?;
    let device = checked("cuDeviceGet", result::device::get(context.ordinal().into()))?;
    // SAFETY: a device that the driver just named.
    let value = unsafe { result::device::get_attribute(device, SUPPORTED) };
    match checked("cuDeviceGetAttribute", value)? {
        0 => Err(CudaError::ReadOnly),
        _ => Ok(()),
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&REGISTERED).remove(&self.address);
        if let Ok(_current) = self.context.enter() {
            // SAFETY: registered once, by this, and nobody copies there any more.
            let _ = unsafe { sys::cuMemHostUnregister(self.address as *mut c_void) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_parted_where_what_is_registered_begins_and_ends() {
        let bytes = [0_u8; 100];
        let first = bytes.as_ptr().addr();
        lock(&REGISTERED).extend([(first + 20, 30), (first + 50, 10)]);
        let mut parts = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (part, others) = rest.split_at(alike(rest));
            parts.push((part.len(), is_registered(part)));
            rest = others;
        }
        let expected = [(20, false), (30, true), (10, true), (40, false)];
        assert_eq!(parts, expected);
        assert_eq!(alike(&bytes[..15]), 15);
        assert_eq!(alike(&bytes[25..40]), 15);
        lock(&REGISTERED).retain(|start, _| ![first + 20, first + 50].contains(start));
        assert_eq!(alike(&bytes), 100);
    }
}
