//! What a server remembers: the epochs that were applied, in a state directory of its own.
//!
//! ```text
//! STATE/lock                     held by the server that writes here
//! STATE/control.sock             where it takes commands
//! STATE/epochs/00000012.json     one applied epoch: configuration, digests of its files, what an operator had set
//! STATE/models/DIGEST/NAME       hard links of models as they were, for as long as a recorded epoch has them
//! ```
//!
//! A record is written whole or not at all: beside its place, synced, then renamed. What cannot be read, is of another version, or
//! is not what was written is skipped and told. Nothing here ever stops a server: where the directory cannot be used, it serves
//! without a history and says so.
//!
//! A link costs nothing while its model is in place, and keeps the contents when the model is replaced by renaming. A model that
//! is rewritten in place takes its link along, which the digest tells.

mod error;
mod files;
mod folder;
mod journal;
mod kept;
mod place;
mod record;

pub use error::HistoryError;
pub(super) use files::Stamp;
pub(super) use folder::CONTROL;
pub(super) use journal::Seen;
pub use journal::{Journal, Recorded};
pub use place::state_directory;
pub use record::{Record, RecordedFile, RecordedModel, Trigger};
