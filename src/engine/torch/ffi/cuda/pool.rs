//! Memory of a device that other processes map: tensors are copied into it by their producer, and out of it by their consumer.
//!
//! A pool is memory of its own (`cuMemAlloc`), and what the caching allocator has is shown to nobody: so it does not matter
//! whether that makes its memory of expandable segments, which have no handle for other processes. All copies into a pool are
//! in one stream, so an event that was recorded again meanwhile says no less than before. The consumer copies in a stream of
//! its own, after the event, into memory of its own, and lets go of its lease once that is done.
//!
//! Memory that was shown must stay while anybody may have it mapped, and who has is not known: a pool that its owner drops is
//! kept for the next owner of one of its size, or less. So there are never more than were owned at once, of each size, which is a
//! power of two; and they stay accounted.

#![expect(unsafe_code, reason = "has devices copy memory by themselves")]

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::engine::cuda::{
    Context, DeviceBuffer, Event, EventKind, IpcEvent, IpcEventHandle, IpcMemory, IpcMemoryHandle,
    Priority, Registered, Stream, can_share, identity, let_go_after,
};
use crate::engine::ledger::{Charge, Ledger, MemoryKind};
use crate::types::{
    DType, Device, DevicePool, Mapped, PoolCard, PoolError, PoolOpener, PoolPlace, PoolView, Shape,
    Tensor, lock,
};

use super::super::super::cause::Cause;
use super::super::InferenceMode;
use super::super::memory::SharedTensor;
use super::TransferError;
use super::copies::{fresh, taken_for};
use super::memory::CudaMemory;
use super::place::elements;

/// Events of a pool: messages that may be on their way before an event says more than it needs to.
const EVENTS: usize = 16;

/// A pool of this process that a block has.
struct OwnPool {
    block: String,
    /// Taken when this is dropped.
    memory: Option<PoolMemory>,
}

struct PoolMemory {
    buffer: DeviceBuffer,
    events: Vec<Event>,
    /// In which tensors are copied.
    stream: Stream,
    /// The event that is next; held while a copy is put into the stream.
    turn: Mutex<usize>,
    card: PoolCard,
    /// No tenant's: it outlives the blocks that have the pool.
    _charge: Charge,
}

/// A pool of another process.
struct MappedPool {
    memory: Arc<IpcMemory>,
    events: Vec<Arc<IpcEvent>>,
    stream: Stream,
}

/// Maps pools of one device.
#[derive(Debug)]
struct Opener {
    ordinal: u16,
}

static IDLE: Mutex<Vec<PoolMemory>> = Mutex::new(Vec::new());

/// Returns a pool of at least so many bytes of a device, which a block has; `beside` it, so many are to be left to others within
/// the limit. An error says why there is none.
pub fn device_pool(
    block: &str,
    device: Device,
    bytes: usize,
    beside: u64,
) -> Result<Arc<dyn DevicePool>, PoolError> {
    let Device::Cuda(ordinal) = device else {
        return Err(PoolError::new(format!("{device} shares no memory")));
    };
    if !can_share(ordinal).map_err(PoolError::new)? {
        return Err(PoolError::new(format!(
            "the driver does not share memory of {device} between processes"
        )));
    }
    let memory = match take_idle(ordinal, bytes) {
        Some(idle) => idle,
        None => {
            let bytes = bytes.checked_next_power_of_two().unwrap_or(bytes);
            PoolMemory::new(ordinal, bytes, beside)?
        }
    };
    Ok(Arc::new(OwnPool {
        block: block.to_owned(),
        memory: Some(memory),
    }))
}

/// Returns the smallest pool of a device that nobody has and that has so many bytes.
fn take_idle(ordinal: u16, bytes: usize) -> Option<PoolMemory> {
    let mut idle = lock(&IDLE);
    let fits =
        |buffer: &DeviceBuffer| buffer.context().ordinal() == ordinal && buffer.len() >= bytes;
    let fitting = idle.iter().map(|one| &one.buffer).enumerate();
    let smallest = fitting
        .filter(|(_, buffer)| fits(buffer))
        .min_by_key(|(_, buffer)| buffer.len());
    let (at, _) = smallest?;
    Some(idle.remove(at))
}

/// Returns what maps pools of a device, where there are any.
pub fn pool_opener(device: Device) -> Option<Arc<dyn PoolOpener>> {
    match device {
        Device::Cuda(ordinal) => Some(Arc::new(Opener { ordinal })),
        Device::Cpu | Device::Sim(_) => None,
    }
}

impl PoolMemory {
    fn new(ordinal: u16, bytes: usize, beside: u64) -> Result<Self, PoolError> {
        let ledger = Ledger::of(Device::Cuda(ordinal));
        let both = (bytes as u64).saturating_add(beside);
        let both = ledger.charge_within(MemoryKind::Workspace, both);
        drop(both.map_err(PoolError::new)?);
        let charge = ledger.charge_within(MemoryKind::Workspace, bytes as u64);
        let charge = charge.map_err(PoolError::new)?;
        let context = Context::of(ordinal).map_err(PoolError::new)?;
        let buffer = DeviceBuffer::new(&context, bytes).map_err(PoolError::new)?;
        let event = |_| Event::new(&context, EventKind::Interprocess);
        let events: Vec<Event> = (0..EVENTS)
            .map(event)
            .collect::<Result<_, _>>()
            .map_err(PoolError::new)?;
        let shown = events.iter().map(|event| Ok(event.ipc_handle()?.0));
        let shown: Result<_, crate::engine::cuda::CudaError> = shown.collect();
        let card = PoolCard {
            device: identity(ordinal).map_err(PoolError::new)?,
            bytes: bytes as u64,
            memory: buffer.ipc_handle().map_err(PoolError::new)?.0,
            events: shown.map_err(PoolError::new)?,
        };
        Ok(Self {
            buffer,
            events,
            stream: Stream::new(&context, Priority::Normal).map_err(PoolError::new)?,
            turn: Mutex::new(0),
            card,
            _charge: charge,
        })
    }

