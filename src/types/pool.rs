//! Memory of a device that processes of one host share: what a transport asks of it, and leaves to whoever knows the device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{DType, Device, Shape, Tensor};

/// Events of a pool at most.
pub const POOL_EVENTS_MAX: usize = 32;

/// What a producer tells consumers of its pool. What the handles mean, the device's driver knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolCard {
    /// Tells the device from all others, whatever a process calls it.
    pub device: [u8; 16],
    pub bytes: u64,
    pub memory: [u8; 64],
    /// One at least, [`POOL_EVENTS_MAX`] at most.
    pub events: Vec<[u8; 64]>,
}

/// Where a tensor lies in a pool, row-major, and which event says that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolPlace {
    pub offset: u64,
    pub length: u64,
    pub event: u16,
}

/// Why a tensor did not get into a pool, or out of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct PoolError {
    pub cause: String,
    /// Nothing goes on the device any more.
    pub loses_device: bool,
}

/// The producer's side: memory of one device, of which others are told once.
pub trait DevicePool: Send + Sync + fmt::Debug {
    fn device(&self) -> Device;

    fn card(&self) -> &PoolCard;

    /// Has the device copy a tensor of its own to the bytes from `offset` on, which nobody else uses. Returns the event after
    /// which it lies there; does not wait for it.
    fn write(&self, tensor: &Tensor, offset: u64) -> Result<u16, PoolError>;

    /// Returns a tensor of the device in memory of the host, for a consumer that has not mapped the pool. Waits for it.
    fn to_host(&self, tensor: &Tensor) -> Result<Tensor, PoolError>;
}

/// The consumer's side: a pool of another process, mapped.
pub trait PoolView: Send + Sync + fmt::Debug {
    /// Has the device copy a tensor out of the pool, after its event; returns it, and does not wait for it. `lease` is dropped
    /// once the pool is not read any more.
    fn fetch(
        &self,
        place: PoolPlace,
        dtype: DType,
        shape: Shape,
        lease: Box<dyn Any + Send>,
    ) -> Result<Tensor, PoolError>;
}

/// Memory of the host that is mapped here for as long as this lives, whole pages.
pub trait Mapped: Send + Sync + fmt::Debug {
    /// Returns the first address and the number of bytes.
    fn span(&self) -> (usize, usize);

    /// Tells whether this process may write to it.
    fn is_writable(&self) -> bool;
}

/// Maps pools of other processes.
pub trait PoolOpener: Send + Sync + fmt::Debug {
    /// Has the device copy from shared memory by itself, from as much of it as is worth it, for as long as what is returned lives.
    fn pin(&self, memory: Arc<dyn Mapped>) -> Result<Box<dyn Any + Send + Sync>, PoolError>;

    fn open(&self, card: &PoolCard) -> Result<Arc<dyn PoolView>, PoolError>;
}

impl PoolError {
    pub fn new(cause: impl fmt::Display) -> Self {
        Self {
            cause: cause.to_string(),
            loses_device: false,
        }
    }
}
