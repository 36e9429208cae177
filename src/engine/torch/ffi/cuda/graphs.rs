//! CUDA graphs: what a thread launched once, put into a stream again and again with one call.
//!
//! libtorch's part of it lies in its CUDA half, to which the program is not linked. So the shim for it (`graphs.cpp`) is a
//! library of its own, which this program carries along and loads from memory once that half is there. A program that was built
//! without the headers of CUDA carries none.
//!
//! Invariants:
//! - One graph at a time is captured or freed in the process: libtorch notes all of them in one place without a lock. Its
//!   generator of random numbers knows of captures alone meanwhile, whatever thread asks it.
//! - However a capture ends, the thread's stream is not captured any more, and the allocator takes from no pool of it.

#![expect(unsafe_code, reason = "loads a library and calls its functions")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::super::super::cause::Cause;
use super::super::{has_begun, version};
use super::InStream;
use super::call::shim;

/// The shim, as the build made it; empty where it had no headers.
static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/blockflow_graphs.so"));

/// Why this process has no CUDA graphs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGraphs {
    #[error(
        "this program was built without the headers of CUDA: run scripts/setup and build it again"
    )]
    NotBuilt,
    #[error("libtorch computes on no CUDA device in this process")]
    NoDevice,
    #[error("this program was built for libtorch {expected} and runs with {seen}")]
    Version { expected: String, seen: String },
    #[error("what captures CUDA graphs cannot be loaded: {0}")]
    Load(String),
}

/// Held by who captures or frees a graph, and by who draws numbers, which the one generator refuses while it is captured.
static CAPTURING: Mutex<()> = Mutex::new(());

type Raw = *mut c_void;
type Errors = *mut *mut c_char;

/// The functions of the shim.
struct Library {
    new: unsafe extern "C" fn(Errors) -> Raw,
    begin: unsafe extern "C" fn(Raw, Raw, Errors) -> bool,
    end: unsafe extern "C" fn(Raw, Errors) -> bool,
    replay: unsafe extern "C" fn(Raw, Errors) -> bool,
    memory: unsafe extern "C" fn(Raw, *mut u64, Errors) -> bool,
    free: unsafe extern "C" fn(Raw),
}

/// What was captured. The memory that it reads and writes, but for what it took itself, has to stay where it is.
pub(crate) struct Graph {
    raw: NonNull<c_void>,
    library: &'static Library,
}

/// A capture that has begun. Ends it when dropped, and frees the graph unless that was taken out.
struct Capture {
    raw: Option<NonNull<c_void>>,
    library: &'static Library,
    /// Whether it was ended.
    ended: bool,
    _alone: MutexGuard<'static, ()>,
}

// SAFETY: libtorch's graph is used from any thread, by one at a time: `Graph` is not `Sync`.
unsafe impl Send for Graph {}

/// Waits for the graph that is captured, if there is one. No other is until the guard is dropped, nor freed: this thread does
/// neither meanwhile.
pub(crate) fn while_none_is_captured() -> MutexGuard<'static, ()> {
    CAPTURING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells whether this program has what captures graphs.
pub fn carries_graphs() -> Result<(), NoGraphs> {
    match BYTES.is_empty() {
        true => Err(NoGraphs::NotBuilt),
        false => Ok(()),
    }
}

/// Tells whether this process can capture graphs. The first time that it computes on a device, this loads what it takes.
pub fn graphs_available() -> Result<(), NoGraphs> {
    library().map(drop)
}

impl Graph {
    /// Captures what `body` launches in the thread's stream, which was given nothing that is not done. Nothing of it is done.
    /// Memory that it takes is the graph's, or that of a graph `beside`, which is never replayed at the same time.
    ///
    /// `body` neither waits for a device nor copies from or to the host, and drops no graph.
    pub(crate) fn capture<T, E: From<Cause>>(
        _stream: &InStream<'_>,
        beside: Option<&Self>,
        body: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        let library = library().map_err(|error| Cause::new(error.to_string()))?;
        let mut capture = Capture::begin(library, beside)?;
        let made = body()?;
        capture.end()?;
        let raw = capture.raw.take();
        let raw = raw.ok_or_else(|| Cause::new("nothing was captured"))?;
        Ok((Self { raw, library }, made))
    }

    /// Puts what was captured into the thread's stream.
    pub(crate) fn replay(&self, _stream: &InStream<'_>) -> Result<(), Cause> {
        // SAFETY: a graph that is captured and not freed; another thread has no reference to it.
        shim(|error| unsafe { (self.library.replay)(self.raw.as_ptr(), error) })
    }

    /// Returns the bytes of the device that graphs with this one's memory have.
    pub(crate) fn memory(&self) -> Result<u64, Cause> {
        let mut bytes = 0;
        // SAFETY: as above, and a place to write to.
        shim(|error| unsafe { (self.library.memory)(self.raw.as_ptr(), &raw mut bytes, error) })?;
        Ok(bytes)
    }
}

