//! The consumer's side of shared memory: what is lent, and what is to be given back.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tracing::{info, warn};

use crate::types::{
    DType, HostMemory, PoolCard, PoolOpener, PoolPlace, PoolView, Shape, Tensor, byte_count, lock,
};

use super::bell::Bell;
use super::pool::PLACE_BYTES;
use super::region::{Announcement, MapError, View};
use super::slot::{
    FIRST_SLOT, LEASES_MAX, PoolRange, SLOT_ALIGNMENT, SLOT_HEADER_BYTES, SLOT_MAGIC, SlotError,
    SlotId, SlotRange,
};
use crate::tensormq::LinkError;

/// A link as the consumer tells it from others: where it listens, who sends, and from which arena.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::tensormq) struct Origin {
    pub endpoint: String,
    pub producer: String,
    pub arena: Announcement,
}

/// The ledgers of a process. An end that is opened anew goes on with the ledger of the one before, whose tensors may live.
#[derive(Debug, Clone, Default)]
pub(in crate::tensormq) struct Ledgers(Arc<Mutex<HashMap<Origin, Weak<Ledger>>>>);

/// The slots of one link that this process holds.
#[derive(Debug)]
pub(in crate::tensormq) struct Ledger {
    /// That devices copy from the arena by themselves, where they do. Goes before the mapping.
    _pinned: Option<Box<dyn Any + Send + Sync>>,
    view: Arc<View>,
    pool: Option<Pool>,
    state: Mutex<State>,
}

/// A pool that is mapped.
#[derive(Debug)]
struct Pool {
    view: Arc<dyn PoolView>,
    bytes: u64,
    events: usize,
}

struct State {
    held: HashMap<SlotId, usize>,
    /// Sum of `held`.
    leases: usize,
    /// Let go, and the producer does not know yet.
    returned: Vec<SlotId>,
    bell: Arc<Bell>,
}

/// A part of a slot that tensors lie in.
struct Lease {
    ledger: Arc<Ledger>,
    slot: SlotId,
    /// In the arena.
    start: usize,
    length: usize,
}

impl Ledgers {
    /// Returns the ledger of a link, which rings that bell from now on.
    pub(in crate::tensormq) fn open(
        &self,
        origin: Origin,
        pool: Option<PoolCard>,
        opener: Option<&Arc<dyn PoolOpener>>,
        bell: &Arc<Bell>,
    ) -> Result<Arc<Ledger>, MapError> {
        let mut all = lock(&self.0);
        if let Some(known) = all.get(&origin).and_then(Weak::upgrade) {
            known.state().bell = bell.clone();
            return Ok(known);
        }
        let view = Arc::new(View::open(&origin.arena)?);
        let producer = &origin.producer;
        let ledger = Arc::new(Ledger {
            _pinned: opener.and_then(|opener| pin(producer, &view, opener)),
            view,
            pool: opener
                .zip(pool)
                .and_then(|(opener, card)| map(producer, &card, opener)),
            state: Mutex::new(State {
                held: HashMap::new(),
                leases: 0,
                returned: Vec::new(),
                bell: bell.clone(),
            }),
        });
        all.retain(|_, ledger| ledger.strong_count() > 0);
        all.insert(origin, Arc::downgrade(&ledger));
        Ok(ledger)
    }
}

impl Ledger {
    /// Returns the memory of a part of a slot, if there is one, for as long as it is wanted.
    pub(in crate::tensormq) fn lend(
        self: &Arc<Self>,
        range: SlotRange,
    ) -> Result<Arc<dyn HostMemory>, SlotError> {
        let start = self.find(range)?;
        let mut state = self.state();
        if state.leases + state.returned.len() >= LEASES_MAX {
            return Err(SlotError::TooMany);
        }
        state.leases += 1;
        *state.held.entry(range.slot).or_default() += 1;
        drop(state);
        Ok(Arc::new(Lease {
            ledger: self.clone(),
            slot: range.slot,
            start,
            // It is within the mapping.
            length: range.length as usize,
        }))
    }

    /// Tells whether the producer's pool is mapped.
    pub(in crate::tensormq) fn has_pool(&self) -> bool {
        self.pool.is_some()
    }

    /// Has a tensor in a pool be copied out of it, if it is there; the lease ends when that is done.
    pub(in crate::tensormq) fn fetch(
        self: &Arc<Self>,
        index: usize,
        range: PoolRange,
        dtype: DType,
        shape: &Shape,
    ) -> Result<Tensor, LinkError> {
        let wrong = |cause| LinkError::Slot { index, cause };
        let PoolRange { slot, place } = range;
        let said = SlotRange {
            slot,
            start: 0,
            length: PLACE_BYTES as u64,
        };
        let start = self.find(said).map_err(wrong)?;
        // First: so it is let go, whatever is wrong with the rest.
        let lease = self.lend(said).map_err(wrong)?;
        let pool = self.pool.as_ref().ok_or(wrong(SlotError::NoPool))?;
        self.check(pool, place, start, dtype, shape)
            .map_err(wrong)?;
        let fetched = pool
            .view
            .fetch(place, dtype, shape.clone(), Box::new(lease));
        fetched.map_err(|cause| LinkError::Pool { index, cause })
    }

