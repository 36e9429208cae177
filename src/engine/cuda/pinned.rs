//! Host memory that a device copies from and to by itself, while the host does something else.
//!
//! Taking such memory and giving it back may wait for the device and takes longer than most copies, so blocks of few sizes
//! are kept for the process, and go round. Their sum is bounded: where the bound is reached, whoever copies does so from
//! memory as it is, which the driver copies through a buffer of its own.

#![expect(unsafe_code, reason = "calls the driver and owns memory of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use cudarc::driver::{result, sys};

use crate::types::HostMemory;

use super::context::lock;
use super::{Context, Event};

/// Bytes that the pool of one device has at most.
const BYTES_MAX: usize = 512 << 20;
/// The smallest block; the others are powers of two, too.
const BLOCK_BYTES_MIN: usize = 4 << 10;

/// Pinned blocks of one device.
#[derive(Debug)]
pub struct PinnedPool {
    ordinal: u16,
    slots: Arc<Mutex<Slots<Pinned, Event>>>,
}

/// Pinned memory that one owner writes to or reads, and that nobody else has before its last copy is done.
pub struct PinnedBlock {
    slots: Arc<Mutex<Slots<Pinned, Event>>>,
    /// Taken when this is dropped.
    memory: Option<Pinned>,
    class: usize,
    length: usize,
    until: Option<Event>,
}

/// The first byte of an allocation, which is kept for the process unless it is [`Slots`] that lets it go.
#[derive(Debug)]
struct Pinned(NonNull<u8>);

// SAFETY: plain memory, which has one owner at a time.
unsafe impl Send for Pinned {}
// SAFETY: as above; through a shared reference it is only read.
unsafe impl Sync for Pinned {}

/// A point in time that may lie ahead.
trait Fence {
    fn is_past(&self) -> bool;
}

/// What there is of a bounded number of bytes: free, given out, and given back but still in use by the device.
#[derive(Debug)]
struct Slots<M, F> {
    limit: usize,
    /// Bytes of all that exist.
    bytes: usize,
    free: BTreeMap<usize, Vec<M>>,
    waiting: Vec<(F, usize, M)>,
}

/// Where a block comes from.
#[derive(Debug, PartialEq, Eq)]
enum Found<M> {
    Free {
        class: usize,
        memory: M,
    },
    /// It is to be made, after the others have been let go; the room is taken.
    Make {
        class: usize,
        instead: Vec<M>,
    },
    /// The bound is reached.
    Full,
}

impl PinnedPool {
    pub(super) fn new(ordinal: u16) -> Self {
        Self {
            ordinal,
            slots: Arc::new(Mutex::new(Slots::new(BYTES_MAX))),
        }
    }

    /// Returns a block of so many bytes, which hold anything. `None`: the bound is reached, or the system has no more.
    pub fn take(&self, length: usize) -> Option<PinnedBlock> {
        let block = |class, memory| PinnedBlock {
            slots: self.slots.clone(),
            memory: Some(memory),
            class,
            length,
            until: None,
        };
        let found = lock(&self.slots).find(length);
        match found {
            Found::Free { class, memory } => Some(block(class, memory)),
            Found::Full => None,
            Found::Make { class, instead } => {
                let made = Context::of(self.ordinal)
                    .ok()
                    .and_then(|context| allocate(&context, class, instead));
                if made.is_none() {
                    lock(&self.slots).lose(class);
                }
                made.map(|memory| block(class, memory))
            }
        }
    }

    /// Returns the bytes of all blocks that exist.
    pub fn bytes(&self) -> usize {
        lock(&self.slots).bytes
    }
}

/// Returns so many bytes, after others have been let go.
fn allocate(context: &Context, bytes: usize, instead: Vec<Pinned>) -> Option<Pinned> {
    let _current = context.enter().ok()?;
    for old in instead {
        // SAFETY: from `malloc_host`, and of nobody any more.
        let _ = unsafe { result::free_host(old.0.as_ptr().cast()) };
    }
    // SAFETY: a context is current. Portable: pinned for all devices, which peers copy from too.
    let data = unsafe { result::malloc_host(bytes, sys::CU_MEMHOSTALLOC_PORTABLE) }.ok()?;
    let data = NonNull::new(data.cast::<u8>())?;
    // SAFETY: so many bytes from there on are new. Pages are touched now rather than in the first copy, and whoever asks for
    // the bytes finds some that have been written.
    unsafe { data.as_ptr().write_bytes(0, bytes) };
    Some(Pinned(data))
}

