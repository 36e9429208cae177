//! Why there is no history, or not all of it.

use std::io;
use std::path::PathBuf;

/// Something is wrong with a state directory.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(
        "neither XDG_STATE_HOME nor HOME says where state is kept: pass --state with a directory"
    )]
    NoPlace,
    #[error("another server has the state directory {path}: pass another --state", path = path.display())]
    InUse { path: PathBuf },
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    #[error("{path} is no record of an epoch: {cause}", path = path.display())]
    Corrupt { path: PathBuf, cause: String },
    #[error("{path} has version {seen}, this program reads version {known}", path = path.display())]
    Version {
        path: PathBuf,
        seen: u64,
        known: u64,
    },
    #[error("a record of {bytes} bytes is longer than the {max} that are kept")]
    TooLong { bytes: u64, max: u64 },
    #[error("no state is kept")]
    Off,
}
