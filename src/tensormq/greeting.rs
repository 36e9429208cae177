//! How two ends of a link get to know each other: [`Hello`] of the producer, answered by [`Welcome`] or [`Refusal`].

use crate::types::{POOL_EVENTS_MAX, PoolCard};

use super::frame::{self, Reader, expect_kind, no_count};
use super::{Announcement, Digest, LEASES_MAX, LinkError, Party, SlotId};

/// Bytes of a producer's name at most.
pub const NAME_BYTES_MAX: usize = 200;

const REASON_BYTES_MAX: usize = 1024;

/// First message of every connection of a producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    pub party: Party,
    /// Counts the connections of this producer from 1; answers name it, so that one to an earlier connection is known.
    pub connection: u32,
    /// Unique among the producers of a consumer; a later producer of the same name replaces an earlier one.
    pub name: String,
    /// Where it will send tensors in slots of, if it may.
    pub arena: Option<Announcement>,
    /// Where it will show tensors of its device, if it may; none without an arena.
    pub pool: Option<PoolCard>,
}

/// Answer to a producer that is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Of the consumer.
    pub incarnation: u64,
    pub connection: u32,
    /// Envelopes of this producer that may wait at the consumer.
    pub window: u32,
    /// How many of them may be sent now: fewer than the window where envelopes of an earlier connection still wait.
    pub credits: u32,
    /// Slots of its arena that the consumer still holds, each as often as it does, at most [`LEASES_MAX`]; `None` if the arena is
    /// not mapped, so that tensors come as bytes.
    pub held: Option<Vec<SlotId>>,
    /// The pool is mapped, too; else tensors of its device come through the host.
    pub pool: bool,
}

/// Answer to a producer that is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 0 if the hello could not be read: it is meant for any connection.
    pub connection: u32,
    pub reason: String,
}

impl Hello {
    /// Layout, little-endian:
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 8 | beginning of kind 1, count 0 |
    /// | 8 | 8 | incarnation of the producer's process |
    /// | 16 | 32 | digest of its configuration |
    /// | 48 | 4 | connection |
    /// | 52 | 1 | arena: 0 none, 1 one |
    /// | 53 | 1 | bytes of the name, at least 1, at most [`NAME_BYTES_MAX`] |
    /// | 54 | 1 | pool: 0 none, 1 one; with an arena only |
    /// | 55 | 1 | zero |
    /// | 56 | 24 | of an arena: process `u32`, descriptor `u32`, bytes `u64`, id `u64` |
    /// | … | 96 + 64 × events | of a pool: device 16 bytes, bytes `u64`, number of events `u16` (1 to [`POOL_EVENTS_MAX`]), 6 of zero, handle of the memory 64 bytes, handle of each event 64 bytes |
    /// | … | … | name, UTF-8 |
    pub fn encode(&self) -> Vec<u8> {
        let name = frame::truncate(&self.name, NAME_BYTES_MAX);
        let mut frame = frame::begin(frame::HELLO, 0, 72 + name.len());
        frame.extend_from_slice(&self.party.incarnation.to_le_bytes());
        frame.extend_from_slice(&self.party.digest.0);
        frame.extend_from_slice(&self.connection.to_le_bytes());
        let arena = u8::from(self.arena.is_some());
        let pool = self.pool.as_ref().filter(|_| self.arena.is_some());
        frame.extend_from_slice(&[arena, name.len() as u8, u8::from(pool.is_some()), 0]);
        if let Some(arena) = &self.arena {
            frame.extend_from_slice(&arena.process.to_le_bytes());
            frame.extend_from_slice(&arena.descriptor.to_le_bytes());
            frame.extend_from_slice(&arena.bytes.to_le_bytes());
            frame.extend_from_slice(&arena.id.to_le_bytes());
        }
        if let Some(pool) = pool {
            let events = &pool.events[..pool.events.len().min(POOL_EVENTS_MAX)];
            frame.extend_from_slice(&pool.device);
            frame.extend_from_slice(&pool.bytes.to_le_bytes());
            frame.extend_from_slice(&(events.len() as u16).to_le_bytes());
            frame.extend_from_slice(&[0; 6]);
            frame.extend_from_slice(&pool.memory);
            frame.extend_from_slice(events.as_flattened());
        }
        frame.extend_from_slice(name.as_bytes());
        frame
    }

    /// Reads what [`Hello::encode`] wrote; anything else is an error.
    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let (mut reader, kind, count) = Reader::begin(frame)?;
        expect_kind(kind, frame::HELLO)?;
        no_count(count)?;
        let party = Party {
            incarnation: reader.u64()?,
            digest: Digest(reader.array()?),
        };
        let connection = reader.u32()?;
        let has_arena = flag("arena", reader.u8()?)?;
        let length = usize::from(reader.u8()?);
        let has_pool = flag("pool", reader.u8()?)?;
        reader.zeros(1)?;
        if has_pool && !has_arena {
            let (field, seen) = ("pool", 1);
            return Err(LinkError::Field { field, seen });
        }
        if !(1..=NAME_BYTES_MAX).contains(&length) {
            return Err(LinkError::Field {
                field: "name length",
                seen: length as u64,
            });
        }
        let arena = if has_arena {
            Some(announcement(&mut reader)?)
        } else {
            None
        };
        let pool = if has_pool {
            Some(pool_card(&mut reader)?)
        } else {
            None
        };
        let name = str::from_utf8(reader.take(length)?).map_err(|_| LinkError::Name)?;
        let name = name.to_owned();
        reader.end()?;
        Ok(Self {
            party,
            connection,
            name,
            arena,
            pool,
        })
    }
}

