//! What all frames of the protocol have in common: how they begin, and how pieces are taken off them.
//!
//! Every frame but a payload begins, little-endian, with
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `BFMQ` |
//! | 4 | 1 | version (4) |
//! | 5 | 1 | kind; of a producer below 0x80, of a consumer from there on |
//! | 6 | 2 | a count whose meaning depends on the kind |
//!
//! Kinds: 1 [`Hello`](super::Hello), 2 tensors, 3 failure, 4 cancel, 5 state, 6 lost (2 to 6: [`encode`](super::encode));
//! 0x81 [`Welcome`](super::Welcome), 0x82 [`Refusal`](super::Refusal), 0x83 [`Grant`](super::Grant).
//! This beginning and the whole of a refusal stay as they are in later versions, so that any two can say why they part.

use super::{LinkError, SlotId};

const MAGIC: u32 = u32::from_le_bytes(*b"BFMQ");
/// Version of the protocol that this program speaks.
pub const VERSION: u8 = 4;

pub(super) const HELLO: u8 = 1;
pub(super) const TENSORS: u8 = 2;
pub(super) const FAILURE: u8 = 3;
pub(super) const CANCEL: u8 = 4;
pub(super) const STATE: u8 = 5;
pub(super) const LOST: u8 = 6;
pub(super) const WELCOME: u8 = 0x81;
pub(super) const REFUSAL: u8 = 0x82;
pub(super) const GRANT: u8 = 0x83;

/// Returns a frame that has only its beginning, with room for more.
pub(super) fn begin(kind: u8, count: u16, room: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(8 + room);
    frame.extend_from_slice(&MAGIC.to_le_bytes());
    frame.extend_from_slice(&[VERSION, kind]);
    frame.extend_from_slice(&count.to_le_bytes());
    frame
}

/// Tells the kind of a frame that somebody else may have made, of this version.
pub(super) fn kind(frame: &[u8]) -> Result<u8, LinkError> {
    Reader::begin(frame).map(|(_, kind, _)| kind)
}

/// Writes slots: offset `u64`, generation `u64`.
pub(super) fn put_slots(frame: &mut Vec<u8>, slots: &[SlotId]) {
    for slot in slots {
        frame.extend_from_slice(&slot.offset.to_le_bytes());
        frame.extend_from_slice(&slot.generation.to_le_bytes());
    }
}

/// Returns the start of a text that has at most so many bytes.
pub(super) fn truncate(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Takes bounded pieces off the front of a frame.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    /// Takes the beginning off a frame of this version; returns the kind and the count too.
    pub(super) fn begin(frame: &'a [u8]) -> Result<(Self, u8, u16), LinkError> {
        let (mut reader, version, kind, count) = Self::begin_any(frame)?;
        if version != VERSION {
            return Err(LinkError::Version {
                seen: version,
                expected: VERSION,
            });
        }
        reader.whole = frame.len();
        Ok((reader, kind, count))
    }

    /// Takes the beginning off a frame of any version; returns version, kind and count too.
    pub(super) fn begin_any(frame: &'a [u8]) -> Result<(Self, u8, u8, u16), LinkError> {
        let mut reader = Reader {
            rest: frame,
            whole: frame.len(),
        };
        let magic = reader.u32()?;
        if magic != MAGIC {
            return Err(LinkError::Magic { seen: magic });
        }
        let (version, kind, count) = (reader.u8()?, reader.u8()?, reader.u16()?);
        Ok((reader, version, kind, count))
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], LinkError> {
        let missing = LinkError::HeaderLength {
            bytes: self.whole,
            expected: self.read() + length,
        };
        let (head, rest) = self.rest.split_at_checked(length).ok_or(missing)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, LinkError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, LinkError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, LinkError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, LinkError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes bytes that must be zero.
    pub(super) fn zeros(&mut self, length: usize) -> Result<(), LinkError> {
        match self.take(length)?.iter().find(|&&byte| byte != 0) {
            Some(&byte) => Err(LinkError::Field {
                field: "reserved",
                seen: byte.into(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn slot(&mut self) -> Result<SlotId, LinkError> {
        Ok(SlotId {
            offset: self.u64()?,
            generation: self.u64()?,
        })
    }

    /// Takes a number of slots that somebody has bounded.
    pub(super) fn slots(&mut self, count: usize) -> Result<Vec<SlotId>, LinkError> {
        (0..count).map(|_| self.slot()).collect()
    }

    /// Takes text; what is no UTF-8 is replaced.
    pub(super) fn text(&mut self, length: usize) -> Result<String, LinkError> {
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// Checks that nothing is left.
    pub(super) fn end(self) -> Result<(), LinkError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(LinkError::HeaderLength {
            bytes: self.whole,
            expected: self.read(),
        })
    }

    fn read(&self) -> usize {
        self.whole - self.rest.len()
    }
}

/// Checks the count of a kind that has none.
pub(super) fn no_count(count: u16) -> Result<(), LinkError> {
    if count == 0 {
        return Ok(());
    }
    Err(LinkError::Field {
        field: "count",
        seen: count.into(),
    })
}

/// Checks that a frame is of the kind asked for.
pub(super) fn expect_kind(seen: u8, expected: u8) -> Result<(), LinkError> {
    if seen == expected {
        return Ok(());
    }
    Err(LinkError::Field {
        field: "kind",
        seen: seen.into(),
    })
}
