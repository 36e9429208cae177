//! The envelope: what one message between two actors says, and its header on the wire.
//!
//! A header, little-endian, is one frame, followed by one frame per tensor that does not lie in a slot:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | beginning of kind 2 tensors, 3 failure, 4 cancel, 5 state, 6 lost; count: number of tensors |
//! | 8 | 8 | sequence number on this connection; the hello has 0 |
//! | 16 | 8 | request id |
//! | 24 | 4 | epoch |
//! | 28 | 2 | pipeline |
//! | 30 | 2 | step addressed; 65535 is the gateway |
//! | 32 | 8 | time left until the deadline, µs |
//! | 40 | … | by kind |
//!
//! Tensors, each:
//!
//! | size | field |
//! |---|---|
//! | 2 | port |
//! | 1 | dtype, as an index into [`DType::ALL`] |
//! | 1 | rank, at most [`RANK_MAX`] |
//! | 1 | [`Form`]: 0 handle (inproc only), 1 bytes, 2 slot (ipc only), 3 encoded bytes, 4 pool (ipc only) |
//! | 2 | zero |
//! | 1 | order of the dimensions in memory: 0 row-major, 1 another (of bytes and slots only) |
//! | 8 × rank | sizes |
//! | rank | of another order: the dimensions from the outermost to the innermost, each `u8` |
//! | 32 | of a slot: offset, generation, first byte of its payload, bytes; each `u64` |
//! | 40 | of a pool: offset and generation of the slot, offset in the pool, bytes; each `u64`; event `u16`, then 6 of zero |
//! | 8 | of encoded bytes: the encoding, an index into [`Encoding::ALL`] of 1 at least, then 7 of zero |
//!
//! Failure: kind `u8` as an index into [`FailureKind::ALL`], bytes of the block's name `u8`, bytes of the cause `u16`, the
//! name (none if empty), the cause, both UTF-8. State: block `u16`, instance `u16`, condition `u8` (0 serving,
//! 1 restarting, 2 given up), zero `u8`, bytes of the cause `u16`, cause. Lost: block `u16`, instance `u16`, zero `u32`,
//! incarnation `u64`.
//!
//! The frame of an encoded tensor: its elements, rounded to the narrower type where the encoding has one, then, where the
//! encoding compresses, all of them as one block of LZ4 (without its length) or as frames of Zstandard. Dtype and sizes in the
//! header are those of the tensor itself. Nothing shrinks beyond [`RATIO_MAX`] to one; BYTES tensors are not encoded.
//!
//! The time left is relative so that hosts need no common clock.
//!
//! [`Encoding::ALL`]: crate::types::Encoding::ALL
//! [`RATIO_MAX`]: super::RATIO_MAX

use std::sync::Arc;
use std::time::Duration;

use crate::types::{
    DType, Epoch, Failure, FailureKind, Order, PipelineId, RANK_MAX, RequestId, StepId,
    TENSORS_MAX, Tensor,
};

use super::frame::{self, Reader, no_count};
use super::payload::{Form, Moved, Payload};
use super::shm::Ledger;
use super::{LinkError, SlotError};

/// Bytes of one header at most.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + TENSORS_MAX * (8 + 9 * RANK_MAX + 40);

const FIXED_BYTES: usize = 40;
const CAUSE_BYTES_MAX: usize = 4096;
const CONDITIONS: [Condition; 3] = [
    Condition::Serving,
    Condition::Restarting,
    Condition::GivenUp,
];

/// Which request an envelope belongs to and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addressed {
    pub request: RequestId,
    pub epoch: Epoch,
    pub pipeline: PipelineId,
    pub step: StepId,
    /// Time left until the request's deadline, whole microseconds on the wire.
    pub time_left: Duration,
}

/// What an envelope carries.
#[derive(Debug, Clone)]
pub enum Body {
    /// Tensors with the input of the step (or output of the pipeline) each is for.
    Tensors(Vec<(u16, Tensor)>),
    /// The request failed.
    Failure(Failure),
    /// The request is of no interest any more.
    Cancel,
    /// A block tells the gateway how it is; of no request.
    State(BlockState),
    /// What was sent for the request to one receiver may not have arrived.
    Lost(LostReceiver),
}

/// How an instance of a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockState {
    /// Index in the plan.
    pub block: u16,
    pub instance: u16,
    pub condition: Condition,
    /// Why; empty while it serves.
    pub cause: String,
}

/// Whether an instance of a block takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Condition {
    Serving,
    Restarting,
    GivenUp,
}