    /// Tells whether a pool has what is said of it, by the message and by the slot.
    fn check(
        &self,
        pool: &Pool,
        place: PoolPlace,
        start: usize,
        dtype: DType,
        shape: &Shape,
    ) -> Result<(), SlotError> {
        let PoolPlace {
            offset,
            length,
            event,
        } = place;
        if self.view.words(start) != Some([offset, length, event.into()]) {
            return Err(SlotError::OtherPlace);
        }
        let bytes = pool.bytes;
        let end = offset.checked_add(length).filter(|&end| end <= bytes);
        if end.is_none() || !offset.is_multiple_of(SLOT_ALIGNMENT as u64) {
            return Err(SlotError::OutOfPool {
                offset,
                length,
                bytes,
            });
        }
        if usize::from(event) >= pool.events {
            let events = pool.events;
            return Err(SlotError::NoEvent { event, events });
        }
        let expected = dtype.size().and_then(|_| byte_count(dtype, shape).ok());
        let expected = expected.map_or(u64::MAX, |bytes| bytes as u64);
        if length != expected {
            return Err(SlotError::OtherLength { length, expected });
        }
        Ok(())
    }

    /// Returns where a part of a slot begins in the arena.
    fn find(&self, range: SlotRange) -> Result<usize, SlotError> {
        let SlotRange {
            slot: SlotId { offset, generation },
            start,
            length,
        } = range;
        let bytes = self.view.bytes();
        if !offset.is_multiple_of(SLOT_ALIGNMENT as u64) {
            return Err(SlotError::Misaligned { offset });
        }
        let outside = SlotError::OutOfRange { offset, bytes };
        let payload = offset
            .checked_add(SLOT_HEADER_BYTES as u64)
            .filter(|&payload| offset >= FIRST_SLOT as u64 && payload <= bytes)
            .ok_or(outside)?;
        let at = usize::try_from(offset).map_err(|_| outside)?;
        let [magic, seen, slot] = self.view.header(at).ok_or(outside)?;
        if magic != SLOT_MAGIC {
            return Err(SlotError::NoSlot { offset });
        }
        if seen != generation {
            let announced = generation;
            return Err(SlotError::Stale { announced, seen });
        }
        let within = |end: &u64| *end <= slot && *end <= bytes - payload;
        start.checked_add(length).filter(within).ok_or({
            SlotError::TooLong {
                start,
                length,
                slot,
            }
        })?;
        usize::try_from(payload + start).map_err(|_| outside)
    }

    /// Begins anew with the producer: returns each lease, after which only they count.
    pub(in crate::tensormq) fn restate(&self) -> Vec<SlotId> {
        let mut state = self.state();
        state.returned.clear();
        let held = state.held.iter();
        held.flat_map(|(&slot, &count)| std::iter::repeat_n(slot, count))
            .collect()
    }

    /// Tells the producer of at most so many slots that were let go; those that it was told of are forgotten. Returns whether
    /// none is left.
    pub(in crate::tensormq) fn give_back<E>(
        &self,
        max: usize,
        mut tell: impl FnMut(Vec<SlotId>) -> Result<bool, E>,
    ) -> Result<bool, E> {
        loop {
            let some: Vec<SlotId> = {
                let state = self.state();
                state.returned.iter().take(max).copied().collect()
            };
            if some.is_empty() {
                return Ok(true);
            }
            let count = some.len();
            if !tell(some)? {
                return Ok(false);
            }
            // Only the end of the list has grown meanwhile.
            self.state().returned.drain(..count);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Has a device copy from an arena by itself, where it can.
fn pin(
    producer: &str,
    view: &Arc<View>,
    opener: &Arc<dyn PoolOpener>,
) -> Option<Box<dyn Any + Send + Sync>> {
    let pinned = opener.pin(view.clone());
    let told = pinned.inspect_err(|error| {
        info!(producer, %error, "the device copies from shared memory through a buffer");
    });
    told.ok()
}

/// Maps a pool, where that can be done.
fn map(producer: &str, card: &PoolCard, opener: &Arc<dyn PoolOpener>) -> Option<Pool> {
    let view = opener.open(card);
    let view = view.inspect_err(|error| {
        warn!(producer, %error, "no shared memory of the device, tensors come through the host");
    });
    Some(Pool {
        view: view.ok()?,
        bytes: card.bytes,
        events: card.events.len(),
    })
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("leases", &self.leases)
            .field("returned", &self.returned.len())
            .finish_non_exhaustive()
    }
}

impl HostMemory for Lease {
    fn bytes(&self) -> &[u8] {
        self.ledger.view.slice(self.start, self.length)
    }

    fn byte_count(&self) -> usize {
        self.length
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        if let Some(count) = state.held.get_mut(&self.slot) {
            *count -= 1;
            if *count == 0 {
                state.held.remove(&self.slot);
            }
        }
        state.leases -= 1;
        state.returned.push(self.slot);
        let bell = state.bell.clone();
        drop(state);
        bell.ring();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("slot", &self.slot)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}
