//! What has to happen before libtorch computes anything in a process: its CUDA half is loaded, where there is a driver.
//!
//! libtorch asks for its CUDA half once, the first time that anything might concern it, as every convolution might, and
//! believes the answer for good. So whatever computes in this room comes by here first, and the answer is found once: on a
//! machine with a driver and a device the library beside libtorch's own is loaded, on others nothing is. A process that
//! computes nothing loads nothing.

#![expect(unsafe_code, reason = "loads a library")]

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::engine::cuda::{CudaError, Presence, check_version, presence};

use super::bindings::{
    blockflow_cuda_begin, blockflow_has_cuda, blockflow_libtorch_file, take_message,
};

const LIBRARY: &str = "libtorch_cuda.so";

/// Why libtorch cannot compute on CUDA devices in this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTorchCuda {
    #[error(transparent)]
    Driver(#[from] CudaError),
    /// It is a libtorch for the CPU.
    #[error(
        "this libtorch has no CUDA half: there is no {}; use the libtorch of a CUDA build of torch",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error("cannot load {}: {cause}", path.display())]
    Load { path: PathBuf, cause: String },
    /// Something computed with libtorch before its CUDA half was there.
    #[error(
        "libtorch was used before its CUDA half was loaded, or finds no device: start the process again"
    )]
    TooLate,
    #[error("libtorch cannot be set to compute otherwise: {0}")]
    Switch(String),
}

static BEGUN: OnceLock<Result<(), NoTorchCuda>> = OnceLock::new();

/// Tells whether libtorch computes on CUDA devices, as far as anything was computed yet.
pub(crate) fn has_begun() -> bool {
    matches!(BEGUN.get(), Some(Ok(())))
}

/// Does what has to be done first, the first time; returns what came of it.
pub(crate) fn begin() -> &'static Result<(), NoTorchCuda> {
    BEGUN.get_or_init(|| {
        let begun = load();
        match &begun {
            Ok(()) => tracing::debug!("libtorch computes on CUDA devices"),
            Err(NoTorchCuda::Driver(reason @ CudaError::NotAvailable(_))) => {
                tracing::debug!(%reason, "libtorch computes on the CPU only");
            }
            // There is a device, so somebody may wonder.
            Err(reason) => tracing::info!(%reason, "libtorch computes on the CPU only"),
        }
        begun
    })
}

fn load() -> Result<(), NoTorchCuda> {
    match presence() {
        Presence::Devices(_) => {}
        none => return Err(CudaError::NotAvailable(none).into()),
    }
    check_version()?;
    let path = beside_libtorch();
    if !path.exists() {
        return Err(NoTorchCuda::Missing { path });
    }
    open(&path)?;
    // SAFETY: no preconditions.
    if !unsafe { blockflow_has_cuda() } {
        return Err(NoTorchCuda::TooLate);
    }
    let mut error = std::ptr::null_mut();
    // SAFETY: a place to write to.
    if !unsafe { blockflow_cuda_begin(&raw mut error) } {
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        let cause = unsafe { take_message(error) }.unwrap_or_default();
        return Err(NoTorchCuda::Load { path, cause });
    }
    Ok(())
}

/// Returns where the CUDA half of the libtorch that this process has would be.
fn beside_libtorch() -> PathBuf {
    // SAFETY: no preconditions; returns null or a string of ours from `strdup`.
    let own = unsafe { take_message(blockflow_libtorch_file()) }.unwrap_or_default();
    let own = Path::new(OsStr::from_bytes(own.as_bytes()));
    // A folder may be put together of links, with the CUDA half where they lead.
    let candidates = [Some(own.to_owned()), own.canonicalize().ok()];
    let candidates = candidates
        .into_iter()
        .flatten()
        .map(|file| file.with_file_name(LIBRARY));
    let candidates: Vec<_> = candidates.collect();
    let found = candidates.iter().find(|path| path.exists());
    let path = found.or(candidates.first()).cloned().unwrap_or_default();
    // Where it lies itself: the loader looks for what it needs beside the path that it is given.
    path.canonicalize().unwrap_or(path)
}

/// Loads a library for the whole process, which keeps it.
fn open(path: &Path) -> Result<(), NoTorchCuda> {
    let failed = |cause: String| NoTorchCuda::Load {
        path: path.to_owned(),
        cause,
    };
    let name =
        CString::new(path.as_os_str().as_bytes()).map_err(|error| failed(error.to_string()))?;
    // SAFETY: a NUL-terminated path. The library's initialisers register kernels and hooks; they compute nothing.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_GLOBAL) };
    if !handle.is_null() {
        return Ok(());
    }
    // SAFETY: returns null or a NUL-terminated message that stays until this thread's next call of the loader.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(failed("the loader does not say why".to_owned()));
    }
    // SAFETY: as above.
    let message = unsafe { CStr::from_ptr(message) };
    Err(failed(message.to_string_lossy().into_owned()))
}