/// A receiver whose connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LostReceiver {
    /// Index in the plan.
    pub block: u16,
    pub instance: u16,
    /// Of the process that was lost.
    pub incarnation: u64,
}

/// One message of a link.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub address: Addressed,
    pub body: Body,
}

/// Header as read, before the frames behind it are looked at.
#[derive(Debug)]
pub(super) struct Header {
    pub address: Addressed,
    pub sequence: u64,
    announced: Announced,
}

#[derive(Debug)]
enum Announced {
    Tensors(Vec<Description>),
    Other(Body),
}

/// What a header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    port: u16,
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// `None` is row-major.
    pub order: Option<Order>,
    pub form: Form,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::Tensors(_) => frame::TENSORS,
            Self::Failure(_) => frame::FAILURE,
            Self::Cancel => frame::CANCEL,
            Self::State(_) => frame::STATE,
            Self::Lost(_) => frame::LOST,
        }
    }
}

/// Writes the header frame of an envelope whose tensors travel in one form.
pub fn encode(envelope: &Envelope, sequence: u64, form: Form) -> Result<Vec<u8>, LinkError> {
    encode_each(envelope, sequence, |_| form)
}

/// Writes the header frame of an envelope, given the form of each tensor.
pub fn encode_each(
    envelope: &Envelope,
    sequence: u64,
    form: impl Fn(usize) -> Form,
) -> Result<Vec<u8>, LinkError> {
    let Envelope { address, body } = envelope;
    let tensors: &[(u16, Tensor)] = if let Body::Tensors(tensors) = body {
        tensors
    } else {
        &[]
    };
    let count = u16::try_from(tensors.len())
        .ok()
        .filter(|&count| usize::from(count) <= TENSORS_MAX)
        .ok_or(LinkError::Tensors {
            seen: tensors.len(),
            max: TENSORS_MAX,
        })?;
    let mut header = frame::begin(body.kind(), count, 32 + tensors.len() * 48);
    header.extend_from_slice(&sequence.to_le_bytes());
    header.extend_from_slice(&address.request.0.to_le_bytes());
    header.extend_from_slice(&address.epoch.0.to_le_bytes());
    header.extend_from_slice(&address.pipeline.0.to_le_bytes());
    header.extend_from_slice(&address.step.0.to_le_bytes());
    let micros = u64::try_from(address.time_left.as_micros()).unwrap_or(u64::MAX);
    header.extend_from_slice(&micros.to_le_bytes());
    for (index, (port, tensor)) in tensors.iter().enumerate() {
        let form = form(index);
        let rank = tensor.shape().len();
        let rank = u8::try_from(rank)
            .ok()
            .filter(|&rank| usize::from(rank) <= RANK_MAX)
            .ok_or(LinkError::Rank {
                seen: rank,
                max: RANK_MAX,
            })?;
        header.extend_from_slice(&port.to_le_bytes());
        header.extend_from_slice(&[code(&DType::ALL, &tensor.dtype()), rank]);
        let order = match form {
            Form::Handle | Form::Encoded(_) | Form::Pool(_) => None,
            Form::Bytes | Form::Slot(_) => tensor.stored().1,
        };
        header.extend_from_slice(&[form.code(), 0, 0, u8::from(order.is_some())]);
        for &size in tensor.shape() {
            header.extend_from_slice(&(size as u64).to_le_bytes());
        }
        header.extend_from_slice(order.map(Order::dims).unwrap_or_default());
        form.write(&mut header);
    }
    match body {
        Body::Failure(failure) => encode_failure(failure, &mut header),
        Body::State(state) => encode_state(state, &mut header),
        Body::Lost(lost) => {
            header.extend_from_slice(&lost.block.to_le_bytes());
            header.extend_from_slice(&lost.instance.to_le_bytes());
            header.extend_from_slice(&[0; 4]);
            header.extend_from_slice(&lost.incarnation.to_le_bytes());
        }
        Body::Tensors(_) | Body::Cancel => {}
    }
    Ok(header)
}

fn encode_failure(failure: &Failure, header: &mut Vec<u8>) {
    let block = failure.block.as_deref().unwrap_or_default();
    let block = frame::truncate(block, usize::from(u8::MAX));
    let cause = frame::truncate(&failure.cause, CAUSE_BYTES_MAX);
    header.push(code(&FailureKind::ALL, &failure.kind));
    header.push(block.len() as u8);
    header.extend_from_slice(&(cause.len() as u16).to_le_bytes());
    header.extend_from_slice(block.as_bytes());
    header.extend_from_slice(cause.as_bytes());
}

