//! How much a block holds.

use std::collections::BTreeMap;

use crate::graph::Digest;

/// Bytes of the weights that a block uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// Of weights that all blocks of a process share, by what is in them and the form in which they are held; under no form where
    /// that is a guess.
    pub by_content: BTreeMap<Digest, BTreeMap<String, u64>>,
    /// Of those that nobody shares.
    pub own: u64,
    /// Of those that each session has anew.
    pub by_session: u64,
}

impl Held {
    /// Returns what a device holds for so many sessions.
    pub fn total(&self, sessions: u64) -> u64 {
        let shared = self.by_content.values().flat_map(BTreeMap::values).copied();
        let all = shared.chain([self.own, self.by_session.saturating_mul(sessions)]);
        all.fold(0, u64::saturating_add)
    }
}