impl PinnedBlock {
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the block has at least as many bytes, all of which have been written, and nobody else writes to them.
        unsafe { std::slice::from_raw_parts(self.data().as_ptr(), self.length) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut` denies them to others.
        unsafe { std::slice::from_raw_parts_mut(self.data().as_ptr(), self.length) }
    }

    /// Gives the block back for the time after an event.
    pub fn hold_until(mut self, event: Event) {
        self.until = Some(event);
    }

    fn data(&self) -> NonNull<u8> {
        let memory = self.memory.as_ref();
        memory.expect("it is taken away by drop alone").0
    }
}

impl Drop for PinnedBlock {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            lock(&self.slots).put(self.class, memory, self.until.take());
        }
    }
}

impl HostMemory for PinnedBlock {
    fn bytes(&self) -> &[u8] {
        self.as_slice()
    }

    fn byte_count(&self) -> usize {
        self.length
    }
}

impl fmt::Debug for PinnedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedBlock")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Fence for Event {
    /// Where the device is lost nothing is past any more.
    fn is_past(&self) -> bool {
        self.is_done().unwrap_or(false)
    }
}

impl<M, F: Fence> Slots<M, F> {
    const fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            free: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn find(&mut self, length: usize) -> Found<M> {
        self.collect();
        let class = length.max(BLOCK_BYTES_MIN).checked_next_power_of_two();
        let Some(class) = class.filter(|&class| class <= self.limit) else {
            return Found::Full;
        };
        if let Some(memory) = self.free.get_mut(&class).and_then(Vec::pop) {
            return Found::Free { class, memory };
        }
        let spare: usize = self.free.iter().map(|(class, all)| class * all.len()).sum();
        if self.bytes - spare + class > self.limit {
            return Found::Full;
        }
        let mut instead = Vec::new();
        while self.bytes + class > self.limit {
            let largest = self.free.iter_mut().rev().find(|(_, all)| !all.is_empty());
            let Some((class, memory)) = largest.and_then(|(class, all)| Some((*class, all.pop()?)))
            else {
                break;
            };
            self.bytes -= class;
            instead.push(memory);
        }
        self.bytes += class;
        Found::Make { class, instead }
    }

    fn put(&mut self, class: usize, memory: M, until: Option<F>) {
        match until.filter(|fence| !fence.is_past()) {
            Some(fence) => self.waiting.push((fence, class, memory)),
            None => self.free.entry(class).or_default().push(memory),
        }
    }

    /// One that was to be made is not.
    fn lose(&mut self, class: usize) {
        self.bytes -= class;
    }

    fn collect(&mut self) {
        for at in (0..self.waiting.len()).rev() {
            if self.waiting[at].0.is_past() {
                let (_, class, memory) = self.waiting.swap_remove(at);
                self.free.entry(class).or_default().push(memory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    struct Flag(Rc<Cell<bool>>);

    impl Fence for Flag {
        fn is_past(&self) -> bool {
            self.0.get()
        }
    }

    const KIB: usize = 1 << 10;

    fn made(found: Found<u32>) -> usize {
        match found {
            Found::Make { class, instead } if instead.is_empty() => class,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_block_is_not_given_out_before_its_event() {
        let mut slots: Slots<u32, Flag> = Slots::new(16 * KIB);
        assert_eq!(made(slots.find(5 * KIB)), 8 * KIB);
        let done = Rc::new(Cell::new(false));
        slots.put(8 * KIB, 1, Some(Flag(done.clone())));
        assert_eq!(made(slots.find(8 * KIB)), 8 * KIB);
        assert_eq!(slots.find(8 * KIB), Found::Full);
        done.set(true);
        let class = 8 * KIB;
        assert_eq!(slots.find(7 * KIB), Found::Free { class, memory: 1 });
    }

    #[test]
    fn free_blocks_make_room_for_one_of_another_size_and_those_in_use_do_not() {
        let mut slots: Slots<u32, Flag> = Slots::new(16 * KIB);
        assert_eq!(made(slots.find(8 * KIB)), 8 * KIB);
        assert_eq!(made(slots.find(1)), 4 * KIB);
        slots.put(8 * KIB, 8, None);
        assert_eq!(slots.find(16 * KIB), Found::Full);
        slots.put(4 * KIB, 4, None);
        let class = 16 * KIB;
        let instead = vec![8, 4];
        assert_eq!(slots.find(16 * KIB), Found::Make { class, instead });
        slots.lose(class);
        assert_eq!(slots.bytes, 0);
        assert_eq!(slots.find(17 * KIB), Found::Full);
        assert_eq!(slots.find(usize::MAX), Found::Full);
    }

    proptest! {
        /// No memory has two owners, and all there is stays within the bound, in whatever order blocks come and go.
        #[test]
        fn blocks_are_bounded_and_have_one_owner(steps in prop::collection::vec((0..4_u8, 0..40_000_usize), 1..200)) {
            let mut slots: Slots<u32, Flag> = Slots::new(64 * KIB);
            let mut out: Vec<(usize, u32)> = Vec::new();
            let mut alive = BTreeSet::new();
            let mut fences: Vec<Rc<Cell<bool>>> = Vec::new();
            let mut next = 0;
            for (kind, number) in steps {
                match kind {
                    0 | 1 => match slots.find(number) {
                        Found::Free { class, memory } => {
                            prop_assert!(class >= number && alive.contains(&memory));
                            prop_assert!(out.iter().all(|(_, other)| *other != memory));
                            out.push((class, memory));
                        }
                        Found::Make { class, instead } => {
                            for old in instead {
                                prop_assert!(alive.remove(&old));
                                prop_assert!(out.iter().all(|(_, other)| *other != old));
                            }
                            next += 1;
                            alive.insert(next);
                            out.push((class, next));
                        }
                        Found::Full => {}
                    },
                    2 if !out.is_empty() => {
                        let (class, memory) = out.swap_remove(number % out.len());
                        let fence = Rc::new(Cell::new(number % 2 == 0));
                        fences.push(fence.clone());
                        slots.put(class, memory, Some(Flag(fence)));
                    }
                    _ if !fences.is_empty() => {
                        let place = number % fences.len();
                        fences[place].set(true);
                    }
                    _ => {}
                }
                prop_assert!(slots.bytes <= slots.limit);
            }
        }
    }
}