fn encode_state(state: &BlockState, header: &mut Vec<u8>) {
    let cause = frame::truncate(&state.cause, CAUSE_BYTES_MAX);
    header.extend_from_slice(&state.block.to_le_bytes());
    header.extend_from_slice(&state.instance.to_le_bytes());
    header.extend_from_slice(&[code(&CONDITIONS, &state.condition), 0]);
    header.extend_from_slice(&(cause.len() as u16).to_le_bytes());
    header.extend_from_slice(cause.as_bytes());
}

fn code<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter()
        .position(|known| known == one)
        .unwrap_or_default() as u8
}

/// Reads a header frame; the tensors are described, not yet there.
pub(super) fn decode_header(header: &[u8]) -> Result<Header, LinkError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(LinkError::HeaderLength {
            bytes: header.len(),
            expected: HEADER_BYTES_MAX,
        });
    }
    let (mut reader, kind, count) = Reader::begin(header)?;
    let sequence = reader.u64()?;
    let address = Addressed {
        request: RequestId(reader.u64()?),
        epoch: Epoch(reader.u32()?),
        pipeline: PipelineId(reader.u16()?),
        step: StepId(reader.u16()?),
        time_left: Duration::from_micros(reader.u64()?),
    };
    if kind != frame::TENSORS {
        no_count(count)?;
    }
    let announced = match kind {
        frame::TENSORS => Announced::Tensors(descriptions(&mut reader, usize::from(count))?),
        frame::FAILURE => Announced::Other(Body::Failure(failure(&mut reader)?)),
        frame::CANCEL => Announced::Other(Body::Cancel),
        frame::STATE => Announced::Other(Body::State(state(&mut reader)?)),
        frame::LOST => Announced::Other(Body::Lost(lost(&mut reader)?)),
        _ => {
            return Err(LinkError::Field {
                field: "kind",
                seen: kind.into(),
            });
        }
    };
    reader.end()?;
    Ok(Header {
        address,
        sequence,
        announced,
    })
}

impl Header {
    /// Tells whether the envelope cost its producer a credit.
    pub(super) fn is_credited(&self) -> bool {
        matches!(self.announced, Announced::Tensors(_))
    }

    /// Puts the payloads of the frames behind the header, and slots that the ledger lends, to what it says of them.
    pub(super) fn claim(
        self,
        payloads: Vec<Payload>,
        ledger: Option<&Arc<Ledger>>,
        moved: &mut Moved,
    ) -> Result<Envelope, LinkError> {
        let payloads = self.with_slots(payloads, ledger)?;
        let body = match self.announced {
            Announced::Other(body) => body,
            Announced::Tensors(descriptions) => {
                let pairs = descriptions.into_iter().zip(payloads).enumerate();
                let claim = |(index, (is, payload)): (usize, (Description, Payload))| {
                    let port = is.port;
                    Ok((port, payload.claim(index, is, moved)?))
                };
                Body::Tensors(pairs.map(claim).collect::<Result<_, LinkError>>()?)
            }
        };
        Ok(Envelope {
            address: self.address,
            body,
        })
    }

    /// Returns the payload of each tensor. Every slot is taken before anything is refused: so it is let go whatever is wrong
    /// with the rest.
    fn with_slots(
        &self,
        frames: Vec<Payload>,
        ledger: Option<&Arc<Ledger>>,
    ) -> Result<Vec<Payload>, LinkError> {
        let descriptions: &[Description] = match &self.announced {
            Announced::Tensors(all) => all,
            Announced::Other(_) => &[],
        };
        let lend = |(index, is): (usize, &Description)| {
            let wrong = |cause| LinkError::Slot { index, cause };
            let ledger = ledger.ok_or(wrong(SlotError::NoArena));
            match is.form {
                Form::Slot(range) => Some(
                    ledger.and_then(|ledger| ledger.lend(range).map(Payload::Slot).map_err(wrong)),
                ),
                Form::Pool(range) => Some(ledger.and_then(|ledger| {
                    let fetched = ledger.fetch(index, range, is.dtype, &is.shape);
                    fetched.map(Payload::Pool)
                })),
                Form::Handle | Form::Bytes | Form::Encoded(_) => None,
            }
        };
        let slots: Vec<_> = descriptions.iter().enumerate().map(lend).collect();
        let expected = slots.iter().filter(|slot| slot.is_none()).count();
        if frames.len() != expected {
            return Err(LinkError::Frames {
                seen: frames.len() + 1,
                expected: expected + 1,
            });
        }
        let mut frames = frames.into_iter();
        let payloads = slots.into_iter();
        let payloads = payloads.filter_map(|slot| slot.or_else(|| frames.next().map(Ok)));
        payloads.collect()
    }
}