impl Capture {
    fn begin(library: &'static Library, beside: Option<&Graph>) -> Result<Self, Cause> {
        let alone = while_none_is_captured();
        let mut raw = None;
        shim(|error| {
            // SAFETY: no preconditions.
            raw = NonNull::new(unsafe { (library.new)(error) });
            raw.is_some()
        })?;
        let mut capture = Self {
            raw,
            library,
            ended: true,
            _alone: alone,
        };
        let beside = beside.map_or(std::ptr::null_mut(), |graph| graph.raw.as_ptr());
        // SAFETY: a new graph, and none or one that is captured.
        shim(|error| unsafe { (library.begin)(capture.pointer(), beside, error) })?;
        capture.ended = false;
        Ok(capture)
    }

    fn end(&mut self) -> Result<(), Cause> {
        self.ended = true;
        // SAFETY: a graph whose capture this thread began.
        shim(|error| unsafe { (self.library.end)(self.pointer(), error) })
    }

    fn pointer(&self) -> Raw {
        self.raw.map_or(std::ptr::null_mut(), NonNull::as_ptr)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.ended
            && let Err(cause) = self.end()
        {
            tracing::debug!(%cause, "a capture that was given up");
        }
        if let Some(raw) = self.raw.take() {
            // SAFETY: nobody else has it.
            unsafe { (self.library.free)(raw.as_ptr()) };
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _alone = while_none_is_captured();
        // SAFETY: nobody else has it.
        unsafe { (self.library.free)(self.raw.as_ptr()) };
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

fn library() -> Result<&'static Library, NoGraphs> {
    static LIBRARY: OnceLock<Result<Library, NoGraphs>> = OnceLock::new();
    carries_graphs()?;
    if !has_begun() {
        return Err(NoGraphs::NoDevice);
    }
    let library = LIBRARY.get_or_init(|| {
        // SAFETY: the library is this program's own and stays loaded; its initialisers are those of C++'s streams.
        unsafe { Library::load() }
    });
    library.as_ref().map_err(NoGraphs::clone)
}

impl Library {
    /// # Safety
    /// [`BYTES`] is a library whose functions are of the types of the fields.
    unsafe fn load() -> Result<Self, NoGraphs> {
        let file = in_memory(BYTES).map_err(|error| NoGraphs::Load(error.to_string()))?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = CString::new(path).map_err(|error| NoGraphs::Load(error.to_string()))?;
        // SAFETY: a NUL-terminated path, and the caller's promise. What it lacks is looked for now, in all that is loaded.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        let handle = NonNull::new(handle).ok_or_else(loader)?;
        let find = |name: &CStr| {
            // SAFETY: a library that stays loaded, and a NUL-terminated name.
            NonNull::new(unsafe { libc::dlsym(handle.as_ptr(), name.as_ptr()) }).ok_or_else(loader)
        };
        let told = find(c"blockflow_graphs_version")?;
        // SAFETY: of this type by the caller's promise; returns a static NUL-terminated string.
        let expected = unsafe {
            let told: unsafe extern "C" fn() -> *const c_char = std::mem::transmute(told.as_ptr());
            CStr::from_ptr(told()).to_string_lossy().into_owned()
        };
        let seen = version().split(' ').next().unwrap_or_default();
        if seen != expected {
            let seen = seen.to_owned();
            return Err(NoGraphs::Version { expected, seen });
        }
        // SAFETY: of these types by the caller's promise.
        unsafe {
            use std::mem::transmute;
            Ok(Self {
                new: transmute::<Raw, unsafe extern "C" fn(Errors) -> Raw>(
                    find(c"blockflow_graph_new")?.as_ptr(),
                ),
                begin: transmute::<Raw, unsafe extern "C" fn(Raw, Raw, Errors) -> bool>(
                    find(c"blockflow_graph_begin")?.as_ptr(),
                ),
                end: transmute::<Raw, unsafe extern "C" fn(Raw, Errors) -> bool>(
                    find(c"blockflow_graph_end")?.as_ptr(),
                ),
                replay: transmute::<Raw, unsafe extern "C" fn(Raw, Errors) -> bool>(
                    find(c"blockflow_graph_replay")?.as_ptr(),
                ),
                memory: transmute::<Raw, unsafe extern "C" fn(Raw, *mut u64, Errors) -> bool>(
                    find(c"blockflow_graph_memory")?.as_ptr(),
                ),
                free: transmute::<Raw, unsafe extern "C" fn(Raw)>(
                    find(c"blockflow_graph_free")?.as_ptr(),
                ),
            })
        }
    }
}

/// Returns a file that lies in memory alone and has no name.
fn in_memory(bytes: &[u8]) -> std::io::Result<std::fs::File> {
    use std::io::Write as _;
    // SAFETY: a NUL-terminated name, which is for whoever looks at the process from outside.
    let raw: c_int = unsafe { libc::memfd_create(c"blockflow_graphs".as_ptr(), libc::MFD_CLOEXEC) };
    if raw < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else closes.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(raw) });
    file.write_all(bytes)?;
    Ok(file)
}

fn loader() -> NoGraphs {
    // SAFETY: returns null or a NUL-terminated message that stays until this thread's next call of the loader.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return NoGraphs::Load("the loader does not say why".to_owned());
    }
    // SAFETY: as above.
    let message = unsafe { CStr::from_ptr(message) };
    NoGraphs::Load(message.to_string_lossy().into_owned())
}
