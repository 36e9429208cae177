//! Choices made by trying, once per process.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Mutex;

use tch::Tensor;

use super::super::super::cause::Cause;
use super::super::super::ffi::boxed::Call;
use super::super::super::ffi::{InferenceMode, set_threads, threads};
use crate::types::lock;

/// Choices by what they were made for.
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
        let mut choices = lock(&self.0);
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

/// Returns the first way that works; `None` where none does.
///
/// Times have no say: two processes would choose differently where two ways are nearly as fast, and then give other last
/// bits for one input.
pub(super) fn first_working<Choice: Copy>(ways: &[(Choice, Way<'_>)]) -> Option<Choice> {
    let works = ways.iter().find(|(_, way)| way().is_ok());
    works.map(|(choice, _)| *choice)
}