/// Reads an envelope from its header and the payloads of the frames behind it; there are no slots. Returns the sequence
/// number too.
pub fn decode(header: &[u8], payloads: Vec<Payload>) -> Result<(Envelope, u64), LinkError> {
    let header = decode_header(header)?;
    let sequence = header.sequence;
    let envelope = header.claim(payloads, None, &mut Moved::default())?;
    Ok((envelope, sequence))
}

/// Returns the form that a header announces for each of its tensors.
pub fn forms(header: &[u8]) -> Result<Vec<Form>, LinkError> {
    Ok(match decode_header(header)?.announced {
        Announced::Tensors(all) => all.iter().map(|is| is.form).collect(),
        Announced::Other(_) => Vec::new(),
    })
}

fn descriptions(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Description>, LinkError> {
    if count > TENSORS_MAX {
        return Err(LinkError::Tensors {
            seen: count,
            max: TENSORS_MAX,
        });
    }
    (0..count).map(|_| description(reader)).collect()
}

fn description(reader: &mut Reader<'_>) -> Result<Description, LinkError> {
    let port = reader.u16()?;
    let dtype = known(&DType::ALL, "dtype", reader.u8()?)?;
    let rank = usize::from(reader.u8()?);
    let form = reader.u8()?;
    reader.zeros(2)?;
    let order = reader.u8()?;
    if rank > RANK_MAX {
        return Err(LinkError::Rank {
            seen: rank,
            max: RANK_MAX,
        });
    }
    let size = |reader: &mut Reader<'_>| {
        let seen = reader.u64()?;
        let field = "dimension";
        usize::try_from(seen).map_err(|_| LinkError::Field { field, seen })
    };
    Ok(Description {
        port,
        dtype,
        shape: (0..rank).map(|_| size(reader)).collect::<Result<_, _>>()?,
        order: read_order(order, form, reader.take(if order == 1 { rank } else { 0 })?)?,
        form: Form::read(form, reader)?,
    })
}

fn read_order(code: u8, form: u8, dims: &[u8]) -> Result<Option<Order>, LinkError> {
    // Bytes and slots.
    let may = matches!(form, 1 | 2);
    match code {
        0 => Ok(None),
        1 if may => {
            let seen = dims.to_vec();
            Order::new(dims).map(Some).ok_or(LinkError::Order { seen })
        }
        _ => Err(LinkError::Field {
            field: "order",
            seen: code.into(),
        }),
    }
}

fn failure(reader: &mut Reader<'_>) -> Result<Failure, LinkError> {
    let kind = known(&FailureKind::ALL, "failure kind", reader.u8()?)?;
    let block_bytes = usize::from(reader.u8()?);
    let cause_bytes = cause_bytes(reader)?;
    let block = reader.text(block_bytes)?;
    let cause = reader.text(cause_bytes)?;
    Ok(Failure {
        kind,
        block: (!block.is_empty()).then_some(block),
        cause,
    })
}

fn state(reader: &mut Reader<'_>) -> Result<BlockState, LinkError> {
    let (block, instance) = (reader.u16()?, reader.u16()?);
    let condition = known(&CONDITIONS, "condition", reader.u8()?)?;
    reader.zeros(1)?;
    let cause_bytes = cause_bytes(reader)?;
    Ok(BlockState {
        block,
        instance,
        condition,
        cause: reader.text(cause_bytes)?,
    })
}

fn lost(reader: &mut Reader<'_>) -> Result<LostReceiver, LinkError> {
    let (block, instance) = (reader.u16()?, reader.u16()?);
    reader.zeros(4)?;
    Ok(LostReceiver {
        block,
        instance,
        incarnation: reader.u64()?,
    })
}

fn cause_bytes(reader: &mut Reader<'_>) -> Result<usize, LinkError> {
    let length = reader.u16()?;
    if usize::from(length) > CAUSE_BYTES_MAX {
        return Err(LinkError::Field {
            field: "cause length",
            seen: length.into(),
        });
    }
    Ok(length.into())
}

fn known<T: Copy>(all: &[T], field: &'static str, code: u8) -> Result<T, LinkError> {
    let one = all.get(usize::from(code)).copied();
    one.ok_or(LinkError::Field {
        field,
        seen: code.into(),
    })
}
