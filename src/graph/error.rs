//! What can be wrong with a model file or a cut.

use std::path::PathBuf;

/// A model that cannot be read, or a cut that it does not allow.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
}