    fn write(&self, tensor: &Tensor, offset: u64) -> Result<u16, TransferError> {
        let _mode = InferenceMode::enter()?;
        let mut turn = lock(&self.turn);
        let taken = taken_for(tensor, &self.stream)?;
        let (from, length) = elements(&taken)?;
        if length != tensor.byte_count() {
            return Err(Cause::new(format!("{length} bytes of a device for {tensor:?}")).into());
        }
        let event = *turn;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        // SAFETY: `taken` is `length` bytes of this device that nobody writes to any more, and the allocator knows that this
        // stream reads them. Nobody else uses those bytes of the buffer, as the caller says; it is never dropped before the
        // device is done.
        unsafe { self.buffer.put(start, from, length, &self.stream)? };
        self.events[event].record(&self.stream)?;
        *turn = (event + 1) % self.events.len();
        // There are few.
        Ok(event as u16)
    }
}

impl OwnPool {
    fn memory(&self) -> &PoolMemory {
        self.memory.as_ref().expect("it is taken by drop alone")
    }
}

impl DevicePool for OwnPool {
    fn device(&self) -> Device {
        Device::Cuda(self.memory().buffer.context().ordinal())
    }

    fn card(&self) -> &PoolCard {
        &self.memory().card
    }

    fn write(&self, tensor: &Tensor, offset: u64) -> Result<u16, PoolError> {
        let memory = self.memory();
        let written = memory.write(tensor, offset);
        written.map_err(|error| failed(&error, &memory.stream))
    }

    fn to_host(&self, tensor: &Tensor) -> Result<Tensor, PoolError> {
        super::super::super::to_host(tensor).map_err(PoolError::new)
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        lock(&IDLE).extend(self.memory.take());
    }
}

impl PoolOpener for Opener {
    fn pin(&self, memory: Arc<dyn Mapped>) -> Result<Box<dyn Any + Send + Sync>, PoolError> {
        let context = Context::of(self.ordinal).map_err(PoolError::new)?;
        let registered = Registered::new(&context, memory).map_err(PoolError::new)?;
        Ok(Box::new(registered))
    }

    fn open(&self, card: &PoolCard) -> Result<Arc<dyn PoolView>, PoolError> {
        let context = Context::of(self.ordinal).map_err(PoolError::new)?;
        if identity(self.ordinal).map_err(PoolError::new)? != card.device {
            let own = Device::Cuda(self.ordinal);
            return Err(PoolError::new(format!(
                "the pool is memory of another device than {own} of this process: let both see the same devices in the same order"
            )));
        }
        let length = usize::try_from(card.bytes).map_err(PoolError::new)?;
        let memory = IpcMemory::open(&context, IpcMemoryHandle(card.memory), length);
        let events = card.events.iter();
        let events = events.map(|handle| IpcEvent::open(&context, IpcEventHandle(*handle)));
        Ok(Arc::new(MappedPool {
            memory: memory.map_err(PoolError::new)?,
            events: events.collect::<Result<_, _>>().map_err(PoolError::new)?,
            stream: Stream::new(&context, Priority::Normal).map_err(PoolError::new)?,
        }))
    }
}

impl MappedPool {
    fn fetch(
        &self,
        place: PoolPlace,
        dtype: DType,
        shape: &[usize],
        lease: Box<dyn Any + Send>,
    ) -> Result<Tensor, TransferError> {
        let PoolPlace {
            offset,
            length,
            event,
        } = place;
        let event = self.events.get(usize::from(event));
        let event = event.ok_or_else(|| Cause::new("the pool has no such event"))?;
        let _mode = InferenceMode::enter()?;
        let made = fresh(dtype, shape, &self.stream)?;
        let (to, room) = elements(&made)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if room as u64 != length {
            return Err(Cause::new(format!("{length} bytes of a pool for {room}")).into());
        }
        let ready = Arc::new(self.stream.event()?);
        event.hold_up(&self.stream)?;
        // SAFETY: `made` is `room` bytes of this device, which the allocator gives to nobody else before this stream is done
        // with them, and nobody else has it yet. What is mapped is kept until the event, as the lease is.
        unsafe { self.memory.take(start, to, room, &self.stream)? };
        ready.record(&self.stream)?;
        let_go_after(ready.clone(), Box::new((lease, self.memory.clone())));
        let tensor = SharedTensor::new(made);
        let memory = CudaMemory::new(tensor, room, ready, &self.stream);
        let made = Tensor::remote(dtype, shape.to_vec(), Arc::new(memory));
        made.map_err(|error| Cause::new(error.to_string()).into())
    }
}

impl PoolView for MappedPool {
    fn fetch(
        &self,
        place: PoolPlace,
        dtype: DType,
        shape: Shape,
        lease: Box<dyn Any + Send>,
    ) -> Result<Tensor, PoolError> {
        let fetched = self.fetch(place, dtype, &shape, lease);
        fetched.map_err(|error| failed(&error, &self.stream))
    }
}

fn failed(error: &TransferError, stream: &Stream) -> PoolError {
    let sticky = matches!(error, TransferError::Cuda(error) if error.is_sticky());
    let asked = stream.is_idle().map(drop);
    PoolError {
        loses_device: sticky || asked.is_err_and(|error| error.is_sticky()),
        ..PoolError::new(error)
    }
}

impl fmt::Debug for OwnPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnPool")
            .field("block", &self.block)
            .field("bytes", &self.card().bytes)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MappedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedPool")
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
