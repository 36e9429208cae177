//! Reads a request body into one piece of memory, within bounds of size and time.

use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::{HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::rejection::{Rejection, shown};
use crate::types::MEMORY_ALIGNMENT;

/// Memory that is set aside on a client's word alone; more is taken only as bytes arrive.
const TRUSTED_BYTES_MAX: usize = 16 << 20;
const CHUNKED_BYTES_START: usize = 64 << 10;

/// Bounds of one body.
#[derive(Debug, Clone)]
pub(super) struct BodyLimits {
    pub(super) bytes_max: usize,
    /// From one piece to the next.
    pub(super) stall: Duration,
    /// From the first byte to the last.
    pub(super) whole: Duration,
}

/// Reads a whole body. The byte at `aligned_at` comes to lie on a [`MEMORY_ALIGNMENT`] boundary where the length was
/// announced, so that the first binary tensor behind a JSON header needs no copy.
pub(super) async fn read(
    request: &HttpRequest,
    mut payload: web::Payload,
    limits: &BodyLimits,
    aligned_at: usize,
) -> Result<Bytes, Rejection> {
    refuse_encoding(request)?;
    let too_large = || Rejection::BodyTooLarge {
        limit: limits.bytes_max,
    };
    let announced = announced_length(request);
    if announced.is_some_and(|length| length > limits.bytes_max as u64) {
        return Err(too_large());
    }
    let start = announced
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(CHUNKED_BYTES_START);
    let mut buffer = BytesMut::with_capacity(start.min(TRUSTED_BYTES_MAX) + MEMORY_ALIGNMENT);
    let unaligned = (buffer.as_ptr().align_offset(MEMORY_ALIGNMENT) % MEMORY_ALIGNMENT)
        .wrapping_sub(aligned_at)
        % MEMORY_ALIGNMENT;
    buffer.resize(unaligned, 0);

    let deadline = Instant::now() + limits.whole;
    loop {
        let seen = buffer.len() - unaligned;
        let patience = deadline.min(Instant::now() + limits.stall);
        match timeout_at(patience, payload.next()).await {
            Err(_) => return Err(Rejection::BodySlow { seen }),
            Ok(None) => break,
            Ok(Some(Err(cause))) => return Err(broken(cause, seen, announced, limits)),
            Ok(Some(Ok(piece))) if seen + piece.len() > limits.bytes_max => return Err(too_large()),
            Ok(Some(Ok(piece))) => buffer.extend_from_slice(&piece),
        }
    }
    Ok(buffer.freeze().slice(unaligned..))
}

fn refuse_encoding(request: &HttpRequest) -> Result<(), Rejection> {
    match request.headers().get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Rejection::ContentEncoding {
                seen: shown(&String::from_utf8_lossy(encoding.as_bytes())),
            })
        }
        _ => Ok(()),
    }
}

fn announced_length(request: &HttpRequest) -> Option<u64> {
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn broken(
    cause: PayloadError,
    seen: usize,
    announced: Option<u64>,
    limits: &BodyLimits,
) -> Rejection {
    match cause {
        PayloadError::Incomplete(_) => Rejection::BodyCutShort {
            seen,
            expected: announced,
        },
        PayloadError::Overflow => Rejection::BodyTooLarge {
            limit: limits.bytes_max,
        },
        cause => Rejection::BodyBroken {
            seen,
            cause: cause.to_string(),
        },
    }
}
