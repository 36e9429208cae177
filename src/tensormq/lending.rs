//! What one link has lent to its consumer out of its producer's arena.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{HostMemory, PoolCard, Tensor};

use super::shm::{Announcement, Arena, LEASES_MAX, Place, PoolRange, SlotId};
use super::{Body, Envelope, Form, LinkError, Moved};

/// The producer's half of lending. Without an arena, or where the consumer has not mapped it, tensors stay what they are.
#[derive(Debug, Default)]
pub(super) struct Lending {
    arena: Option<Arena>,
    /// The consumer has mapped the arena.
    mapped: bool,
    /// And the pool.
    pool_mapped: bool,
    /// The process that leases are with.
    consumer: Option<u64>,
    leases: HashMap<SlotId, Lent>,
    /// How often slots are lent, each counted.
    count: usize,
    /// Of those, slots of tensors in the pool.
    shown: usize,
    refused: u64,
}

/// By tensor, what keeps it in the pool, and where it lies there; `None`: it travels otherwise.
pub(super) type Shown = Vec<Option<(Arc<dyn HostMemory>, PoolRange)>>;

/// A slot and how often the consumer has it.
#[derive(Debug)]
struct Lent {
    /// Keeps the slot.
    memory: Arc<dyn HostMemory>,
    times: usize,
    in_pool: bool,
}

impl Lending {
    pub(super) fn set_arena(&mut self, arena: Arena) {
        self.arena = Some(arena);
    }

    pub(super) fn announcement(&self) -> Option<Announcement> {
        self.arena.as_ref().map(Arena::announcement)
    }

    pub(super) fn pool_card(&self) -> Option<PoolCard> {
        self.arena.as_ref().and_then(Arena::pool_card).cloned()
    }

    /// A consumer has let this producer in, and says whether it has mapped arena and pool, and what it holds: if it is the process
    /// of before, all else is back.
    pub(super) fn welcomed(&mut self, incarnation: u64, mapped: [bool; 2], held: &[SlotId]) {
        self.mapped = mapped[0] && self.arena.is_some();
        self.pool_mapped = mapped[1] && self.mapped;
        let before = std::mem::take(&mut self.leases);
        (self.count, self.shown) = (0, 0);
        if self.consumer.replace(incarnation) != Some(incarnation) {
            return;
        }
        for &slot in held {
            let known = before.get(&slot);
            let left = known.filter(|lent| {
                let taken = self.leases.get(&slot).map_or(0, |lent| lent.times);
                taken < lent.times
            });
            match left {
                Some(lent) => self.lend(slot, &lent.memory, lent.in_pool),
                None => self.refused += 1,
            }
        }
    }

    /// Moves tensors into the arena where that pays and there is room.
    pub(super) fn place(&self, tensors: &mut [(u16, Tensor)], moved: &mut Moved) {
        let Some(arena) = self.arena.as_ref().filter(|_| self.mapped) else {
            return;
        };
        for (_, tensor) in tensors {
            // What the host cannot read stays where it is.
            if let Some((placed, copied)) = arena.place(tensor) {
                *tensor = placed;
                moved.copied += copied;
            }
        }
    }

    /// Tells whether the consumer takes a tensor of a device as it is.
    pub(super) fn shows(&self, tensor: &Tensor) -> bool {
        let arena = self.arena.as_ref().filter(|_| self.pool_mapped);
        arena.is_some_and(|arena| arena.shows(tensor))
    }

    /// Has tensors that the host cannot read lie in the pool, or brings them to the host where they cannot. `None`: one has to
    /// wait until the consumer returns another.
    pub(super) fn show(
        &self,
        tensors: &mut [(u16, Tensor)],
        moved: &mut Moved,
    ) -> Result<Option<Shown>, LinkError> {
        let mut shown = Vec::with_capacity(tensors.len());
        for index in 0..tensors.len() {
            let tensor = &mut tensors[index].1;
            if tensor.is_readable() {
                shown.push(None);
                continue;
            }
            let device = tensor.device();
            let wrong = |cause: String| LinkError::Device { device, cause };
            let arena = self.arena.as_ref();
            let arena = arena.ok_or_else(|| wrong("its link carries bytes alone".to_owned()))?;
            let mut place = Place::Elsewhere;
            if self.pool_mapped && self.count + index < LEASES_MAX {
                place = arena.show(tensor).map_err(|error| wrong(error.cause))?;
            }
            match place {
                Place::Shown(memory, range) => shown.push(Some((memory, range))),
                // What the consumer has comes back by itself; what others have may not.
                Place::Full if self.shown > 0 => return Ok(None),
                Place::Full | Place::Elsewhere => {
                    let brought = arena.to_host(tensor);
                    let brought = brought.ok_or_else(|| wrong("there is no pool".to_owned()))?;
                    let brought = brought.map_err(|error| wrong(error.cause))?;
                    moved.copied += brought.byte_count() as u64;
                    moved.fallen_back += 1;
                    *tensor = brought;
                    shown.push(None);
                }
            }
        }
        Ok(Some(shown))
    }

    /// Returns the form in which a tensor travels that would travel as bytes.
    pub(super) fn form(&self, tensor: &Tensor, others: usize) -> Form {
        let arena = self.arena.as_ref().filter(|_| self.mapped);
        let range = arena
            .filter(|_| self.count + others < LEASES_MAX)
            .and_then(|arena| arena.range(tensor));
        range.map_or(Form::Bytes, Form::Slot)
    }

    /// An envelope has been sent, its tensors in these forms.
    pub(super) fn sent(&mut self, envelope: &Envelope, forms: &[Form], shown: &Shown) {
        let Body::Tensors(tensors) = &envelope.body else {
            return;
        };
        for ((_, tensor), form) in tensors.iter().zip(forms) {
            if let Form::Slot(range) = form {
                self.lend(range.slot, tensor.memory(), false);
            }
        }
        for (memory, range) in shown.iter().flatten() {
            self.lend(range.slot, memory, true);
        }
    }

    /// The consumer has let go of slots.
    pub(super) fn take_back(&mut self, slots: &[SlotId]) {
        for slot in slots {
            let Some(lent) = self.leases.get_mut(slot) else {
                self.refused += 1;
                continue;
            };
            self.count -= 1;
            self.shown -= usize::from(lent.in_pool);
            lent.times -= 1;
            if lent.times == 0 {
                self.leases.remove(slot);
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn lend(&mut self, slot: SlotId, memory: &Arc<dyn HostMemory>, in_pool: bool) {
        let lent = self.leases.entry(slot).or_insert_with(|| Lent {
            memory: memory.clone(),
            times: 0,
            in_pool,
        });
        lent.times += 1;
        self.count += 1;
        self.shown += usize::from(in_pool);
    }
}
