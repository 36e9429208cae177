//! States of the blocks, written by the supervisor, read by whoever asks.

use std::sync::{Arc, PoisonError, RwLock};

/// How a block is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockState {
    Starting,
    Serving,
    /// An instance failed and is being rebuilt; its queue waits.
    Restarting {
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

/// State per block instance; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<RwLock<Vec<Vec<BlockState>>>>);

impl Board {
    /// `instances` of every block, all starting.
    pub(super) fn new(instances: impl Iterator<Item = usize>) -> Self {
        Self(Arc::new(RwLock::new(
            instances
                .map(|count| vec![BlockState::Starting; count])
                .collect(),
        )))
    }

    pub(super) fn set(&self, block: usize, instance: usize, state: BlockState) {
        let mut states = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = states
            .get_mut(block)
            .and_then(|instances| instances.get_mut(instance))
        {
            *slot = state;
        }
    }

    pub(super) fn is_given_up(&self, block: usize, instance: usize) -> bool {
        matches!(self.get(block, instance), Some(BlockState::GivenUp { .. }))
    }

    pub(super) fn is_serving(&self, block: usize, instance: usize) -> bool {
        self.get(block, instance) == Some(BlockState::Serving)
    }

    pub(super) fn get(&self, block: usize, instance: usize) -> Option<BlockState> {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        states.get(block)?.get(instance).cloned()
    }

    /// Returns the state of the instance that is worst off.
    pub(super) fn worst(&self, block: usize) -> BlockState {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let instances = states.get(block).map(Vec::as_slice).unwrap_or_default();
        instances
            .iter()
            .max_by_key(|state| state.severity())
            .cloned()
            .unwrap_or(BlockState::Starting)
    }

    /// Tells whether all instances of a block have been up.
    pub(super) fn is_up(&self, block: usize) -> bool {
        let states = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut instances = states.get(block).into_iter().flatten();
        instances.all(|state| *state != BlockState::Starting)
    }
}

impl BlockState {
    const fn severity(&self) -> u8 {
        match self {
            Self::Serving => 0,
            Self::Restarting { .. } => 1,
            Self::Starting => 2,
            Self::Unreachable { .. } => 3,
            Self::GivenUp { .. } => 4,
        }
    }
}
