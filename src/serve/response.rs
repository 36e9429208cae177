//! Reply of a pipeline → bytes of an inference response.
//!
//! Numbers are written in the shortest form that reads back as the same value. Binary tensors go out from the memory they
//! lie in, in pieces, so a slow reader holds the tensor and not a second copy of it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use bytes::Bytes;
use half::f16;
use serde::{Serialize, Serializer};

use super::binary::HEADER_LENGTH;
use super::rejection::Rejection;
use super::request::OutputChoice;
use crate::types::{DType, Tensor, TensorSpec};

/// Bytes handed to the connection at once.
const PIECE_BYTES: usize = 256 << 10;

#[derive(Serialize)]
struct ResponseJson<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<OutputJson<'a>>,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Elements<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// A tensor as a flat JSON array.
struct Elements<'a>(&'a Tensor);

/// What a response says besides its tensors.
#[derive(Debug)]
pub(super) struct ResponseHead<'a> {
    pub(super) pipeline: &'a str,
    pub(super) version: &'static str,
    pub(super) id: Option<&'a str>,
    pub(super) specs: &'a [TensorSpec],
}

/// Writes the chosen outputs.
pub(super) fn build(
    head: &ResponseHead<'_>,
    choices: &[OutputChoice],
    tensors: &[Tensor],
) -> Result<HttpResponse, Rejection> {
    if tensors.len() != head.specs.len() {
        return Err(Rejection::OutputCount {
            seen: tensors.len(),
            expected: head.specs.len(),
        });
    }
    let mut outputs = Vec::with_capacity(choices.len());
    let mut pieces = VecDeque::new();
    for choice in choices {
        let (tensor, name) = (
            &tensors[choice.index],
            head.specs[choice.index].name.as_str(),
        );
        if choice.binary {
            cut(Bytes::from_owner(TensorBytes(tensor.clone())), &mut pieces);
        } else {
            check_json(name, tensor)?;
        }
        outputs.push(OutputJson {
            name,
            datatype: tensor.dtype().name(),
            shape: tensor.shape(),
            parameters: choice.binary.then(|| BinarySize {
                binary_data_size: tensor.byte_count(),
            }),
            data: (!choice.binary).then_some(Elements(tensor)),
        });
    }
    let json = ResponseJson {
        model_name: head.pipeline,
        model_version: head.version,
        id: head.id,
        outputs,
    };
    let json = serde_json::to_vec(&json).map_err(|cause| Rejection::Response {
        cause: cause.to_string(),
    })?;
    if choices.iter().all(|choice| !choice.binary) {
        return Ok(HttpResponse::Ok()
            .content_type(header::ContentType::json())
            .body(json));
    }
    let mut response = HttpResponse::Ok();
    response
        .content_type(header::ContentType::octet_stream())
        .insert_header((HEADER_LENGTH, json.len()));
    pieces.push_front(Bytes::from(json));
    Ok(response.body(Pieces(pieces)))
}

fn cut(mut bytes: Bytes, pieces: &mut VecDeque<Bytes>) {
    while !bytes.is_empty() {
        pieces.push_back(bytes.split_to(bytes.len().min(PIECE_BYTES)));
    }
}

/// Refuses a tensor that JSON cannot carry.
fn check_json(name: &str, tensor: &Tensor) -> Result<(), Rejection> {
    let infinite = |(index, value): (usize, f64)| {
        (!value.is_finite()).then(|| Rejection::NotFinite {
            output: name.to_owned(),
            index,
            seen: value,
        })
    };
    let bytes = tensor.bytes();
    let found = match tensor.dtype() {
        DType::F16 => values(bytes)
            .map(|two| f16::from_le_bytes(two).to_f64())
            .enumerate()
            .find_map(infinite),
        DType::F32 => values(bytes)
            .map(|four| f64::from(f32::from_le_bytes(four)))
            .enumerate()
            .find_map(infinite),
        DType::F64 => values(bytes)
            .map(f64::from_le_bytes)
            .enumerate()
            .find_map(infinite),
        DType::Bytes => {
            let odd = tensor
                .byte_strings()
                .iter()
                .position(|string| str::from_utf8(string).is_err());
            odd.map(|index| Rejection::NotUtf8 {
                output: name.to_owned(),
                index,
            })
        }
        // Only if the pipeline answers with another dtype than its signature names.
        dtype if !dtype.has_json_form() => Some(Rejection::NoJsonForm {
            output: name.to_owned(),
        }),
        _ => None,
    };
    found.map_or(Ok(()), Err)
}

/// Returns the elements of a tensor's bytes.
fn values<const SIZE: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; SIZE]> + '_ {
    bytes.as_chunks::<SIZE>().0.iter().copied()
}

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = self.0.bytes();
        match self.0.dtype() {
            DType::Bool => serializer.collect_seq(bytes.iter().map(|&byte| byte != 0)),
            DType::U8 => serializer.collect_seq(bytes),
            DType::U16 => serializer.collect_seq(values(bytes).map(u16::from_le_bytes)),
            DType::U32 => serializer.collect_seq(values(bytes).map(u32::from_le_bytes)),
            DType::U64 => serializer.collect_seq(values(bytes).map(u64::from_le_bytes)),
            DType::I8 => serializer.collect_seq(values(bytes).map(i8::from_le_bytes)),
            DType::I16 => serializer.collect_seq(values(bytes).map(i16::from_le_bytes)),
            DType::I32 => serializer.collect_seq(values(bytes).map(i32::from_le_bytes)),
            DType::I64 => serializer.collect_seq(values(bytes).map(i64::from_le_bytes)),
            DType::F16 => {
                serializer.collect_seq(values(bytes).map(|two| f16::from_le_bytes(two).to_f32()))
            }
            DType::F32 => serializer.collect_seq(values(bytes).map(f32::from_le_bytes)),
            DType::F64 => serializer.collect_seq(values(bytes).map(f64::from_le_bytes)),
            DType::Bytes => {
                let text = |string: &&[u8]| str::from_utf8(string).map(str::to_owned);
                let strings: Result<Vec<_>, _> = self.0.byte_strings().iter().map(text).collect();
                serializer.collect_seq(strings.map_err(serde::ser::Error::custom)?)
            }
            other => Err(serde::ser::Error::custom(format_args!(
                "{other} has no JSON form"
            ))),
        }
    }
}

/// Memory of a tensor for as long as the connection needs it.
struct TensorBytes(Tensor);

impl AsRef<[u8]> for TensorBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A body of known length that is sent piece by piece.
struct Pieces(VecDeque<Bytes>);

impl MessageBody for Pieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.iter().map(|piece| piece.len() as u64).sum())
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
