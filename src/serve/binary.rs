//! The binary tensor data extension: tensors that follow the JSON header of a body as plain little-endian bytes.

use std::sync::Arc;

use actix_web::HttpRequest;
use bytes::Bytes;

use super::rejection::{Rejection, shown};
use crate::types::{AlignedBytes, DType, HostMemory, MEMORY_ALIGNMENT, Shape, Tensor};

/// Bytes of the JSON header; only present where binary tensors follow it.
pub(super) const HEADER_LENGTH: &str = "Inference-Header-Content-Length";

/// Part of a body that lies aligned, so that a tensor can use it where it is.
#[derive(Debug)]
struct BodyPart(Bytes);

impl HostMemory for BodyPart {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The binary tensors of a body, taken off in the order of the inputs that announce them.
#[derive(Debug)]
pub(super) struct BinaryParts {
    /// What is left, or `None` if the request has no JSON header length and so no binary part.
    rest: Option<Bytes>,
}

/// Returns the header's value, if there is one.
pub(super) fn header_length(request: &HttpRequest) -> Result<Option<usize>, Rejection> {
    let Some(value) = request.headers().get(HEADER_LENGTH) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(value.as_bytes());
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(Some(length)),
        _ => Err(Rejection::HeaderLength { seen: shown(&text) }),
    }
}

/// Splits a body into its JSON and what follows.
pub(super) fn split(
    body: &Bytes,
    header: Option<usize>,
) -> Result<(Bytes, BinaryParts), Rejection> {
    match header {
        None => Ok((body.clone(), BinaryParts { rest: None })),
        Some(header) if header > body.len() => Err(Rejection::HeaderBeyondBody {
            header,
            body: body.len(),
        }),
        Some(header) => Ok((
            body.slice(..header),
            BinaryParts {
                rest: Some(body.slice(header..)),
            },
        )),
    }
}

impl BinaryParts {
    /// Takes the next `announced` bytes as the data of `input`.
    pub(super) fn take(
        &mut self,
        input: &str,
        dtype: DType,
        shape: Shape,
        announced: u64,
    ) -> Result<Tensor, Rejection> {
        let Some(rest) = &mut self.rest else {
            return Err(Rejection::BinaryWithoutHeader {
                input: input.to_owned(),
            });
        };
        let length = usize::try_from(announced)
            .ok()
            .filter(|&length| length <= rest.len())
            .ok_or_else(|| Rejection::BinaryCutShort {
                input: input.to_owned(),
                announced,
                left: rest.len(),
            })?;
        let part = rest.split_to(length);
        if dtype == DType::Bool {
            refuse_odd_bool(input, &part)?;
        }
        let misfit = |cause| Rejection::Tensor {
            input: input.to_owned(),
            cause,
        };
        Tensor::new(dtype, shape, memory(part)).map_err(misfit)
    }

    /// Refuses bytes that no input announced.
    pub(super) fn finish(self) -> Result<(), Rejection> {
        match self.rest {
            Some(rest) if !rest.is_empty() => Err(Rejection::BinaryLeft { left: rest.len() }),
            _ => Ok(()),
        }
    }
}

fn memory(part: Bytes) -> Arc<dyn HostMemory> {
    if part.as_ptr().align_offset(MEMORY_ALIGNMENT) == 0 {
        Arc::new(BodyPart(part))
    } else {
        Arc::new(AlignedBytes::copy_of(&part))
    }
}

fn refuse_odd_bool(input: &str, part: &[u8]) -> Result<(), Rejection> {
    match part.iter().position(|&byte| byte > 1) {
        Some(index) => Err(Rejection::BoolByte {
            input: input.to_owned(),
            index,
            seen: part[index],
        }),
        None => Ok(()),
    }
}
