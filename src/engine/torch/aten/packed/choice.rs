//! Choices made by measuring, once per process.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tch::Tensor;

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::Call;
use super::super::super::ffi::{InferenceMode, set_threads, threads};

/// How often each way is timed, the fastest time counting; fewer where the ways together take long.
const ROUNDS: usize = 16;
const ROUNDS_MIN: usize = 2;
const BUDGET: Duration = Duration::from_millis(40);

/// A later way is taken only if it needs less than this share of the time of an earlier one, so that chance does not
/// decide between ways that are as fast.
const GAIN: f64 = 0.9;

/// Choices by what they were made for. Made by one thread at a time, since measurements disturb each other.
pub(super) struct Choices<Key, Choice>(Mutex<Option<HashMap<Key, Choice>>>);

impl<Key: Debug + Eq + Hash, Choice: Copy + Debug> Choices<Key, Choice> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Returns the choice of this process, which `choose` makes where there is none yet, in a state like that of a run
    /// with `count` threads.
    pub(super) fn get(
        &self,
        key: Key,
        count: usize,
        choose: impl FnOnce() -> Result<Choice, Cause>,
    ) -> Result<Choice, Cause> {
        let mut choices = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let choices = choices.get_or_insert_default();
        if let Some(choice) = choices.get(&key) {
            return Ok(*choice);
        }
        let choice = {
            let _threads = Threads::set(count);
            let _mode = InferenceMode::enter()?;
            choose()?
        };
        tracing::debug!(?key, ?choice, "chosen");
        choices.insert(key, choice);
        Ok(choice)
    }
}

/// The number of threads that operators use, until dropped.
struct Threads {
    before: usize,
}

impl Threads {
    fn set(count: usize) -> Self {
        let before = threads();
        set_threads(count);
        Self { before }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        set_threads(self.before);
    }
}

/// A way of computing something.
pub(super) type Way<'a> = Box<dyn Fn() -> Result<Tensor, Cause> + 'a>;

/// Returns the way that is a call of one tensor.
pub(super) fn way(call: Call, x: &Tensor) -> Way<'_> {
    Box::new(move || call.tensor(&[Some(x)]))
}

/// Returns the fastest way; one that fails is none. `None` where all fail.
pub(super) fn fastest<Choice: Copy>(ways: &[(Choice, Way<'_>)]) -> Option<Choice> {
    // The first run makes what a library makes once, and is not timed.
    let ways: Vec<_> = ways.iter().filter(|(_, way)| way().is_ok()).collect();
    let mut times = vec![Duration::MAX; ways.len()];
    let start = Instant::now();
    for round in 0..ROUNDS {
        if ways.len() < 2 || round >= ROUNDS_MIN && start.elapsed() > BUDGET {
            break;
        }
        for ((_, way), time) in ways.iter().zip(&mut times) {
            let start = Instant::now();
            if way().is_ok() {
                *time = start.elapsed().min(*time);
            }
        }
    }
    let timed = ways.iter().map(|(choice, _)| *choice).zip(times);
    timed
        .reduce(|best, next| {
            let is_faster = next.1.as_secs_f64() < best.1.as_secs_f64() * GAIN;
            if is_faster { next } else { best }
        })
        .map(|(choice, _)| choice)
}
