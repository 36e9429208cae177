//! States of the blocks, written by the supervisor, read by whoever asks.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long requests wait for a host whose connection broke, as it does when keys are replaced.
const HOST_BACK: Duration = Duration::from_secs(1);

/// How a block is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockState {
    Starting,
    Serving,
    /// An instance failed and is being rebuilt; its queue waits.
    Restarting {
        cause: String,
    },
    /// A run, or warming, takes longer than it may; it may come back.
    Stuck {
        cause: String,
    },
    /// It lives on another host, which cannot be reached.
    Unreachable {
        cause: String,
    },
    /// The restart budget is used up.
    GivenUp {
        cause: String,
    },
}

/// What is known of one instance.
#[derive(Debug, Clone)]
struct Entry {
    /// As it was last told.
    state: BlockState,
    /// Why its host cannot be reached, if that is so, and from when on that counts.
    unreachable: Option<(Instant, String)>,
}

/// State per block instance; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<RwLock<Vec<Vec<Entry>>>>);

impl Board {
    /// `instances` of every block, all starting.
    pub(super) fn new(instances: impl Iterator<Item = usize>) -> Self {
        let entry = Entry {
            state: BlockState::Starting,
            unreachable: None,
        };
        Self(Arc::new(RwLock::new(
            instances.map(|count| vec![entry.clone(); count]).collect(),
        )))
    }

    pub(super) fn set(&self, block: usize, instance: usize, state: BlockState) {
        self.change(block, instance, |entry| entry.state = state);
    }

    /// Notes why the host of an instance cannot be reached, or that it can be. What the instance last told stays true.
    pub(super) fn reach(&self, block: usize, instance: usize, unreachable: Option<String>) {
        let unreachable = unreachable.map(|cause| (Instant::now(), cause));
        self.change(block, instance, |entry| entry.unreachable = unreachable);
    }

    /// Notes that the host of an instance was lost. It may be back in a moment, and so long requests wait for it.
    pub(super) fn lose_sight(&self, block: usize, instance: usize, cause: String) {
        let counts = Instant::now() + HOST_BACK;
        self.change(block, instance, |entry| {
            entry.unreachable = Some((counts, cause));
        });
    }

    /// Sets the state of an instance that was not given up.
    pub(super) fn set_unless_given_up(&self, block: usize, instance: usize, state: BlockState) {
        self.change(block, instance, |entry| {
            if !matches!(entry.state, BlockState::GivenUp { .. }) {
                entry.state = state;
            }
        });
    }

    fn change(&self, block: usize, instance: usize, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let instances = entries.get_mut(block);
        if let Some(entry) = instances.and_then(|instances| instances.get_mut(instance)) {
            change(entry);
        }
    }

    pub(super) fn is_serving(&self, block: usize, instance: usize) -> bool {
        self.get(block, instance) == Some(BlockState::Serving)
    }

    pub(super) fn get(&self, block: usize, instance: usize) -> Option<BlockState> {
        let entries = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(block)?.get(instance)?;
        Some(entry.state.clone())
    }

    /// Returns the state of the instance that is worst off.
    pub(super) fn worst(&self, block: usize) -> BlockState {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let instances = states.get(block).map(Vec::as_slice).unwrap_or_default();
        instances
            .iter()
            .map(Entry::seen)
            .max_by_key(BlockState::severity)
            .unwrap_or(BlockState::Starting)
    }

    /// Tells whether all instances of a block have been up.
    pub(super) fn is_up(&self, block: usize) -> bool {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut instances = states.get(block).into_iter().flatten();
        instances.all(|entry| entry.state != BlockState::Starting)
    }
}

impl Entry {
    /// Returns how the instance is doing, seen from here.
    fn seen(&self) -> BlockState {
        match (&self.state, &self.unreachable) {
            (BlockState::GivenUp { .. }, _) => self.state.clone(),
            (_, Some((from, cause))) if *from <= Instant::now() => BlockState::Unreachable {
                cause: cause.clone(),
            },
            _ => self.state.clone(),
        }
    }
}

impl BlockState {
    const fn severity(&self) -> u8 {
        match self {
            Self::Serving => 0,
            Self::Restarting { .. } => 1,
            Self::Starting => 2,
            Self::Unreachable { .. } => 3,
            Self::Stuck { .. } => 4,
            Self::GivenUp { .. } => 5,
        }
    }
}
