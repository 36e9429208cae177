//! What a consumer gives back to its producers: credits, and slots of their arenas.

use super::{Inbound, Peer};
use crate::tensormq::credit::RETURNS_MAX;
use crate::tensormq::{Grant, LinkError};

/// Grants in which a window is handed back at most, by a consumer that has nothing else to do.
const GRANTS_PER_WINDOW: u32 = 16;
/// The part of a window, as its divisor, that even a consumer that never rests owes at most.
const OWED_MAX: u32 = 2;

impl Inbound {
    /// Gives a producer back the credit of one envelope that left this consumer's queue: with slots that it is told of, when
    /// [`Inbound::try_receive`] finds nothing more, or now if many are owed.
    pub fn release(&mut self, peer: Peer) -> Result<(), LinkError> {
        let Some(producer) = self.producers.get_mut(peer.0) else {
            return Ok(());
        };
        producer.held = producer.held.saturating_sub(1);
        producer.owed = (producer.owed + 1).min(self.window.0);
        self.owing = true;
        if producer.owed >= self.window.0.div_ceil(OWED_MAX) {
            self.grant(peer)?;
        }
        Ok(())
    }

    /// Grants what is owed; tells whether that was anything. Few grants wake producers less often; small ones keep their
    /// picture of this consumer true.
    pub(super) fn grant_owed(&mut self) -> Result<bool, LinkError> {
        if !std::mem::take(&mut self.owing) {
            return Ok(false);
        }
        let least = self.window.0.div_ceil(GRANTS_PER_WINDOW);
        let owed = |peer: &usize| self.producers[*peer].owed >= least;
        let all: Vec<_> = (0..self.producers.len()).filter(owed).collect();
        let any = !all.is_empty();
        all.into_iter()
            .try_for_each(|peer| self.grant(Peer(peer)))?;
        Ok(any)
    }

    fn grant(&mut self, Peer(index): Peer) -> Result<(), LinkError> {
        let producer = &self.producers[index];
        let at = &producer.at;
        let grant = Grant {
            connection: at.number,
            credits: producer.owed,
            returned: Vec::new(),
        };
        let socket = &mut self.doors[at.socket].socket;
        if socket.send_to(&at.identity, &grant.encode())? == Some(true) {
            self.producers[index].owed = 0;
        }
        Ok(())
    }

    /// Tells producers of slots that were let go since the last time.
    pub(super) fn give_back(&mut self) -> Result<(), LinkError> {
        if !self.bell.silence() && !self.unreturned {
            return Ok(());
        }
        self.unreturned = false;
        for producer in &mut self.producers {
            let Some(ledger) = &producer.ledger else {
                continue;
            };
            let (at, owed) = (&producer.at, &mut producer.owed);
            let socket = &mut self.doors[at.socket].socket;
            let all = ledger.give_back(RETURNS_MAX, |returned| {
                let grant = Grant {
                    connection: at.number,
                    credits: *owed,
                    returned,
                };
                let sent = socket.send_to(&at.identity, &grant.encode())? == Some(true);
                if sent {
                    *owed = 0;
                }
                Ok::<_, LinkError>(sent)
            })?;
            // A producer that is gone asks for what is held when it comes again.
            self.unreturned |= !all;
        }
        Ok(())
    }
}
