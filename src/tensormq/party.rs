//! Who takes part in a link.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

/// A process as its peers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party {
    /// Drawn when the process starts: tells a restarted process from the one before.
    pub incarnation: u64,
    /// What both ends of a link must agree on.
    pub digest: Digest,
}

/// Digest of the configuration that a process runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; Digest::BYTES]);

impl Party {
    /// Returns a party that nobody has met.
    pub fn new(digest: Digest) -> Self {
        Self {
            // Seeded by the operating system.
            incarnation: RandomState::new().build_hasher().finish(),
            digest,
        }
    }
}

impl Digest {
    pub const BYTES: usize = 32;
}

impl fmt::Display for Digest {
    /// The first bytes, enough to tell two apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
