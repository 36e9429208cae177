//! The envelope: what one message between two actors says, and its header on the wire.
//!
//! Header, little-endian; one frame, followed by one frame per tensor:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `BFMQ` |
//! | 4 | 1 | version (1) |
//! | 5 | 1 | kind: 1 hello, 2 tensors, 3 failure, 4 cancel |
//! | 6 | 2 | number of tensors |
//! | 8 | 8 | sequence number of this producer on this link, from 0 |
//! | 16 | 8 | request id |
//! | 24 | 4 | epoch |
//! | 28 | 2 | pipeline |
//! | 30 | 2 | step addressed; 65535 is the gateway |
//! | 32 | 8 | time left until the deadline, µs |
//! | 40 | … | tensors: per tensor port `u16`, dtype `u8`, rank `u8`, then rank sizes `u64` |
//! | 40 | … | failure: kind `u8`, block length `u8`, cause length `u16`, block and cause as UTF-8 |
//!
//! The time left is relative so that hosts need no common clock.

use std::time::Duration;

use crate::types::{
    DType, Epoch, Failure, FailureKind, PipelineId, RANK_MAX, RequestId, StepId, TENSORS_MAX,
    Tensor,
};

use super::LinkError;

pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"BFMQ");
pub(super) const VERSION: u8 = 1;

/// Bytes of one header at most.
pub const HEADER_BYTES_MAX: usize = FIXED_BYTES + TENSORS_MAX * (4 + 8 * RANK_MAX);

const FIXED_BYTES: usize = 40;
const CAUSE_BYTES_MAX: usize = 4096;
const KIND_HELLO: u8 = 1;
const KIND_TENSORS: u8 = 2;
const KIND_FAILURE: u8 = 3;
const KIND_CANCEL: u8 = 4;

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
    /// First message of a producer; answered by credits.
    Hello,
    /// Tensors with the input of the step (or output of the pipeline) each is for.
    Tensors(Vec<(u16, Tensor)>),
    /// The request failed.
    Failure(Failure),
    /// The request is of no interest any more.
    Cancel,
}

/// One message of a link.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub address: Addressed,
    pub body: Body,
}

/// Header as read, before the frames behind it are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announced {
    Hello,
    Tensors(Vec<Description>),
    Failure(Failure),
    Cancel,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Description {
    pub port: u16,
    pub dtype: DType,
    pub shape: Vec<u64>,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::Hello => KIND_HELLO,
            Self::Tensors(_) => KIND_TENSORS,
            Self::Failure(_) => KIND_FAILURE,
            Self::Cancel => KIND_CANCEL,
        }
    }
}

/// Writes the header frame of an envelope.
pub fn encode(envelope: &Envelope, sequence: u64) -> Result<Vec<u8>, LinkError> {
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
    let mut header = Vec::with_capacity(FIXED_BYTES + tensors.len() * 44);
    header.extend_from_slice(&MAGIC.to_le_bytes());
    header.extend_from_slice(&[VERSION, body.kind()]);
    header.extend_from_slice(&count.to_le_bytes());
    header.extend_from_slice(&sequence.to_le_bytes());
    header.extend_from_slice(&address.request.0.to_le_bytes());
    header.extend_from_slice(&address.epoch.0.to_le_bytes());
    header.extend_from_slice(&address.pipeline.0.to_le_bytes());
    header.extend_from_slice(&address.step.0.to_le_bytes());
    let micros = u64::try_from(address.time_left.as_micros()).unwrap_or(u64::MAX);
    header.extend_from_slice(&micros.to_le_bytes());
    for (port, tensor) in tensors {
        let rank = tensor.shape().len();
        let rank = u8::try_from(rank)
            .ok()
            .filter(|&rank| usize::from(rank) <= RANK_MAX)
            .ok_or(LinkError::Rank {
                seen: rank,
                max: RANK_MAX,
            })?;
        header.extend_from_slice(&port.to_le_bytes());
        header.extend_from_slice(&[dtype_code(tensor.dtype()), rank]);
        for &size in tensor.shape() {
            header.extend_from_slice(&(size as u64).to_le_bytes());
        }
    }
    if let Body::Failure(failure) = body {
        encode_failure(failure, &mut header);
    }
    Ok(header)
}

fn encode_failure(failure: &Failure, header: &mut Vec<u8>) {
    let block = truncate(
        failure.block.as_deref().unwrap_or_default(),
        usize::from(u8::MAX),
    );
    let cause = truncate(&failure.cause, CAUSE_BYTES_MAX);
    let kind = FailureKind::ALL
        .iter()
        .position(|&kind| kind == failure.kind)
        .unwrap_or_default();
    header.push(kind as u8);
    header.push(block.len() as u8);
    header.extend_from_slice(&(cause.len() as u16).to_le_bytes());
    header.extend_from_slice(block.as_bytes());
    header.extend_from_slice(cause.as_bytes());
}

