//! What one link has lent to its consumer out of its producer's arena.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{HostMemory, Tensor};

use super::shm::{Announcement, Arena, LEASES_MAX, SlotId};
use super::{Body, Envelope, Form, Moved};

/// The producer's half of lending. Without an arena, or where the consumer has not mapped it, tensors stay what they are.
#[derive(Debug, Default)]
pub(super) struct Lending {
    arena: Option<Arena>,
    /// The consumer has mapped the arena.
    mapped: bool,
    /// The process that leases are with.
    consumer: Option<u64>,
    leases: HashMap<SlotId, Lent>,
    /// How often slots are lent, each counted.
    count: usize,
    refused: u64,
}

/// A slot and how often the consumer has it.
#[derive(Debug)]
struct Lent {
    /// Keeps the slot.
    memory: Arc<dyn HostMemory>,
    times: usize,
}

impl Lending {
    pub(super) fn set_arena(&mut self, arena: Arena) {
        self.arena = Some(arena);
    }

    pub(super) fn announcement(&self) -> Option<Announcement> {
        self.arena.as_ref().map(Arena::announcement)
    }

    /// A consumer has let this producer in, and says what it holds: if it is the process of before, all else is back.
    pub(super) fn welcomed(&mut self, incarnation: u64, mapped: bool, held: &[SlotId]) {
        self.mapped = mapped && self.arena.is_some();
        let before = std::mem::take(&mut self.leases);
        self.count = 0;
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
                Some(lent) => self.lend(slot, &lent.memory),
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
            if let Some((placed, copied)) = arena.place(tensor) {
                *tensor = placed;
                moved.copied += copied;
            }
        }
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
    pub(super) fn sent(&mut self, envelope: &Envelope, forms: &[Form]) {
        let Body::Tensors(tensors) = &envelope.body else {
            return;
        };
        for ((_, tensor), form) in tensors.iter().zip(forms) {
            if let Form::Slot(range) = form {
                self.lend(range.slot, tensor.memory());
            }
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

    fn lend(&mut self, slot: SlotId, memory: &Arc<dyn HostMemory>) {
        let lent = self.leases.entry(slot).or_insert_with(|| Lent {
            memory: memory.clone(),
            times: 0,
        });
        lent.times += 1;
        self.count += 1;
    }
}
