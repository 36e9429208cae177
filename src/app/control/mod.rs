//! Commands to a running server, over a socket in its state directory that only its owner can open.
//!
//! HTTP with JSON, one exchange a connection; what is sent and answered is bounded. A command is an ask of the reload
//! thread, so one is done after the other, and each is checked like a change of the files.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/plan` | | [`Planned`] |
//! | `POST /v1/reload` | | [`Answer`] |
//! | `POST /v1/rollback` | `{"epoch": 3}`, or none for the one before | [`Answer`] |
//! | `POST /v1/swap` | `{"block": "b", "file": "/m.onnx", "pinned": false}` | [`Answer`] |
//! | `POST /v1/unpin` | `{"block": "b"}` | [`Answer`] |

mod client;
mod message;
mod planned;
mod server;

pub use client::{Control, ControlError};
pub use message::{Answer, Status};
pub(super) use message::{Rollback, Swapped, Unpinned};
pub use planned::{Changed, Planned, Weights, plan_against};
pub(super) use server::Listening;
