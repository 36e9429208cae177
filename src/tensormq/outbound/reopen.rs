//! What becomes of a link whose consumer, or producer, opens its sockets anew while the process goes on.
//!
//! Between processes a link connects again by itself, and takes note of what may have been in transit. Within a process there is no
//! connection that could break: whoever opened the other end anew says so, and how far it has read.

use std::collections::BTreeSet;

use crate::tensormq::envelope::Body;
use crate::tensormq::socket::Context;
use crate::tensormq::{Envelope, LinkError};
use crate::types::RequestId;

use super::link::{HIGH_WATER_MARK, Outbound};

impl Outbound {
    /// Connects anew to a consumer of this process that has opened its socket anew, after it had `read` all envelopes with
    /// smaller sequence numbers. Returns the requests of those that it has not read. What waits is sent when the consumer
    /// has let this producer in again.
    ///
    /// Does nothing to a link that leads out of this process.
    pub fn reopen(&mut self, context: &Context, read: u64) -> Result<Vec<RequestId>, LinkError> {
        if self.socket.is_watched() {
            return Ok(Vec::new());
        }
        // More than this end has sent: it was read from the end before this one, which says nothing of what this one sent.
        let read = if read > self.sequence { 0 } else { read };
        self.socket = context.connect(&self.endpoint, HIGH_WATER_MARK)?;
        let unread: BTreeSet<_> = self
            .sent
            .drain(..)
            .filter(|(sequence, _)| *sequence >= read)
            .map(|(_, request)| request)
            .chain(self.failed.drain(..))
            .collect();
        self.credits = 0;
        self.greet()?;
        Ok(unread.into_iter().collect())
    }

    /// Returns the requests that lose something when this end is dropped: what waits here, and what may not have arrived.
    pub fn unsettled(&self) -> Vec<RequestId> {
        let depends = |envelope: &&Envelope| {
            matches!(
                envelope.body,
                Body::Tensors(_) | Body::Failure(_) | Body::Lost(_)
            )
        };
        let waiting = self.waiting.iter().chain(&self.urgent).filter(depends);
        let all: BTreeSet<_> = self
            .in_transit()
            .chain(self.failed.iter().copied())
            .chain(waiting.map(|envelope| envelope.address.request))
            .collect();
        all.into_iter().collect()
    }
}