impl Welcome {
    /// Layout, little-endian:
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 8 | beginning of kind 0x81, count: number of slots held |
    /// | 8 | 8 | incarnation of the consumer's process |
    /// | 16 | 4 | connection, as in the hello |
    /// | 20 | 4 | window |
    /// | 24 | 4 | credits |
    /// | 28 | 1 | arena: 0 not mapped, 1 mapped |
    /// | 29 | 1 | pool: 0 not mapped, 1 mapped; with the arena only |
    /// | 30 | 2 | zero |
    /// | 32 | … | slots held, each: offset `u64`, generation `u64` |
    pub fn encode(&self) -> Vec<u8> {
        let held = self.held.as_deref().unwrap_or_default();
        let held = &held[..held.len().min(LEASES_MAX)];
        let room = 24 + 16 * held.len();
        let mut frame = frame::begin(frame::WELCOME, held.len() as u16, room);
        frame.extend_from_slice(&self.incarnation.to_le_bytes());
        frame.extend_from_slice(&self.connection.to_le_bytes());
        frame.extend_from_slice(&self.window.to_le_bytes());
        frame.extend_from_slice(&self.credits.to_le_bytes());
        let arena = self.held.is_some();
        let pool = arena && self.pool;
        frame.extend_from_slice(&[u8::from(arena), u8::from(pool), 0, 0]);
        frame::put_slots(&mut frame, held);
        frame
    }

    /// Reads what [`Welcome::encode`] wrote; anything else is an error.
    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let (mut reader, kind, count) = Reader::begin(frame)?;
        expect_kind(kind, frame::WELCOME)?;
        let mut welcome = Self {
            incarnation: reader.u64()?,
            connection: reader.u32()?,
            window: reader.u32()?,
            credits: reader.u32()?,
            held: None,
            pool: false,
        };
        let mapped = flag("arena", reader.u8()?)?;
        welcome.pool = flag("pool", reader.u8()?)?;
        reader.zeros(2)?;
        if welcome.pool && !mapped {
            let (field, seen) = ("pool", 1);
            return Err(LinkError::Field { field, seen });
        }
        let count = usize::from(count);
        if count > if mapped { LEASES_MAX } else { 0 } {
            return Err(LinkError::Field {
                field: "count",
                seen: count as u64,
            });
        }
        if mapped {
            welcome.held = Some(reader.slots(count)?);
        }
        reader.end()?;
        Ok(welcome)
    }
}

impl Refusal {
    /// Layout, little-endian; the same in every version from 2 on:
    ///
    /// | offset | size | field |
    /// |---|---|---|
    /// | 0 | 8 | beginning of kind 0x82, count: bytes of the reason, at most 1024 |
    /// | 8 | 4 | connection, as in the hello; 0 if that could not be read |
    /// | 12 | … | reason, UTF-8 |
    pub fn encode(&self) -> Vec<u8> {
        let reason = frame::truncate(&self.reason, REASON_BYTES_MAX);
        let mut frame = frame::begin(frame::REFUSAL, reason.len() as u16, 4 + reason.len());
        frame.extend_from_slice(&self.connection.to_le_bytes());
        frame.extend_from_slice(reason.as_bytes());
        frame
    }

    /// Reads a refusal of any version; anything else is an error. Text that is no UTF-8 is replaced.
    pub fn decode(frame: &[u8]) -> Result<Self, LinkError> {
        let (mut reader, _, kind, count) = Reader::begin_any(frame)?;
        expect_kind(kind, frame::REFUSAL)?;
        let length = usize::from(count);
        if length > REASON_BYTES_MAX {
            return Err(LinkError::Field {
                field: "reason length",
                seen: count.into(),
            });
        }
        let connection = reader.u32()?;
        let reason = reader.text(length)?;
        reader.end()?;
        Ok(Self { connection, reason })
    }
}

fn announcement(reader: &mut Reader<'_>) -> Result<Announcement, LinkError> {
    Ok(Announcement {
        process: reader.u32()?,
        descriptor: reader.u32()?,
        bytes: reader.u64()?,
        id: reader.u64()?,
    })
}

fn pool_card(reader: &mut Reader<'_>) -> Result<PoolCard, LinkError> {
    let (device, bytes, events) = (reader.array()?, reader.u64()?, reader.u16()?);
    reader.zeros(6)?;
    if !(1..=POOL_EVENTS_MAX).contains(&usize::from(events)) {
        return Err(LinkError::Field {
            field: "events",
            seen: events.into(),
        });
    }
    Ok(PoolCard {
        device,
        bytes,
        memory: reader.array()?,
        events: (0..events)
            .map(|_| reader.array())
            .collect::<Result<_, _>>()?,
    })
}

fn flag(field: &'static str, seen: u8) -> Result<bool, LinkError> {
    match seen {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(LinkError::Field {
            field,
            seen: seen.into(),
        }),
    }
}
