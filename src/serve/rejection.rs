//! Every way a request is refused: its status and the one sentence that says what is wrong and where.
//!
//! Text of clients is shortened before it is repeated, so a message stays a sentence whatever was sent.

use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use super::elements::DataError;
use crate::types::{DType, Failure, FailureKind, SignatureError, TensorError};

/// When a client may try again after a refusal that load, a restart or an end caused.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// nginx's status for a client that went away; nobody is there to read it but the log.
const CLIENT_CLOSED_REQUEST: u16 = 499;
/// Characters of a client's text that a message repeats.
const SHOWN_MAX: usize = 80;

/// A refused request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Rejection {
    #[error("nothing is served at {path:?}; GET / lists what is")]
    Path { path: String },
    #[error("{path:?} does not take {method}, use {allow}")]
    Method {
        method: String,
        path: String,
        allow: &'static str,
    },
    #[error("there is no pipeline {seen:?}, {}", only(.known))]
    Pipeline { seen: String, known: Vec<String> },
    #[error(
        "pipeline {pipeline:?} was unloaded; POST /v2/repository/models/{pipeline}/load has it be served again"
    )]
    Unloaded { pipeline: String },
    #[error("pipeline {pipeline:?} has no version {seen:?}, the only one is \"1\"")]
    Version { pipeline: String, seen: String },
    #[error("a pipeline has no Triton model configuration; GET /v2/models/{pipeline} describes it")]
    ModelConfig { pipeline: String },
    #[error(
        "a request brings no models or settings of its own, as parameter {seen:?} would: change the configuration, then load"
    )]
    LoadParameter { seen: String },
    #[error("unloading takes no parameter {seen:?}")]
    UnloadParameter { seen: String },
    #[error("{}", .reasons.join("; "))]
    NotReady { reasons: Vec<String> },

    #[error("content-encoding {seen:?} is not supported, send the body uncompressed")]
    ContentEncoding { seen: String },
    #[error(
        "the body is larger than the {limit} bytes this server accepts (server.body_bytes_max)"
    )]
    BodyTooLarge { limit: usize },
    #[error("the body ended early, after {seen} bytes{}", expected_bytes(.expected))]
    BodyCutShort { seen: usize, expected: Option<u64> },
    #[error("the body came too slowly: {seen} bytes had arrived when the time was over")]
    BodySlow { seen: usize },
    #[error("the body could not be read after {seen} bytes: {cause}")]
    BodyBroken { seen: usize, cause: String },

    #[error("header Inference-Header-Content-Length is {seen:?}, expected a number of bytes")]
    HeaderLength { seen: String },
    #[error("header Inference-Header-Content-Length is {header}, but the body has {body} bytes")]
    HeaderBeyondBody { header: usize, body: usize },
    #[error("the body is empty, expected a JSON object with \"inputs\"")]
    NoJson,
    #[error("the request is not what was expected: {cause}{hint}")]
    Json { cause: String, hint: &'static str },
    #[error("parameters of {place}: {cause}")]
    Parameters { place: String, cause: String },
    #[error("{what} of {place} is not supported here")]
    Unsupported { place: String, what: &'static str },

    #[error("there is no input {seen:?}, expected {}", list(.known))]
    UnknownInput { seen: String, known: Vec<String> },
    #[error("input {input:?} is given twice")]
    DuplicateInput { input: String },
    #[error("input {input:?} is missing")]
    MissingInput { input: String },
    #[error("input {input:?} has unknown datatype {seen:?}, expected {expected}")]
    Datatype {
        input: String,
        seen: String,
        expected: DType,
    },
    #[error("shape of input {input:?}: {cause}")]
    Shape { input: String, cause: String },
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("input {input:?} has neither \"data\" nor the parameter binary_data_size")]
    NoData { input: String },
    #[error(
        "input {input:?} has both \"data\" and the parameter binary_data_size, expected one of them"
    )]
    TwoData { input: String },
    #[error("input {input:?}: {cause}")]
    Data { input: String, cause: DataError },
    #[error("input {input:?}: {cause}")]
    Tensor { input: String, cause: TensorError },

    #[error(
        "input {input:?} is announced as binary, but header Inference-Header-Content-Length is missing"
    )]
    BinaryWithoutHeader { input: String },
    #[error(
        "input {input:?} announces {announced} binary bytes, but only {left} are left in the body"
    )]
    BinaryCutShort {
        input: String,
        announced: u64,
        left: usize,
    },
    #[error("the body has {left} bytes after the last binary input")]
    BinaryLeft { left: usize },
    #[error(
        "input {input:?}: element {index} of a BOOL tensor is the byte {seen}, expected 0 or 1"
    )]
    BoolByte {
        input: String,
        index: usize,
        seen: u8,
    },

    #[error("there is no output {seen:?}, expected {}", list(.known))]
    UnknownOutput { seen: String, known: Vec<String> },
    #[error("output {output:?} is asked for twice")]
    DuplicateOutput { output: String },
    #[error(
        "output {output:?} is BF16, which has no JSON form; ask for it with \"binary_data\": true"
    )]
    NoJsonForm { output: String },
    #[error(
        "element {index} of output {output:?} is {seen}, which JSON cannot carry; ask for it with \"binary_data\": true"
    )]
    NotFinite {
        output: String,
        index: usize,
        seen: f64,
    },
    #[error(
        "element {index} of output {output:?} is not UTF-8, which JSON cannot carry; ask for it with \"binary_data\": true"
    )]
    NotUtf8 { output: String, index: usize },

    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("the pipeline answered with {seen} outputs where its signature names {expected}")]
    OutputCount { seen: usize, expected: usize },
    #[error("the response could not be written: {cause}")]
    Response { cause: String },
}

