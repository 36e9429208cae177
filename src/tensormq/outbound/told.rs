//! What a link tells of itself.

use crate::tensormq::Moved;
use crate::types::Tensor;

use super::link::{LinkState, Outbound};

impl Outbound {
    /// Returns how many envelopes wait.
    pub fn backlog(&self) -> usize {
        self.waiting.len() + self.urgent.len()
    }

    /// Returns how many more envelopes the consumer would take now.
    pub fn credits(&self) -> u32 {
        self.credits
            .saturating_sub(u32::try_from(self.waiting.len()).unwrap_or(u32::MAX))
    }

    pub fn link_state(&self) -> &LinkState {
        &self.state
    }

    /// Returns the incarnation of the consumer's process while the link is up.
    pub fn peer(&self) -> Option<u64> {
        match self.state {
            LinkState::Up { incarnation } => Some(incarnation),
            _ => None,
        }
    }

    /// Tells whether a tensor of a device travels as it is, as things are; else it is to be brought to the host.
    pub fn shows(&self, tensor: &Tensor) -> bool {
        matches!(self.state, LinkState::Up { .. }) && self.lending.shows(tensor)
    }

    /// Returns the payloads that were sent other than as handles.
    pub fn moved(&self) -> Moved {
        self.moved
    }

    /// Returns how many slots the consumer has, each counted as often as it has it.
    pub fn leases(&self) -> usize {
        self.lending.count()
    }

    /// Returns how many slots came back that the consumer did not have.
    pub fn refused_returns(&self) -> u64 {
        self.lending.refused()
    }
}
