//! What a consumer takes off its links.

use std::fmt;

use super::{Addressed, Envelope, LinkError};

/// Index of a producer at one consumer. A producer that connects again keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub(super) usize);

impl Peer {
    /// A producer of a consumer that is not there any more: it has no credit to be given back.
    pub const GONE: Self = Self(usize::MAX);
}

/// An envelope and who sent it. A tensor envelope holds one credit of that producer until
/// [`Inbound::release`](super::Inbound::release).
#[derive(Debug)]
pub struct Received {
    pub envelope: Envelope,
    pub peer: Peer,
    /// Envelopes of this connection that were lost just before this one.
    pub lost: u64,
}

/// A message that was not believed.
#[derive(Debug)]
pub struct Discarded {
    pub error: LinkError,
    /// What it was for, where the header was sound and its producer has been let in: that request waits in vain.
    pub of: Option<Addressed>,
}

impl fmt::Display for Discarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
