//! The switch from one epoch to the next, in every order in which its threads can take their steps.
//!
//! The code under test is the program's own file, over the pointers of loom, which tries the orders one after the other.

#![expect(unsafe_code, reason = "reads and writes what loom watches for races")]

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, RwLock};
use loom::thread;

use leaving::Leaving;

#[path = "../../src/app/reload/leaving.rs"]
mod leaving;

mod sync {
    pub(crate) use loom::sync::Arc;
}

/// What stands for the runtime of an epoch: requests read it, and whoever retires the epoch writes.
struct Epoch {
    in_flight: AtomicUsize,
    memory: UnsafeCell<u32>,
}

/// What clients find, as the program's `Serving`: the epoch itself lives with its blocks.
struct Serving(Arc<Epoch>);

/// Stands for the channel that tells what is served, which is a lock around a pointer.
type Front = Arc<RwLock<Arc<Serving>>>;

impl Epoch {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            memory: UnsafeCell::new(1),
        })
    }

    /// What a block does with a request: loom fails if the epoch is freed meanwhile, or was before.
    fn run(&self) {
        self.memory.with(|memory| {
            // SAFETY: loom checks that nobody writes at the same time.
            assert_eq!(unsafe { *memory }, 1, "the epoch was freed");
        });
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    fn free(&self) {
        self.memory.with_mut(|memory| {
            // SAFETY: loom checks that nobody reads or writes at the same time.
            unsafe { *memory = 0 }
        });
    }
}

/// A client begins a request in what is served, and a block runs it on a thread of its own. The client waits for the answer
/// with what it took in its hands, or goes away.
fn request(front: &Front, waits: bool) {
    let serving = front.read().unwrap().clone();
    serving.0.in_flight.fetch_add(1, Ordering::AcqRel);
    let epoch = serving.0.clone();
    let block = thread::spawn(move || epoch.run());
    if waits {
        block.join().unwrap();
    }
}

/// Replaces what is served while a request begins, and frees what was served before as soon as `over` says so. Loom tells of
/// any order in which a request finds its epoch freed.
fn switch_under(waits: bool, over: fn(&mut Leaving<Serving>) -> bool) {
    loom::model(move || {
        let old = Epoch::new();
        let front: Front = Arc::new(RwLock::new(Arc::new(Serving(old.clone()))));
        let client = {
            let front = front.clone();
            thread::spawn(move || request(&front, waits))
        };
        let new = Arc::new(Serving(Epoch::new()));
        let replaced = std::mem::replace(&mut *front.write().unwrap(), new);
        let mut leaving = Leaving::new(replaced);
        while !over(&mut leaving) {
            thread::yield_now();
        }
        old.free();
        client.join().unwrap();
    });
}

/// As the program has it.
fn is_over(leaving: &mut Leaving<Serving>) -> bool {
    let idle = |serving: &mut Serving| serving.0.in_flight.load(Ordering::Acquire) == 0;
    leaving.alone().is_some_and(idle)
}

#[test]
fn an_epoch_is_freed_after_the_last_request_that_was_waited_for() {
    switch_under(true, is_over);
}

#[test]
fn an_epoch_is_freed_after_the_last_request_whose_client_went_away() {
    switch_under(false, is_over);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_epoch_that_only_its_clients_keep_is_freed_too_early() {
    switch_under(false, |leaving| leaving.alone().is_some());
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_epoch_that_nothing_keeps_is_freed_too_early() {
    switch_under(true, |_| true);
}
