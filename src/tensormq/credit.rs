//! What flows from consumer to producer: credits, the permission to send, and slots that are not read any more.

use super::frame::{self, Reader, expect_kind};
use super::{LinkError, SlotId};

/// Slots that one grant gives back at most.
pub const RETURNS_MAX: usize = 256;

/// Envelopes one producer may have waiting at one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub u32);

/// Permission to send that many more tensor envelopes on one connection, and what is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As in the hello.
    pub connection: u32,
    pub credits: u32,
    /// Slots of the producer's arena, each as often as it is let go; at most [`RETURNS_MAX`].
    pub returned: Vec<SlotId>,
}

impl Grant {
    /// Layout, little-endian:
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 8 | beginning of kind 0x83, count: number of returned slots |
    /// | 8 | 4 | connection, as in the hello |
    /// | 12 | 4 | credits |
    /// | 16 | … | returned slots, each: offset `u64`, generation `u64` |
    pub fn encode(&self) -> Vec<u8> {
        let returned = &self.returned[..self.returned.len().min(RETURNS_MAX)];
        let room = 8 + 16 * returned.len();
        let mut frame = frame::begin(frame::GRANT, returned.len() as u16, room);
        frame.extend_from_slice(&self.connection.to_le_bytes());
        frame.extend_from_slice(&self.credits.to_le_bytes());
        frame::put_slots(&mut frame, returned);
        frame
    }

    /// Reads what [`Grant::encode`] wrote; anything else is an error.
    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let (mut reader, kind, count) = Reader::begin(frame)?;
        expect_kind(kind, frame::GRANT)?;
        if usize::from(count) > RETURNS_MAX {
            return Err(LinkError::Field {
                field: "count",
                seen: count.into(),
            });
        }
        let grant = Self {
            connection: reader.u32()?,
            credits: reader.u32()?,
            returned: reader.slots(usize::from(count))?,
        };
        reader.end()?;
        Ok(grant)
    }
}
