//! CUDA devices over the driver: contexts, streams, events, memory, pinned host memory, and handles for other processes.
//!
//! The only room that names the driver. It is loaded at run time: everything here compiles and links on any machine, and
//! gives [`CudaError::NotAvailable`] where there is no driver. Kernels are libtorch's; both use the *primary* context of a
//! device, of which a process has one, so streams and memory of one are those of the other.
//!
//! | type | what it owns |
//! |---|---|
//! | [`Context`] | a reference to the primary context, one per device and process, kept for good |
//! | [`Stream`] | a queue of work of a device; back in its context's list when dropped |
//! | [`Event`] | a point in a stream that streams, hosts and processes can wait for |
//! | [`DeviceBuffer`] | memory of a device that is not libtorch's, to be shared with other processes |
//! | [`PinnedPool`], [`PinnedBlock`] | host memory that a device copies from and to by itself, bounded |
//! | [`Registered`] | that a device copies from and to memory of somebody else by itself, as shared memory |
//! | [`IpcMemory`], [`IpcEvent`] | memory and events of another process, mapped once per handle |
//!
//! Invariants:
//! - A call of the driver that needs a context pushes it and pops it again, so that no call here changes the device that
//!   libtorch finds current on the thread.
//! - A stream is handed on and never destroyed. The caching allocator of libtorch keeps the streams that a tensor was used
//!   on until the tensor is freed, and then records events on them; a tensor may well outlive the session it went to.
//! - A pinned block is not given out again before the event of its last copy.
//! - Nothing waits for a whole device.
//! - A handle for other processes is never opened in the one that it comes from.

mod buffer;
mod context;
mod device;
mod error;
mod event;
mod host;
mod ipc;
mod keep;
mod pinned;
mod presence;
mod stream;

pub use buffer::DeviceBuffer;
pub use context::{Context, DeviceMemoryInfo};
pub(crate) use device::check_version;
pub use device::{CudaVersion, DeviceProperties, devices, driver_version, is_unshared};
pub(crate) use device::{can_share, identity};
pub use error::CudaError;
pub use event::{Event, EventKind};
pub use host::Registered;
pub(in crate::engine) use host::is_registered;
pub use ipc::{IpcEvent, IpcEventHandle, IpcMemory, IpcMemoryHandle};
pub use keep::{keep_until, let_go_after, sweep};
pub use pinned::{PinnedBlock, PinnedPool};
pub use presence::{Presence, presence};
pub use stream::{Priority, Stream};
