//! Tensors of a device that are shown to consumers of other processes: they lie in a pool of the device, and a slot of the arena
//! says where, so that who holds them is known as of any slot.
//!
//! A link that ends before its consumer has returned a tensor leaves the consumer to copy it out of the pool when it will. That
//! part of the pool is never used again, and the pool never goes to another owner: nobody can tell when it might.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tracing::warn;

use crate::types::{
    DevicePool, HostMemory, PoolCard, PoolError, PoolPlace, RemoteMemory, Tensor, lock,
};

use super::arena::Slot;
use super::extents::Extents;
use super::slot::{PoolRange, SLOT_ALIGNMENT};

/// Bytes of a slot that says where in a pool a tensor lies: offset, bytes and event, each `u64`.
pub(super) const PLACE_BYTES: usize = 24;

/// A pool, and what of it is free.
pub(super) struct Shows {
    pool: Arc<dyn DevicePool>,
    state: Mutex<State>,
    /// Links ended that had tensors there.
    abandoned: AtomicBool,
}

struct State {
    extents: Extents,
    /// Tensors that lie there, so that one that goes to several consumers is copied once.
    shown: HashMap<Source, Shown>,
}

/// The address of an owner of memory, the first byte of it, and how many.
type Source = (usize, usize, usize);

struct Shown {
    slot: Weak<Slot>,
    range: PoolRange,
    /// Keeps the owner's address from being another's.
    owner: Weak<dyn RemoteMemory>,
}

/// A part of a pool, which a slot has.
pub(super) struct Extent {
    of: Arc<Shows>,
    offset: usize,
    length: usize,
    /// Somebody may read it for good.
    abandoned: AtomicBool,
}

/// That a link keeps a tensor in a pool.
pub(super) struct Keep {
    slot: Arc<Slot>,
    /// Of the link's arena, which goes before what the link has lent and was not returned.
    link: Weak<()>,
}

/// What can be done for a tensor of a device.
#[derive(Debug)]
pub(in crate::tensormq) enum Place {
    /// It lies in the pool, for as long as somebody keeps this.
    Shown(Arc<dyn HostMemory>, PoolRange),
    /// There is no room at this moment.
    Full,
    /// It is never shown.
    Elsewhere,
}

impl Shows {
    pub(super) fn new(pool: Arc<dyn DevicePool>) -> Self {
        let bytes = usize::try_from(pool.card().bytes).unwrap_or(0);
        let bytes = bytes - bytes % SLOT_ALIGNMENT;
        Self {
            pool,
            state: Mutex::new(State {
                extents: Extents::new(0..bytes),
                shown: HashMap::new(),
            }),
            abandoned: AtomicBool::new(false),
        }
    }

    pub(super) fn card(&self) -> &PoolCard {
        self.pool.card()
    }

    pub(super) fn pool(&self) -> &Arc<dyn DevicePool> {
        &self.pool
    }

    /// Tells whether a tensor is of the pool's device, and no larger than the whole.
    pub(super) fn takes(&self, tensor: &Tensor) -> bool {
        let bytes = tensor.byte_count();
        !tensor.is_readable()
            && tensor.device() == self.pool.device()
            && bytes > 0
            && bytes as u64 <= self.card().bytes - self.card().bytes % SLOT_ALIGNMENT as u64
    }

    /// Has a tensor lie in the pool, for a link. `slot` makes the slot that says so, out of the bytes to write there.
    pub(super) fn place(
        self: &Arc<Self>,
        tensor: &Tensor,
        link: &Arc<()>,
        slot: impl FnOnce([u64; 3], Extent) -> Option<Arc<Slot>>,
    ) -> Result<Place, PoolError> {
        let Some(remote) = tensor.as_remote().filter(|_| self.takes(tensor)) else {
            return Ok(Place::Elsewhere);
        };
        let address = Arc::as_ptr(remote.memory).cast::<()>().addr();
        let source = (address, remote.range.start, remote.range.len());
        if let Some((slot, range)) = self.known(&source) {
            return Ok(Keep::place(slot, link, range));
        }
        let length = tensor.byte_count();
        let Some(extent) = self.take(length) else {
            return Ok(Place::Full);
        };
        let offset = extent.offset as u64;
        let event = self.pool.write(tensor, offset)?;
        let place = PoolPlace {
            offset,
            length: length as u64,
            event,
        };
        let Some(slot) = slot([offset, place.length, event.into()], extent) else {
            return Ok(Place::Full);
        };
        let range = PoolRange {
            slot: slot.id(),
            place,
        };
        let shown = Shown {
            slot: Arc::downgrade(&slot),
            range,
            owner: Arc::downgrade(remote.memory),
        };
        let mut state = lock(&self.state);
        let lives = |one: &Shown| one.slot.strong_count() > 0 && one.owner.strong_count() > 0;
        state.shown.retain(|_, one| lives(one));
        state.shown.insert(source, shown);
        Ok(Keep::place(slot, link, range))
    }

    /// Returns the slot of a tensor that lies in the pool.
    fn known(&self, source: &Source) -> Option<(Arc<Slot>, PoolRange)> {
        let state = lock(&self.state);
        let shown = state.shown.get(source)?;
        // An owner that is gone had this address.
        (shown.owner.strong_count() > 0).then_some(())?;
        Some((shown.slot.upgrade()?, shown.range))
    }

    fn take(self: &Arc<Self>, length: usize) -> Option<Extent> {
        let offset = lock(&self.state).extents.take(length)?;
        Some(Extent {
            of: self.clone(),
            offset,
            length,
            abandoned: AtomicBool::new(false),
        })
    }

    pub(super) fn free_bytes(&self) -> usize {
        lock(&self.state).extents.free_bytes()
    }
}

impl Extent {
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
        if !self.of.abandoned.swap(true, Ordering::Relaxed) {
            let pool = &self.of.pool;
            warn!(
                ?pool,
                "a link ended whose consumer has yet to copy tensors out of device memory: that memory stays taken"
            );
        }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        if self.abandoned.load(Ordering::Relaxed) {
            // The pool is never dropped, so nobody else gets it.
            std::mem::forget(self.of.clone());
            return;
        }
        let mut state = lock(&self.of.state);
        state.extents.give_back(self.offset, self.length);
    }
}

impl Keep {
    fn place(slot: Arc<Slot>, link: &Arc<()>, range: PoolRange) -> Place {
        let link = Arc::downgrade(link);
        Place::Shown(Arc::new(Self { slot, link }), range)
    }
}

impl HostMemory for Keep {
    fn bytes(&self) -> &[u8] {
        self.slot.bytes()
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if self.link.strong_count() == 0
            && let Some(extent) = self.slot.extent()
        {
            extent.abandon();
        }
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shows")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