fn truncate(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

fn dtype_code(dtype: DType) -> u8 {
    DType::ALL
        .iter()
        .position(|&known| known == dtype)
        .unwrap_or_default() as u8
}

/// Reads a header frame; the tensors are described, not yet there. Returns the sequence number too.
pub(super) fn decode_header(header: &[u8]) -> Result<(Addressed, Announced, u64), LinkError> {
    if header.len() > HEADER_BYTES_MAX {
        return Err(LinkError::HeaderLength {
            bytes: header.len(),
            expected: HEADER_BYTES_MAX,
        });
    }
    let mut reader = Reader {
        rest: header,
        whole: header.len(),
    };
    let magic = reader.u32()?;
    if magic != MAGIC {
        return Err(LinkError::Magic { seen: magic });
    }
    let version = reader.u8()?;
    if version != VERSION {
        return Err(LinkError::Version {
            seen: version,
            expected: VERSION,
        });
    }
    let kind = reader.u8()?;
    let count = usize::from(reader.u16()?);
    let sequence = reader.u64()?;
    let address = Addressed {
        request: RequestId(reader.u64()?),
        epoch: Epoch(reader.u32()?),
        pipeline: PipelineId(reader.u16()?),
        step: StepId(reader.u16()?),
        time_left: Duration::from_micros(reader.u64()?),
    };
    let max = if kind == KIND_TENSORS { TENSORS_MAX } else { 0 };
    if count > max {
        return Err(LinkError::Tensors { seen: count, max });
    }
    let announced = match kind {
        KIND_HELLO => Announced::Hello,
        KIND_CANCEL => Announced::Cancel,
        KIND_FAILURE => Announced::Failure(reader.failure()?),
        KIND_TENSORS => Announced::Tensors(
            (0..count)
                .map(|_| reader.description())
                .collect::<Result<_, _>>()?,
        ),
        _ => {
            return Err(LinkError::Field {
                field: "kind",
                seen: kind.into(),
            });
        }
    };
    if !reader.rest.is_empty() {
        let expected = header.len() - reader.rest.len();
        return Err(LinkError::HeaderLength {
            bytes: header.len(),
            expected,
        });
    }
    Ok((address, announced, sequence))
}

/// Reads an envelope from its header and the tensors of the frames behind it.
pub fn decode(header: &[u8], tensors: Vec<Tensor>) -> Result<(Envelope, u64), LinkError> {
    let (address, announced, sequence) = decode_header(header)?;
    let expected = if let Announced::Tensors(all) = &announced {
        all.len()
    } else {
        0
    };
    if tensors.len() != expected {
        return Err(LinkError::Frames {
            seen: tensors.len() + 1,
            expected: expected + 1,
        });
    }
    let body = match announced {
        Announced::Hello => Body::Hello,
        Announced::Cancel => Body::Cancel,
        Announced::Failure(failure) => Body::Failure(failure),
        Announced::Tensors(descriptions) => {
            let pairs = descriptions.into_iter().zip(tensors).enumerate();
            Body::Tensors(
                pairs
                    .map(|(index, (is, tensor))| is.claim(index, tensor))
                    .collect::<Result<_, _>>()?,
            )
        }
    };
    Ok((Envelope { address, body }, sequence))
}

impl Description {
    fn claim(self, index: usize, tensor: Tensor) -> Result<(u16, Tensor), LinkError> {
        let same_shape = self.shape.len() == tensor.shape().len()
            && self
                .shape
                .iter()
                .zip(tensor.shape())
                .all(|(&left, &right)| left == right as u64);
        if self.dtype != tensor.dtype() || !same_shape {
            return Err(LinkError::Announced {
                index,
                announced: format!("{}{:?}", self.dtype, self.shape),
                seen: format!("{tensor:?}"),
            });
        }
        Ok((self.port, tensor))
    }
}

/// Takes bounded pieces off the front of a header.
struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], LinkError> {
        let missing = LinkError::HeaderLength {
            bytes: self.whole,
            expected: self.whole - self.rest.len() + length,
        };
        let (head, rest) = self.rest.split_at_checked(length).ok_or(missing)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LinkError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, LinkError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, LinkError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, LinkError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, LinkError> {
        self.array().map(u64::from_le_bytes)
    }

    fn description(&mut self) -> Result<Description, LinkError> {
        let port = self.u16()?;
        let code = self.u8()?;
        let dtype = DType::ALL
            .get(usize::from(code))
            .copied()
            .ok_or(LinkError::Field {
                field: "dtype",
                seen: code.into(),
            })?;
        let rank = usize::from(self.u8()?);
        if rank > RANK_MAX {
            return Err(LinkError::Rank {
                seen: rank,
                max: RANK_MAX,
            });
        }
        let shape = (0..rank).map(|_| self.u64()).collect::<Result<_, _>>()?;
        Ok(Description { port, dtype, shape })
    }

    fn failure(&mut self) -> Result<Failure, LinkError> {
        let code = self.u8()?;
        let kind = FailureKind::ALL
            .get(usize::from(code))
            .copied()
            .ok_or(LinkError::Field {
                field: "failure kind",
                seen: code.into(),
            })?;
        let block_bytes = usize::from(self.u8()?);
        let cause_bytes = usize::from(self.u16()?);
        if cause_bytes > CAUSE_BYTES_MAX {
            return Err(LinkError::Field {
                field: "cause length",
                seen: cause_bytes as u64,
            });
        }
        let block = String::from_utf8_lossy(self.take(block_bytes)?).into_owned();
        let cause = String::from_utf8_lossy(self.take(cause_bytes)?).into_owned();
        Ok(Failure {
            kind,
            block: (!block.is_empty()).then_some(block),
            cause,
        })
    }
}
