//! HTTP front end: the Open Inference Protocol v2, where a pipeline is what the protocol calls a model.
//!
//! Turns bytes of clients into tensors and replies into bytes. It must never decide about admission, placement or
//! restarts: it talks to the pipelines of now, which a [`Front`] knows, through a [`Backend`] only.
//!
//! | method and path | answer |
//! |---|---|
//! | `GET /` | what is served here, as text |
//! | `GET /v2` | server metadata |
//! | `GET /v2/health/live`, `GET /v2/health/ready` | 200, or 503 while a pipeline is not ready |
//! | `GET /v2/models/{name}` | pipeline metadata; −1 stands for a size the request chooses |
//! | `GET /v2/models/{name}/ready` | 200, or 503 with the reason |
//! | `POST /v2/models/{name}/infer` | inference |
//! | `GET /v2/models/{name}/config` | 404: a pipeline has no Triton configuration |
//! | `POST /v2/repository/index` | pipelines and their states |
//! | `POST /v2/repository/models/{name}/load` | has the configuration be read again: 200 once it is served, else why not |
//! | `POST /v2/repository/models/{name}/unload` | has a pipeline not be served until it is loaded: 200 once it is not |
//! | `GET /metrics` | metrics as text |
//!
//! Every path below `/v2/models/{name}` also exists below `/v2/models/{name}/versions/1`; no other version does.
//!
//! # Choices where the protocol leaves room
//! - Tensors travel as JSON or by the binary tensor data extension. BF16 travels as binary only; FP16 may also be written
//!   as JSON numbers, which Triton refuses.
//! - JSON data is either flat or nested exactly like the shape. Whole-number types take whole numbers only (`1`, not `1.0`).
//! - JSON has no NaN and no infinity. An output that holds one and was asked for as JSON is refused with 422, as is a BYTES
//!   output that is not UTF-8; asking for it with `"binary_data": true` always works.
//! - `parameters.timeout` (microseconds, as in Triton; 0 is none) becomes the request's deadline.
//! - Shared-memory regions, sequences and classification are refused with 400; parameters nobody knows are ignored.
//! - A client that closes its connection, even only the sending half, cancels the request that is being served on it. Only
//!   one that has sent more than 128 KiB of further requests behind it is noticed no sooner than at the answer.
//!
//! # Statuses
//! 400 for a request that is wrong, 404, 405, 408 (the body came too slowly), 413 (too large), 415 (compressed), 422 as
//! above; 499 cancelled, 500 a block failed, 503 overloaded, not available or stopping, 504 deadline exceeded. The body is
//! `{"error": "…"}`, except where the bytes were no HTTP at all: those get an empty 400, 408 or 431 and a closed connection.
//!
//! # Invariants
//! - No bytes a client can send make a handler panic, or make it allocate more than a small multiple of what was sent.
//! - The future of a request lives in its handler and nowhere else: the connection that ends drops it.

mod backend;
mod binary;
mod body;
mod elements;
mod error;
mod http;
mod infer;
mod metadata;
mod parameters;
mod rejection;
mod repository;
mod request;
mod response;
mod server;

pub use backend::{Backend, Front};
pub use error::ServeError;
pub use request::read_body;
pub use server::{BoundServer, HttpOptions, HttpTimeouts, StopHandle, bind, listen};
