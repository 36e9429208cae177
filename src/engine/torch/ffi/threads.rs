//! State that libtorch and the C library keep per thread or per process.

#![expect(unsafe_code, reason = "calls the C library and guards of libtorch")]

use std::ffi::c_int;
use std::marker::PhantomData;

use super::super::cause::Cause;
use super::begin;
use super::bindings::{
    Guard, blockflow_inference_enter, blockflow_inference_leave, blockflow_set_allocator,
    blockflow_set_threads, blockflow_threads, take_message,
};
use super::cuda::give_back_device_memory;

/// Makes all threads allocate from one arena of the C library, so that the activations one block has just freed, still
/// in the cache, serve the next block on another thread. For the start of `main`; does nothing but under glibc.
///
/// Tensors get memory from `malloc` itself, not from its aligned sibling, which fragments the heap.
pub fn tune_allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` may be called at any time, from any thread; it changes no existing allocation.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
    // SAFETY: no preconditions; tensors made before keep the allocator they came from.
    unsafe { blockflow_set_allocator() };
}

/// Gives the pages of what was freed back to the system, and to CUDA devices, as after all blocks of a configuration have gone. Takes milliseconds,
/// in which no other thread allocates; does nothing but under glibc.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called at any time, from any thread; it touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
    give_back_device_memory();
}

/// Asks the scheduler to let this thread run longer before another takes its core (Linux 6.12 and newer; others ignore
/// it): an operator that is interrupted finds the cache cold. Threads with shorter slices still get the core when they
/// wake, so front ends stay responsive.
pub fn prefer_long_slices() {
    #[cfg(target_os = "linux")]
    {
        const SLICE_NS: u64 = 100_000_000;
        let attributes = SchedAttributes {
            size: size_of::<SchedAttributes>() as u32,
            policy: 0,
            flags: 0,
            nice: 0,
            priority: 0,
            runtime: SLICE_NS,
            deadline: 0,
            period: 0,
        };
        // SAFETY: the structure is that of the call's first version, whose size it states; 0 is the calling thread.
        let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
        if done != 0 {
            tracing::debug!(error = %std::io::Error::last_os_error(), "slices not lengthened");
        }
    }
}

/// `struct sched_attr` of sched_setattr(2), first version.
#[cfg(target_os = "linux")]
#[repr(C)]
struct SchedAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Sets how many threads the operators of this thread use. At least one.
pub fn set_threads(count: usize) {
    begin();
    let count = c_int::try_from(count.max(1)).unwrap_or(c_int::MAX);
    let mut error = std::ptr::null_mut();
    // SAFETY: the number is positive and `error` a place to write to.
    if !unsafe { blockflow_set_threads(count, &raw mut error) } {
        // SAFETY: the shim set `error` to null or to a string of ours from `strdup`.
        let cause = unsafe { take_message(error) };
        tracing::warn!(cause, "number of operator threads not set");
    }
}

/// Returns how many threads the operators of this thread use.
pub fn threads() -> usize {
    begin();
    // SAFETY: no preconditions.
    usize::try_from(unsafe { blockflow_threads() }).unwrap_or(0)
}

/// No gradients, no version counters, until dropped. Bound to its thread.
pub(crate) struct InferenceMode {
    guard: *mut Guard,
    /// The mode is the thread's: dropped elsewhere it would change another thread's state.
    _thread: PhantomData<*mut ()>,
}

impl InferenceMode {
    pub(crate) fn enter() -> Result<Self, Cause> {
        begin();
        // SAFETY: no preconditions.
        let guard = unsafe { blockflow_inference_enter() };
        if guard.is_null() {
            return Err(Cause::new("out of memory"));
        }
        Ok(Self {
            guard,
            _thread: PhantomData,
        })
    }
}

impl Drop for InferenceMode {
    fn drop(&mut self) {
        // SAFETY: the guard of `enter`, not freed before, on the thread that made it since the type is not `Send`.
        unsafe { blockflow_inference_leave(self.guard) };
    }
}
