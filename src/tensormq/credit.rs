//! Credits: the permission to send, which flows from consumer to producer.

use super::LinkError;
use super::frame::{self, Reader, expect_kind, no_count};

/// Envelopes one producer may have waiting at one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub u32);

/// Permission to send that many more tensor envelopes on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// As in the hello.
    pub connection: u32,
    pub credits: u32,
}

impl Grant {
    /// Layout, little-endian:
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 8 | beginning of kind 0x83, count 0 |
    /// | 8 | 4 | connection, as in the hello |
    /// | 12 | 4 | credits |
    pub fn encode(self) -> Vec<u8> {
        let mut frame = frame::begin(frame::GRANT, 0, 8);
        frame.extend_from_slice(&self.connection.to_le_bytes());
        frame.extend_from_slice(&self.credits.to_le_bytes());
        frame
    }

    /// Reads what [`Grant::encode`] wrote; anything else is an error.
    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let (mut reader, kind, count) = Reader::begin(frame)?;
        expect_kind(kind, frame::GRANT)?;
        no_count(count)?;
        let grant = Self {
            connection: reader.u32()?,
            credits: reader.u32()?,
        };
        reader.end()?;
        Ok(grant)
    }
}