/// Returns the first characters of a client's text.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn list(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn only(names: &[String]) -> String {
    match names {
        [] => "none is served now".to_owned(),
        _ => format!("only {}", list(names)),
    }
}

fn expected_bytes(expected: &Option<u64>) -> String {
    expected
        .map(|expected| format!(" of {expected}"))
        .unwrap_or_default()
}

/// The body of every refusal.
#[derive(Serialize)]
struct ErrorBody {
    error: String,
}

impl ResponseError for Rejection {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Path { .. }
            | Self::Pipeline { .. }
            | Self::Unloaded { .. }
            | Self::Version { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ModelConfig { .. } => StatusCode::NOT_FOUND,
            Self::NotReady { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::ContentEncoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodySlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NotFinite { .. } | Self::NotUtf8 { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::OutputCount { .. } | Self::Response { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Failure(failure) => failure_status(failure.kind),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        tracing::debug!(status = status.as_u16(), cause = %self, "request refused");
        let mut response = HttpResponse::build(status);
        if let Self::Failure(Failure {
            kind: FailureKind::Overloaded | FailureKind::Unavailable | FailureKind::ShuttingDown,
            ..
        })
        | Self::NotReady { .. } = self
        {
            response.insert_header((header::RETRY_AFTER, RETRY_AFTER.as_secs()));
        }
        if let Self::Failure(Failure {
            kind: FailureKind::ShuttingDown,
            ..
        })
        | Self::BodySlow { .. } = self
        {
            response.force_close();
        }
        if let Self::Method { allow, .. } = self {
            response.insert_header((header::ALLOW, *allow));
        }
        response.json(ErrorBody {
            error: self.to_string(),
        })
    }
}

fn failure_status(kind: FailureKind) -> StatusCode {
    match kind {
        FailureKind::Invalid => StatusCode::BAD_REQUEST,
        FailureKind::Overloaded | FailureKind::Unavailable | FailureKind::ShuttingDown => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        FailureKind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        FailureKind::BlockFailed => StatusCode::INTERNAL_SERVER_ERROR,
        FailureKind::Cancelled => {
            StatusCode::from_u16(CLIENT_CLOSED_REQUEST).expect("499 lies in the range of statuses")
        }
    }
}
